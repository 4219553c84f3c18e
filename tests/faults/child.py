"""The programs that run in processes of their own: `python -m tests.faults.child NAME ARGUMENTS`.

Each tracks under the settings of its trial and enters what was accepted in the ledger. What it has to tell
it prints as one JSON object, its last line.
"""

import contextlib
import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import django

from tests.faults import conditions

__all__ = ["main", "track"]

_PARAMS: Final[dict[str, Any]] = {
    "path": "/shop/basket/", "product": 4711, "price": 19.99, "currency": "EUR", "quantity": 2,
    "discount": None, "member": True, "campaign": "spring", "variant": "blue", "position": 3,
}  # fmt: skip
_ledger = -1
_refused = 0
_took = 0.0  # seconds of the last call, whatever its end
_warm = False


def track(name: str, *, filling: str = "") -> bool:
    """Track one event and enter it in the ledger; return whether it was accepted."""
    global _refused, _took, _warm
    from littlebro import tracker

    params = {**_PARAMS, "filling": filling} if filling else _PARAMS
    start = time.perf_counter()
    try:
        event = tracker.track_event(name, params)
    finally:
        _took = time.perf_counter() - start
    if event is None:
        _refused += 1
        return False
    # A process's first call imports and builds: once, and no fault's doing.
    enter(event.id, name, _took if _warm else None)
    _warm = True
    return True


