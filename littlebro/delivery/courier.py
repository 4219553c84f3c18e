"""Carries sealed segments from one spool to one destination, in a background thread or on demand.

One courier a destination, so that a dead sink holds up nobody. A segment is delivered whole and then deleted;
one that fails waits, with capped back-off, while others are tried: a single bad segment must not stop the
rest. Adoption of orphans and time-based sealing are the main courier's chores (`chores`).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from django.db import connections

from littlebro.delivery.spool import Claim, Spool
from littlebro.delivery.worker import Worker
from littlebro.events.context import current, inside_delivery

__all__ = ["Courier", "Round", "wait_for"]

logger = logging.getLogger("littlebro")

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 10.0
_MOST_FAILURES: Final = 20
# Segments that failed before say nothing of new ones: at least so often, in seconds, a new one is to be tried.
_PROBE_EVERY: Final = 60.0
# Who waits for segments overrules the back-off this often, in seconds: a destination that is down is not to be stormed.
_HURRY_EVERY: Final = 0.5
# Between his looks he is idle for so many seconds at least and at most, and longer than a look at many files takes.
_LEAST_IDLE: Final = 0.01
_MOST_IDLE: Final = 0.25
_IDLE: Final = 9


def close_connections() -> None:
    """Close this thread's database connections, but for those in the middle of a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            with suppress(Exception):  # one whose driver fails at it is let go of by Django all the same
                connection.close()


