"""Trackers with one fault each, to show that the contract catches it; run by tests/test_contracts_catch.py.

Each is nearly the tracker with a pool of one thread that `Nearly` is, which keeps the contract.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from django.db import connections

from littlebro.conf import AliasConfig
from littlebro.delivery import BaseTracker, losses
from littlebro.events.event import Event
from littlebro.storage import backends
from littlebro.testing.contracts import TrackerContract


class Nearly(BaseTracker):
    """Delivers each event in a thread; counts what could not be stored."""

    def __init__(self, config: AliasConfig) -> None:
        super().__init__(config)
        self.pool: ThreadPoolExecutor | None = None
        self.waiting: list[Future[None]] = []
        self.lock, self.pid = threading.Lock(), os.getpid()

    def send(self, event: Event, line: bytes) -> bool | None:
        self.submit(self.take, event)
        return True

    def submit(self, job: Callable[..., None], *arguments: Any) -> None:
        if self.pid != os.getpid():
            self.pool, self.waiting, self.lock, self.pid = None, [], threading.Lock(), os.getpid()
        with self.lock:
            self.pool = self.pool or ThreadPoolExecutor(1)
            self.waiting = [one for one in self.waiting if not one.done()]
            self.waiting.append(self.pool.submit(job, *arguments))

    def take(self, event: Event) -> None:
        try:
            self.deliver([event])
        except Exception:
            self.failed(event)
        finally:
            connections.close_all()

    def failed(self, event: Event) -> None:
        losses.count(self.alias, "not-stored")

    def flush(self, timeout: float = 5.0) -> bool:
        return not wait(self.waiting, timeout).not_done

    def close(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown()


class TestNothingWrong(TrackerContract):
    tracker = "tests.wrong.trackers.Nearly"


class Raises(Nearly):
    """Lets an error of its own through to the caller."""

    def track_event(self, name: str, *args: Any, **kwargs: Any) -> Event | None:
        if not name:
            raise ValueError("an event needs a name")
        return super().track_event(name, *args, **kwargs)


class TestRaises(TrackerContract):
    tracker = "tests.wrong.trackers.Raises"


class DeliversTwice(Nearly):
    """Tries again what has just succeeded."""

    def take(self, event: Event) -> None:
        super().take(event)
        super().take(event)


class TestDeliversTwice(TrackerContract):
    tracker = "tests.wrong.trackers.DeliversTwice"


class LosesInSilence(Nearly):
    """Lets go of an event that could not be stored without a count."""

    def failed(self, event: Event) -> None:
        pass


class TestLosesInSilence(TrackerContract):
    tracker = "tests.wrong.trackers.LosesInSilence"


class LooksLate(Nearly):
    """Reads the caller's dict when it delivers, not when it is called."""

    def track_event(self, name: str, params: Any = None, *args: Any, **kwargs: Any) -> Event | None:
        event = self.build(name, params, *args, **kwargs)
        if event is not None:
            self.submit(self.take_late, event, params)
        return event

    def take_late(self, event: Event, params: Any) -> None:
        time.sleep(0.05)
        self.take(event.with_params(params or {}, event.context))


class TestLooksLate(TrackerContract):
    tracker = "tests.wrong.trackers.LooksLate"


class FlushLies(Nearly):
    """Says that all is stored without having looked."""

    def flush(self, timeout: float = 5.0) -> bool:
        return True

    def take(self, event: Event) -> None:
        time.sleep(0.1)
        super().take(event)


class TestFlushLies(TrackerContract):
    tracker = "tests.wrong.trackers.FlushLies"


class FlushHangs(Nearly):
    """Waits for its thread without a bound, and its thread for the store."""

    def flush(self, timeout: float = 5.0) -> bool:
        return super().flush(60)

    def failed(self, event: Event) -> None:
        time.sleep(1.5)
        super().failed(event)


class TestFlushHangs(TrackerContract):
    tracker = "tests.wrong.trackers.FlushHangs"


class StartsAtOnce(Nearly):
    """Starts its thread in the constructor."""

    def __init__(self, config: AliasConfig) -> None:
        super().__init__(config)
        self.pool = ThreadPoolExecutor(1)
        self.pool.submit(int).result()


class TestStartsAtOnce(TrackerContract):
    tracker = "tests.wrong.trackers.StartsAtOnce"


class ForgetsForks(Nearly):
    """Gives events of a forked child to a thread that only the parent has."""

    def submit(self, job: Callable[..., None], *arguments: Any) -> None:
        self.pid = os.getpid()
        super().submit(job, *arguments)

    def flush(self, timeout: float = 5.0) -> bool:
        return super().flush(min(timeout, 3.0))


class TestForgetsForks(TrackerContract):
    tracker = "tests.wrong.trackers.ForgetsForks"


class TestIsNotDurable(TrackerContract):
    """Promises to keep events over an outage and a crash, with nothing to keep them in."""

    tracker = "tests.wrong.trackers.Nearly"
    durable = True


class TestFollowsNoTransaction(TrackerContract):
    """Promises to hold events until the commit, and does not."""

    tracker = "tests.wrong.trackers.Nearly"
    follows_transactions = True


class ForgetsSinks(Nearly):
    """Writes to the backend itself, past the sinks."""

    def take(self, event: Event) -> None:
        try:
            self.delivery_to("").save([event])
        except Exception:
            self.failed(event)
        finally:
            connections.close_all()


class TestForgetsSinks(TrackerContract):
    tracker = "tests.wrong.trackers.ForgetsSinks"


class TestDropsWhatSinksMissed(TrackerContract):
    """Promises that a sink gets later what it missed, and only counts it."""

    tracker = "tests.wrong.trackers.Nearly"
    sinks_wait = True


class LeavesThreads(Nearly):
    """Forgets its thread when it is closed."""

    def close(self) -> None:
        self.left = [*getattr(self, "left", []), self.pool]
        self.pool = None


class TestLeavesThreads(TrackerContract):
    tracker = "tests.wrong.trackers.LeavesThreads"


class Circles(Nearly):
    """Writes to the backend outside of what the core knows as delivery: what is tracked there comes round."""

    rounds = 0

    def take(self, event: Event) -> None:
        self.rounds += 1
        if self.rounds < 20:
            backends[self.alias].save_many([event])


class TestCircles(TrackerContract):
    tracker = "tests.wrong.trackers.Circles"


class TakesAnyOption(Nearly):
    """Does not look at its options."""

    def __init__(self, config: AliasConfig) -> None:
        from msgspec.structs import replace

        super().__init__(replace(config, tracker_options={}))


class TestTakesAnyOption(TrackerContract):
    tracker = "tests.wrong.trackers.TakesAnyOption"