def enter(event_id: str, name: str, took: float | None = None) -> None:
    """Write id, name and microseconds into the ledger; like the journal's, the line outlives this process.

    A write that is interrupted by SIGKILL ends where a page of the file does: so a line has a mark at its end, and no
    line begins behind a torn one.
    """
    global _ledger
    if _ledger < 0:
        from tests.faults.site.settings import WORLD

        _ledger = os.open(WORLD["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    time_taken = "" if took is None else f" {took * 1e6:.0f}"
    os.write(_ledger, f"\n{event_id} {name}{time_taken} ok".encode())


def tell(**facts: Any) -> None:
    """Print facts as one line of JSON, in one write: parent and child may speak at once."""
    os.write(1, f"{json.dumps(facts)}\n".encode())


def pause() -> None:
    """Wait until the trial writes a line, or ends."""
    sys.stdin.readline()


def tick() -> None:
    """Track until killed."""
    while True:
        track("tick")


def nursery() -> None:
    """Bear a process that tracks until killed for each line read: the imports are paid for once."""
    while sys.stdin.readline():
        child = os.fork()
        if child == 0:
            tick()
        tell(child=child)
        os.waitpid(child, 0)


def some(n: str, end: str = "return") -> None:
    """Track `n` events and end: by ``return``, ``os._exit``, or ``sys.exit``; without a flush."""
    for _ in range(int(n)):
        track("some")
    if end == "os._exit":
        os._exit(0)
    elif end == "sys.exit":
        sys.exit(0)


def poison(n: str) -> None:
    """Track `n` events, one of which, in the middle, has a name that the store will not take."""
    for place in range(int(n)):
        track("poison" if place == int(n) // 2 else "some")


def wait_for(n: str) -> None:
    """Track `n` events, say so, and wait for a line; then track `n` more, and so on until told to end."""
    while True:
        accepted = sum(track("step") for _ in range(int(n)))
        tell(accepted=accepted, refused=_refused)
        if sys.stdin.readline().strip() in {"", "end"}:
            return


def fork_and_live() -> None:
    """Fork after the first events; both track; the child then lives on, waiting for a line."""
    for _ in range(10):
        track("before")
    child = os.fork()
    if child == 0:
        for _ in range(20):
            track("child")
        tell(child=os.getpid())
        pause()
        return
    for _ in range(20):
        track("parent")
    tell(parent=os.getpid())
    time.sleep(60)


def threads_and_forks(children: str) -> None:
    """Fork again and again while two threads track flat out and a courier delivers; children live on.

    Ends with nothing under way and some events that nobody has sealed: a kill in the middle of a delivery repeats
    it, which would look like what a fork might have done.
    """
    from littlebro import tracker

    over = threading.Event()

    def until_over() -> None:
        while not over.is_set():
            track("tick")

    threads = [threading.Thread(target=until_over, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    born = []
    for _ in range(int(children)):
        time.sleep(0.03)
        child = os.fork()
        if child == 0:
            for _ in range(30):
                track("child")
            signal.pause()  # until the trial has looked
            os._exit(0)
        born.append(child)
    time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join()
    if not tracker.flush(60):
        raise RuntimeError("what was tracked is not delivered within a minute")
    for _ in range(20):
        track("tick")
    tell(children=born)
    time.sleep(60)


def signals(seconds: str, period: str, flush_every: str) -> None:
    """Track flat out, until signals were enough, while a handler tracks too; flush after every so many events."""
    from littlebro import tracker

    handled, enough = 0, 500

    def handler(_number: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        track("signal")
        # Armed anew at the end: a handler slower than the period would be interrupted by itself for ever.
        signal.setitimer(signal.ITIMER_REAL, float(period) * random.uniform(0.1, 1))

    track("main")  # the first call imports and builds for longer than a period: handlers would only nest
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, float(period))
    end = time.monotonic() + float(seconds)
    rounds = 1
    while time.monotonic() < end or handled <= enough:
        track("main")
        rounds += 1
        if rounds % int(flush_every) == 0:
            tracker.flush(0.001)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    tell(handled=handled, rounds=rounds, refused=_refused)


def _interrupt_at(place: int, work: Callable[[], object]) -> bool:
    """Do `work` and track at its line number `place`; return whether it has so many."""
    reached, line = False, 0

    def trace(frame: Any, event: str, _argument: object) -> Any:
        nonlocal line, reached
        ours = "/littlebro" in frame.f_code.co_filename or frame.f_globals is vars(threading)
        if event == "line" and ours:
            if line == place:
                reached = True
                track("signal")
            line += 1
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return reached


def interrupted(operation: str) -> None:
    """Do something once for each of its lines, and track at that line, as a signal handler might."""
    from django.db import transaction

    from littlebro import tracker, trackers
    from littlebro.delivery import JournalTracker

    def commit() -> None:
        with transaction.atomic():
            track("held")

    def twice() -> None:
        track("main")
        track("main")

    def flush() -> None:
        tracker.flush(0.005)
        for courier in cast(
            JournalTracker, trackers["default"]
        ).couriers:  # flush itself comes by here only while something waits
            courier.hurry()
            courier.start()

    work = {"track": twice, "flush": flush, "commit": commit}[operation]
    for _ in range(4):
        work()
    place = 0
    while _interrupt_at(place, work):
        place += 1
    tell(lines=place, refused=_refused)


def paced(seconds: str, gap: str, size: str = "0") -> None:
    """Track with `gap` seconds between two calls, each timed; print what callers felt, and what is uncounted."""
    from littlebro import trackers
    from littlebro.delivery import losses

    times: list[float] = []
    accepted = raised = 0
    pages = _memory()
    filling = "x" * int(size)
    accepted += track("first")  # it imports and builds: once a process, and no outage's doing
    end = time.monotonic() + float(seconds)
    tell(ready=True)
    while time.monotonic() < end:
        try:
            taken = track("paced", filling=filling)
        except Exception:
            raised += 1
            taken = False
        times.append(_took)
        accepted += taken
        time.sleep(float(gap))
    grown = _memory() - pages
    trackers["default"].close()
    times.sort()
    tell(
        calls=len(times) + 1, accepted=accepted, raised=raised, refused=len(times) + 1 - accepted,
        slow=sum(took >= 0.01 for took in times), longest=times[-1] * 1000,
        pending=losses.pending("default"), grown=grown,
    )  # fmt: skip


def backlog(n: str) -> None:
    """Track `n` events as fast as it goes, and let the tracker send them on; print what that took."""
    from littlebro import tracker

    track("some")
    assert tracker.flush(20)  # connections are made
    pages = _memory()
    start = time.perf_counter()
    for _ in range(int(n)):
        track("some")
    tracked = time.perf_counter() - start
    waits = not tracker.flush(600)
    tell(
        grown=_memory() - pages,
        tracked=tracked,
        sent=time.perf_counter() - start,
        waits=waits,
        refused=_refused,
    )


def _memory() -> float:
    """Return the peak memory of this process in MB; `getrusage` would count its parent's from before the exec."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - as light as can be
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def rollback(n: str) -> None:
    """Track `n` events in a transaction that is rolled back, and as many in one that is not."""
    from django.db import transaction

    from littlebro import tracker
    from littlebro.models import LossCount

    undone = []
    for keep in (False, True):
        with contextlib.suppress(ArithmeticError), transaction.atomic():
            LossCount.objects.count()  # the caller's own query, before and after
            for _ in range(int(n)):
                if keep:
                    track("kept")
                elif event := tracker.track_event("undone"):
                    undone.append(event.id)
            LossCount.objects.count()
            if not keep:
                raise ArithmeticError
    tell(undone=undone, queries=LossCount.objects.count() >= 0)


def upkeep() -> None:
    """Adopt and deliver, as ``manage.py littlebro upkeep`` does."""
    from littlebro import trackers

    tell(**trackers["default"].upkeep())


def repeat_upkeep(n: str) -> None:
    """Wait for a line, then adopt and deliver again and again: one of several that compete."""
    from littlebro import trackers

    tell(ready=True)
    pause()
    adopted = delivered = 0
    for _ in range(int(n)):
        done = trackers["default"].upkeep()
        adopted += done["adopted"]
        delivered += done["delivered"]
    tell(adopted=adopted, delivered=delivered)


def migrate() -> None:
    """Make the tables."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


PROGRAMS: Final[dict[str, Callable[..., None]]] = {
    program.__name__: program
    for program in (
        tick, nursery, some, poison, wait_for, fork_and_live, threads_and_forks, signals, interrupted, paced, backlog,
        rollback, upkeep, repeat_upkeep, migrate,
    )
}  # fmt: skip


@contextlib.contextmanager
def quiet_interrupts() -> Iterator[None]:
    """End without a traceback when the trial's terminal is interrupted."""
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        yield


def main(name: str, *arguments: str) -> None:
    """Run one program."""
    if os.environ.get("FAULTS_RESPECT_MODES"):
        conditions.respect_modes()
    faulthandler.dump_traceback_later(
        float(os.environ.get("FAULTS_SECONDS", "40")), exit=True
    )  # who hangs, where
    django.setup()
    if os.environ.get("FAULTS_CLOCK"):
        conditions.shift_clock(float(os.environ["FAULTS_CLOCK"]))
    with quiet_interrupts():
        PROGRAMS[name](*arguments)


if __name__ == "__main__":
    # One module, not two: the pages of the site import it by its name.
    from tests.faults import child  # noqa: PLW0406 - see above

    child.main(*sys.argv[1:])
