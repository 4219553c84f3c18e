"""The half of a tracker that the journal trackers share: record into the journal, carry on in the background.

In the caller: hold the event while a transaction is open, else append its line. Behind: one courier for the
backend (it also seals by time, adopts orphans, writes counts down and hands segments to the sinks) and one for
each sink. A subclass says in `forward` what "deliver" means for its batches.
"""

import atexit
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import Error

from littlebro.conf import AliasConfig
from littlebro.conf.defaults import JOURNAL_OPTIONS
from littlebro.delivery import deadletters, losses, transactions
from littlebro.delivery.base import BaseTracker
from littlebro.delivery.batch import Batch, parse
from littlebro.delivery.courier import Courier, commit_connections, wait_for
from littlebro.delivery.fanout import fan_out
from littlebro.delivery.journal import Journal, JournalRefused
from littlebro.delivery.options import check_journal_options
from littlebro.delivery.pipeline import Built
from littlebro.delivery.segment import FANNED, SEALED
from littlebro.delivery.spool import Claim, Spool
from littlebro.events.context import current, inside_delivery
from littlebro.events.event import Event

__all__ = ["JournalTracker", "close_all", "keep_notes"]

logger = logging.getLogger("littlebro")

# While the backend is down, and sinks are not, segments are sealed by time so many times less often.
_SEAL_LESS: Final = 30
# Counts that find no room in a full journal are forced into it at most this often, in seconds.
_FORCED_EVERY: Final = 30.0
# Where the system has no thread left, events ask for one only so often, in seconds.
_SERVE_EVERY: Final = 1.0
_trackers: Final[weakref.WeakSet["JournalTracker"]] = weakref.WeakSet()


