"""The demo while it runs: visitors in the shop, an eye on what is stored, and the reckoning at the end.

Gets a server and workers that are started, and a Django that is set up; gives the exit code.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from django.urls import reverse

from littlebro import tracker
from littlebro.conf import alias_config
from littlebro.demo.accounts import ADMIN, CUSTOMERS
from littlebro.demo.children import Child
from littlebro.demo.parts import Parts, shown
from littlebro.demo.screen import Screen, Summary, live_line
from littlebro.demo.server import Server
from littlebro.demo.stored import Stored, losses
from littlebro.demo.visitors import Crowd
from littlebro.demo.workers import waiting

__all__ = ["Show"]

_SECONDS_BETWEEN_LOOKS = 0.5
_OPENING_SECONDS = 60.0
_DELIVERY_SECONDS = 20.0
_STANDSTILL_SECONDS = 5.0


class Show:
    """One run: let visitors in, watch, close, reckon."""

    def __init__(
        self,
        parts: Parts,
        server: Server,
        workers: Sequence[Child],
        password: str,
        *,
        visitors: int,
        requests_a_second: float,
        began: float,
    ) -> None:
        self._parts = parts
        self._server = server
        self._workers = workers
        self._password = password
        self._began = began
        # Tells the visitors' events of this run from those of the user, and of an earlier run in the same folder.
        mark = f"littlebro-demo/{secrets.token_hex(4)}"
        self._stored = Stored(mark)
        self._screen = Screen(sys.stdout)
        self._crowd = Crowd(
            server.address,
            CUSTOMERS,
            password,
            threads=visitors,
            requests_a_second=requests_a_second,
            mark=mark,
        )

    def run(self, stop: threading.Event, seconds: float | None) -> int:
        """Run until `stop` is set, or for `seconds`; return the exit code."""
        self._say_where()
        self._crowd.start()
        opened = self._await_opening(stop)
        self._watch(stop, None if seconds is None else opened + seconds)
        self._screen.say("Closing the shop …")
        dead = [
            f"the {child.name} ended by itself: {child.last_words()}"
            for child in self._children
            if child.ended
        ]
        self._crowd.stop()
        self._server.stop()
        left = _deliver()
        if self._parts.has_worker:
            self._await_workers()
        self._stored.count_anew()
        summary = self._reckon(time.monotonic() - opened, left, dead)
        self._screen.say(str(summary))
        return 0 if summary.agrees else 1

    @property
    def _children(self) -> Sequence[Child]:
        return [self._server, *self._workers]

    def _say_where(self) -> None:
        host, port = self._server.address
        here = f"http://{host}:{port}"
        in_admin = (
            f"   (the events: {here}/admin/littlebro/storedevent/)" if self._parts.backend == "simple" else ""
        )
        self._screen.say(
            f"The shop     {here}/\n"
            f"Dashboard    {here}{reverse('admin:littlebro_dashboard_changelist')}\n"
            f"The admin    {here}/admin/{in_admin}\n"
            f"Log in as    {ADMIN}   password  {self._password}\n"
            f"Customers    {', '.join(CUSTOMERS)}; the same password"
        )
        if self._parts.has_worker:
            self._screen.say(
                f"The broker   {shown(self._parts.broker)}   (from it, a Celery worker stores the events)"
            )
        if self._parts.backend == "mongo":
            collection = f"{alias_config('default').options['PREFIX']}littlebro"
            self._screen.say(f"The events   {shown(self._parts.mongodb)}   (the collection {collection})")
        self._screen.say("Ctrl-C ends the demo with a summary.")

    def _await_opening(self, stop: threading.Event) -> float:
        """Wait for the first answer, so that a slow start does not eat up the time asked for; return when it was."""
        end = time.monotonic() + _OPENING_SECONDS
        while not self._crowd.ledger.requests and not self._has_lost_one() and not stop.wait(0.05):
            if time.monotonic() >= end:
                self._crowd.ledger.trouble(f"the shop answered nobody for {_OPENING_SECONDS:.0f} seconds")
                stop.set()
        return time.monotonic()

    def _watch(self, stop: threading.Event, end: float | None) -> None:
        while not self._has_lost_one():
            left = (
                _SECONDS_BETWEEN_LOOKS if end is None else min(_SECONDS_BETWEEN_LOOKS, end - time.monotonic())
            )
            if left <= 0 or stop.wait(left):
                return
            before = self._stored.total - self._stored.past
            self._stored.look()
            if self._stored.total > self._stored.past and not before:
                self._screen.say(
                    f"The first event was stored {time.monotonic() - self._began:.1f} s after the start of the demo."
                )
            self._screen.live(live_line(self._stored))

    def _has_lost_one(self) -> bool:
        return any(child.ended for child in self._children)

    def _await_workers(self) -> None:
        """Wait until what is in the broker is stored, as long as there is any progress; then stop the workers."""
        seen, end = -1, time.monotonic() + _STANDSTILL_SECONDS
        while self._stored.theirs != Counter(self._crowd.ledger.events) and time.monotonic() < end:
            self._stored.look()
            if self._stored.total != seen:
                seen, end = self._stored.total, time.monotonic() + _STANDSTILL_SECONDS
            time.sleep(0.1)
        for child in self._workers:
            child.stop()

    def _reckon(self, seconds: float, left: str, troubles: list[str]) -> Summary:
        ledger, stored = self._crowd.ledger, self._stored
        return Summary(
            seconds=seconds,
            requests=ledger.requests,
            tracked=ledger.events,
            stored=dict(stored.theirs),
            past=stored.past,
            others=stored.total - stored.past - stored.theirs.total(),
            lost=losses(),
            troubles=[*troubles, *ledger.troubles],
            waiting=left or self._in_broker(),
        )

    def _in_broker(self) -> str:
        batches = waiting(self._parts)
        return f"{batches} batches, in the broker" if batches else ""


def _deliver() -> str:
    """Deliver what the server's processes left in the journal; return what is in the way of the rest, if any."""
    end = time.monotonic() + _DELIVERY_SECONDS
    while True:
        done = tracker.upkeep()
        if not done["left"]:
            return ""
        if time.monotonic() >= end:
            return f"{done['left']} segments, {done['reason'] or 'for a reason not known'}"
        time.sleep(0.2)