def commit_connections() -> None:
    """Commit and close this thread's connections that commit nothing by themselves (AUTOCOMMIT of DATABASES is off)."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not (connection.autocommit or connection.in_atomic_block):
            connection.commit()
            connection.close()


class Round(msgspec.Struct):
    """What one walk over a spool did: segments delivered, segments that failed, the last reason."""

    delivered: int = 0
    failed: int = 0
    reason: str = ""


class Courier(Worker):
    """Delivers the segments of `spool` that end in one of `suffixes` through `deliver(claim, content)`.

    `chores(failing)` runs before each walk, is told whether new segments fail, and returns in how many seconds it
    wants to run again.
    """

    def __init__(
        self,
        name: str,
        spool: Spool,
        suffixes: tuple[str, ...],
        deliver: Callable[[Claim, bytes], None],
        chores: Callable[[bool], float],
    ) -> None:
        self._name = name
        self._spool = spool
        self._suffixes = suffixes
        self._deliver = deliver
        self._chores = chores
        super().__init__(name)

    def reset(self) -> None:
        """Start from nothing, in a fresh process: no thread, no back-off."""
        super().reset()
        self._walking = threading.Lock()
        # Segment -> (failed at, wait), the latest failure last.
        self._waits: dict[str, tuple[float, float]] = {}
        self._hurried = 0.0  # what failed before this moment need not wait
        self._probed = -_PROBE_EVERY  # when a segment last failed at its first try
        self._pause = 0.0
        self._delivered: set[str] = set()  # segments that were delivered and could not be deleted yet
        self.failing = False

    def hurry(self) -> None:
        """Forget all back-off, so that the next walk tries everything."""
        self._hurried = time.monotonic()
        self.call()

    def run(self, shift: int) -> None:
        """Do the chores and walk, again and again; between them wait, and in a back-off for nothing but a hurry."""
        with inside_delivery():
            while self.is_on(shift):
                delivered = 0
                try:
                    wait = self._chores(self.failing and time.monotonic() < self._probed + _PROBE_EVERY)
                    delivered = self.walk(shift).delivered
                except Exception:
                    logger.exception("littlebro: the courier to %s goes on after an error.", self._name)
                    wait = _LONGEST_WAIT
                if not delivered:
                    close_connections()
                if self.is_on(shift):
                    self.wait(self._pause or wait, only_urgent=bool(self._pause))
            close_connections()

    def walk(self, shift: int | None = None) -> Round:
        """Deliver what waits, oldest first; after two failures and no success, leave the rest for later.

        What failed comes after what was not tried yet, the latest failure last: it keeps nothing from its turn.
        """
        self.own_process()
        done = Round()
        with self._walking:
            now = time.monotonic()
            waiting = {path.name: path for path in self._spool.waiting(*self._suffixes)}
            # Others may have delivered what this process could not.
            self._waits = {name: wait for name, wait in self._waits.items() if name in waiting}
            self._delivered.intersection_update([path.stem for path in waiting.values()])
            for name in [*(name for name in waiting if name not in self._waits), *self._waits]:
                path = waiting[name]
                failed_at, wait = self._waits.get(name, (0.0, 0.0))
                resting = now < failed_at + wait and self._hurried < failed_at
                if resting or not (shift is None or self.is_on(shift)):
                    continue
                self._try(path, done)
                if done.failed > (_MOST_FAILURES if done.delivered else 1):
                    break
            self._settle(done)
        return done

    def sweep(self) -> Round:
        """Walk on demand, past what fails: until nothing is left to try, or much failed, or for long, and all of it.

        Returns what was delivered, and how much is left that failed.
        """
        self.hurry()
        done, barren, end = Round(), 0, time.monotonic() + _LONGEST_WAIT
        while True:
            walk = self.walk()
            done.delivered += walk.delivered
            done.reason = walk.reason or done.reason
            barren = 0 if walk.delivered else barren + walk.failed
            if not walk.failed or barren >= _MOST_FAILURES or (barren and time.monotonic() >= end):
                done.failed = len(self._waits)
                return done

    def _try(self, path: Path, done: Round) -> None:
        held = None
        try:
            held = self._spool.take(path)
            if held is None:
                return
            if held.name not in self._delivered:
                self._deliver(held, held.content())
                commit_connections()
                self._delivered.add(held.name)
            self._spool.discard(held)
        except Exception as error:  # noqa: BLE001 - whatever it is, the segment waits and is tried again
            done.failed += 1
            done.reason = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
            now = time.monotonic()
            if path.name not in self._waits:
                self._probed = now
            _, wait = self._waits.pop(path.name, (0.0, _FIRST_WAIT / 2))
            self._waits[path.name] = (now, min(wait * 2, _LONGEST_WAIT))
            if held is not None:
                self._spool.give_back(held)
            close_connections()
            return
        except BaseException:  # the thread ends (SystemExit, a greenlet killed); another takes the segment
            if held is not None:
                self._spool.give_back(held)
            raise
        self._waits.pop(path.name, None)
        self._delivered.discard(held.name)
        done.delivered += 1

    def _settle(self, done: Round) -> None:
        """Draw the conclusions of a walk: back off, tell once what is wrong, tell once that it is over."""
        if done.failed:
            if not self.failing or done.reason != self._spool.trouble():
                logger.warning("littlebro: delivery to %s fails, events wait: %s", self._name, done.reason)
                self._spool.report(done.reason)
            self.failing = True
            self._pause = 0.0 if done.delivered else min(max(self._pause * 2, _FIRST_WAIT), _LONGEST_WAIT)
            if not done.delivered:
                self._spool.share()
        elif done.delivered or not self._waits:
            if self.failing or (done.delivered and self._spool.trouble()):
                logger.info("littlebro: delivery to %s works again.", self._name)
                self._spool.report(None)
            self.failing = False
            self._pause = 0.0


def wait_for(spools: Sequence[Spool], couriers: Sequence[Courier], timeout: float) -> bool:
    """Hurry the couriers, and wait until what lies in the spools is delivered; return whether it is known to be.

    Code that delivers events (a hook) holds up its own segment, and does not wait.
    """
    try:
        return _wait_for(spools, couriers, timeout)
    except OSError as error:  # a folder that may not be entered for now
        logger.warning("littlebro: what waits for delivery cannot be listed: %s", error)
        return False


def _wait_for(spools: Sequence[Spool], couriers: Sequence[Courier], timeout: float) -> bool:
    end, hurry = time.monotonic() + timeout, 0.0
    names = _names(spools)
    while names:
        now = time.monotonic()
        names &= _names(spools)
        if not names or now >= end or current().delivering:
            break
        for courier in couriers:
            if now >= hurry:
                courier.hurry()
            courier.start()
        if now >= hurry:
            hurry = now + _HURRY_EVERY
        idle = max(_LEAST_IDLE, min(_IDLE * (time.monotonic() - now), _MOST_IDLE))
        time.sleep(min(idle, end - now))
    return not names


def _names(spools: Sequence[Spool]) -> set[str]:
    return {path.stem for spool in spools for path in spool.everything()}