class JournalTracker(BaseTracker):
    """A tracker whose events are durable, in the folder ``TRACKER_OPTIONS["JOURNAL"]``, before the call returns.

    Derive from it and write `forward(events, sink)`, which delivers a batch or raises.
    """

    option_defaults: ClassVar[Mapping[str, Any]] = {
        name: option.default for name, option in JOURNAL_OPTIONS.items()
    }
    journal_required: ClassVar[bool] = True

    def __init__(self, config: AliasConfig) -> None:
        super().__init__(config)
        check_journal_options(config, self.options, journal_required=self.journal_required)
        self._policy = config.on_commit
        self.journal: Journal | None = None
        self.couriers: list[Courier] = []
        self._sinks: dict[str, Spool] = {}
        if self.options["JOURNAL"] is not None:
            self._open_journal(Path(self.options["JOURNAL"]) / config.alias)
        _trackers.add(self)

    def _open_journal(self, folder: Path) -> None:
        try:
            journal = Journal(folder, self.options, on_work=self._work, on_lost=self._lost)
        except ImproperlyConfigured as error:
            raise self.config.error(str(error)) from error
        self._sinks = {
            sink: Spool(folder / "sinks" / sink, linked=True, spare=folder / "spare" / sink)
            for sink in self.config.sinks
        }
        # Without sinks, also what was handed to them before they were taken out of the settings.
        suffixes = (FANNED,) if self._sinks else (SEALED, FANNED)
        self.couriers = [Courier(f"{self.alias}", journal.spool, suffixes, self._deliver_main, self._chores)]
        for sink, spool in self._sinks.items():
            carry = self._to_sink(sink)
            self.couriers.append(Courier(f"{self.alias}-{sink}", spool, (SEALED,), carry, self._stand_in))
        self._next_look = self._next_forced = self._next_try = 0.0
        self._unserved = self._told = False
        self._chores_done = time.monotonic()
        self._stored: set[str] = set()  # segments whose events are stored, and whose notes are not
        self._closing = 0  # the process that is closing it: a fork in between is not
        self.journal = journal

    def record(self, built: Built, on_commit: bool | str | None) -> bool:
        """Hold the event while the transaction it follows is open; else append it to the journal."""
        journal = self.journal
        if journal is None:
            return super().record(built, on_commit)
        follow = self._policy if on_commit is None else on_commit
        if follow is not False:
            connection = transactions.open_block(follow)
            if connection is not None:
                transactions.hold(
                    connection, built[1], journal, journal.folder, self._append_held, self._lost_hold
                )
                return True
        return self.append(journal, built[1])

    async def arecord(self, built: Built, on_commit: bool | str | None) -> bool:
        """See record(): microseconds, and in an event loop no transaction is open."""
        return self.record(built, on_commit)

    def append(self, journal: Journal, line: bytes) -> bool:
        """Append a line to the journal; return whether it was taken, count it where not."""
        try:
            journal.append(line)
        except JournalRefused as refusal:
            self._lost(refusal.reason, 1)
            return False
        if self._unserved:
            self._serve()
        return True

    def _append_held(self, lines: Iterable[bytes]) -> None:
        if self.journal is not None:
            self.journal.append_many(lines)
            if self._unserved:
                self._serve()

    def send(self, event: Event, line: bytes) -> bool | None:
        """Append the event to the journal."""
        return self.journal is not None and self.append(self.journal, line)

    def forward(self, events: Sequence[Event], sink: str) -> None:
        """Take a batch to its backend, or to `sink` where that is not ``""``, or on its way there.

        Raise, whatever it is, where the batch should be tried again.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward().")

    def pass_on(self, content: bytes, sink: str) -> bool:
        """Forward a segment without reading its events, and return True; or leave it to `forward`.

        For trackers that only carry batches further. Raises as `forward` does.
        """
        return False

    def _after_loss(self) -> None:
        """Have a courier, which writes counts down now and then: this process may do nothing but lose events.

        Not under a test's capture, where nothing goes on its way.
        """
        if self.tap is None and self.couriers and not self.couriers[0].is_running():
            self._serve()

    def keep_refusal(self, line: bytes) -> None:
        """Let the journal carry the note of refused input to the dead letters; the call is counted already."""
        if self.journal is not None:
            with suppress(JournalRefused):
                self.journal.append(line)

    def _lost(self, reason: str, n: int) -> None:
        losses.count(self.alias, reason, n, logging.ERROR)
        self._after_loss()

    def _lost_hold(self, n: int) -> None:
        self._lost("journal-full", n)

    # Behind the journal: what the couriers call.

    def _work(self) -> None:
        """Start or wake the couriers: called at the pen, so it must neither fail nor wait."""
        if self._closing == os.getpid():  # or nobody would stop them
            return
        _arm_exit()
        running = [courier.start() for courier in self.couriers]
        self._unserved = not all(running)
        self._told = self._told and self._unserved

    def _serve(self) -> None:
        """Start the couriers where the last attempt failed, now and then: what was accepted waits for nothing else.

        Never at the pen, since it logs.
        """
        if self._unserved and time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + _SERVE_EVERY
        self._work()
        if self._unserved and not self._told:
            self._told = True
            logger.warning("littlebro[%s]: no thread can be started; events wait in the journal.", self.alias)

    def _chores(self, failing: bool) -> float:
        """Do what the folder needs; return in how many seconds to look again."""
        journal = self.journal
        if journal is None:
            return float(self.options["POLL_SECONDS"])
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self.options["POLL_SECONDS"]
            for spool in self._spools(journal):
                spool.adopt()
        self.write_losses(force=False)
        age = journal.look()
        # An outage must not leave a file a second; but sinks that work are not to wait for it to end.
        patience = self.options["SEAL_SECONDS"] * (_SEAL_LESS if failing else 1)
        if age is not None and (not failing or self._sinks) and age >= patience:
            journal.seal()
            age = None
        self._fan_out(journal)
        if self._stored:  # others may have delivered them
            self._stored.intersection_update([path.stem for path in journal.spool.everything()])
        self._chores_done = time.monotonic()
        if age is None or failing:
            return float(self.options["POLL_SECONDS"])
        return float(max(0.01, min(self.options["SEAL_SECONDS"] - age, self.options["POLL_SECONDS"])))

    def _stand_in(self, _failing: bool) -> float:
        """Do the chores of the backend's courier where that is held up: sinks do not wait for a frozen backend."""
        poll = float(self.options["POLL_SECONDS"])
        if time.monotonic() - self._chores_done > 2 * poll:
            self._chores(self.couriers[0].failing)
        return poll

    def write_losses(self, *, force: bool) -> None:
        """Write this process's counts of losses into the journal; `force` even where it is full."""
        counts = losses.drain(self.alias)
        if not counts or self.journal is None:
            losses.restore(self.alias, counts)
            return
        line = msgspec.json.encode(losses.note(self.alias, counts))
        try:
            if force:
                self.journal.append_note(line)
            else:
                self.journal.append(line)
        except JournalRefused:
            losses.restore(self.alias, counts)
            if not force and time.monotonic() >= self._next_forced:
                self._next_forced = time.monotonic() + _FORCED_EVERY
                self.write_losses(force=True)

    def _fan_out(self, journal: Journal) -> None:
        """Hand what was sealed to the sinks, and wake their couriers; a thread that was stopped wakes nobody."""
        if not self._sinks:
            return
        fan_out(self.alias, journal.spool, self._sinks, self._owes_enough)
        if self.couriers[0].is_running():
            for courier in self.couriers[1:]:
                courier.start()

    def _owes_enough(self, sink: Spool) -> bool:
        return sink.is_full(self.options["SINK_MAX_BYTES"], every=self.options["POLL_SECONDS"])

    def _deliver_main(self, held: Claim, content: bytes) -> None:
        """Deliver one segment to the backend, its notes to their tables."""
        if not self.pass_on(content, ""):
            batch = parse(content, held.name)
            if batch.events and held.name not in self._stored:
                self.forward(batch.events, "")
            if batch.refused or batch.unreadable or batch.losses:
                # Should their tables be away, the events are not to be stored again and again until they are back.
                self._stored.add(held.name)
                self.keep_notes(batch, held.name)
                self._stored.discard(held.name)
        if self.journal is not None:
            self.journal.make_way(len(content))

    def keep_notes(self, batch: Batch, source: str) -> None:
        """Take what the segment `source` holds besides events to its tables, or on its way there."""
        keep_notes(self.alias, batch, source)

    def _to_sink(self, sink: str) -> Callable[[Claim, bytes], None]:
        def deliver(held: Claim, content: bytes) -> None:
            events = [] if self.pass_on(content, sink) else parse(content, held.name).events
            if events:
                self.forward(events, sink)

        return deliver

    # On demand.

    def flush(self, timeout: float = 5.0) -> bool:
        """Seal, hurry the couriers, and wait until what waited at the call is delivered everywhere.

        What an open transaction holds is not waited for: it is stored when that commits. A hook that runs in delivery
        does not wait at all: its own segment waits for it.
        """
        journal = self.journal
        if journal is None:
            return True
        self.write_losses(force=False)
        journal.seal()
        return wait_for(self._spools(journal), self.couriers, timeout) and not journal.has_unsealed()

    def _spools(self, journal: Journal) -> list[Spool]:
        return [journal.spool, *self._sinks.values()]

    def upkeep(self) -> dict[str, Any]:
        """Adopt what dead processes left, and deliver all that lies sealed, in this thread."""
        journal = self.journal
        if journal is None:
            return super().upkeep()
        if reason := _why_not_now():
            return {"adopted": 0, "delivered": 0, "left": self._left(journal), "held": 0, "reason": reason}
        journal.seal()
        adopted = journal.spool.adopt()
        self.write_losses(force=True)
        with inside_delivery():
            self._fan_out(journal)
            walks = [courier.sweep() for courier in self.couriers]
            failed = any(walk.failed for walk in walks)
            if losses.pending(self.alias) and not failed:  # delivery itself counts, dead letters for one
                self.write_losses(force=True)
                self._fan_out(journal)
                self.couriers[0].walk()
        if not failed:
            with suppress(Error):  # a machine that only publishes may have no database; others will do it
                losses.compact()
                commit_connections()
        return {
            "adopted": adopted,
            "delivered": sum(walk.delivered for walk in walks),
            "left": self._left(journal),
            "held": sum(len(spool.taken()) for spool in self._spools(journal)),
            "reason": "; ".join(dict.fromkeys(walk.reason for walk in walks if walk.failed)),
        }

    def _left(self, journal: Journal) -> int:
        return sum(len(spool.everything()) for spool in self._spools(journal))

    def status(self) -> dict[str, Any]:
        """Return what lies in the journal by destination, in segments, bytes and seconds, and what is wrong."""
        status = super().status()
        if self.journal is not None:
            status["journal"] = {
                "folder": str(self.journal.folder),
                "active": self.journal.spool.active(),
                "destinations": {
                    name: {**spool.weigh()._asdict(), "trouble": spool.trouble()}
                    for name, spool in (("", self.journal.spool), *self._sinks.items())
                },
            }
        return status

    def close(self, timeout: float | None = None) -> None:
        """Seal, deliver for up to `timeout` seconds (EXIT_SECONDS), stop the threads; the rest waits on disk."""
        if self.journal is None:
            return
        end = time.monotonic() + (self.options["EXIT_SECONDS"] if timeout is None else timeout)
        self.write_losses(force=True)
        if any(courier.is_running() for courier in self.couriers):
            self.flush(max(0.0, end - time.monotonic()))
        self._closing = os.getpid()
        try:
            for courier in self.couriers:
                courier.stop(max(0.1, end - time.monotonic()))
            self.journal.close()
            self.write_losses(force=True)  # what the last deliveries, and closing itself, counted
        finally:
            self._closing = 0
        if self.journal.is_open:  # somebody tracked meanwhile, and started no courier
            self._work()


def _why_not_now() -> str:
    """Return what keeps this thread from doing upkeep at this moment, or nothing."""
    if transactions.is_open():  # a rollback would take back what was stored, and its segments would be gone
        return "a database transaction is open in this thread; upkeep delivers outside of one"
    if current().delivering:  # a hook's or a backend's code, of a courier that would wait for itself
        return "upkeep was called by code that is delivering events, and these come first"
    return ""


def keep_notes(alias: str, batch: Batch, source: str) -> None:
    """Take what a batch of `alias` holds besides events to its tables."""
    if batch.refused:
        deadletters.add_refused(batch.refused)
    if batch.unreadable:
        deadletters.add_unreadable(alias, batch.unreadable)
    if batch.losses:
        losses.store(batch.losses, source)


_armed = False


def _arm_exit() -> None:
    """Deliver what waits at a normal exit; registered when the first courier starts."""
    global _armed  # noqa: PLW0603 - once a process is the point
    if not _armed:
        _armed = True
        atexit.register(close_all)


def close_all() -> None:
    """Close every journal tracker of this process, within the bound of each."""
    for tracker in list(_trackers):
        tracker.close()
