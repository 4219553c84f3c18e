"""How lines are held: few hooks, no copying over and over, nothing lost to a signal handler, little memory."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from django.db import connection, transaction

from littlebro import EventQuery, tracker, trackers
from littlebro.delivery import losses, transactions
from littlebro.models import StoredEvent
from tests.test_transactions import rolled_back, stored, use_thread

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def thread(settings: Any, journal: Path) -> None:
    use_thread(settings, journal)


@pytest.mark.usefixtures("thread")
def test_a_loop_of_savepoints_makes_few_hooks() -> None:
    """Thousands of small savepoints share one hold, not one each."""
    with transaction.atomic():
        for number in range(500):
            with transaction.atomic():
                tracker.track_event(f"loop-{number}")
        assert len(connection.run_on_commit) <= 3
    assert len(stored()) == 500


def calls_of(function: Callable[[], object]) -> int:
    """Return how many calls of Python functions happen inside `function`."""
    calls = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.usefixtures("thread")
def test_a_loop_of_savepoints_costs_the_same_in_every_round() -> None:
    """What is held already is not copied again, neither from memory nor from its file."""
    text = {"text": "x" * 300}
    calls = []
    with transaction.atomic():
        for _ in range(1000):
            with transaction.atomic():
                calls.append(calls_of(lambda: tracker.track_event("loop", text)))
    assert calls[10] <= calls[990] <= calls[10] + 10
    assert len(stored()) == 1000


def test_a_loop_of_savepoints_with_many_aliases_makes_few_hooks(settings: Any, journal: Path) -> None:
    """Holds of one journal collapse past those of another."""
    options = {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}
    aliases = ["default", *(f"alias-{number}" for number in range(7))]
    settings.LITTLEBRO = dict.fromkeys(aliases, options)
    with transaction.atomic():
        for number in range(50):
            with transaction.atomic():
                for alias in aliases:
                    trackers[alias].track_event(f"{alias}-{number}")
        assert len(connection.run_on_commit) == 2 * len(aliases)
        with rolled_back():
            for alias in aliases:
                trackers[alias].track_event("ghost")
    for alias in aliases:
        assert trackers[alias].flush(10)
    names = {f"{alias}-{number}" for alias in aliases for number in range(50)}
    assert {event.name for event in tracker.events(EventQuery(), limit=1000).events} == names


@pytest.mark.parametrize("size", [1, 1000], ids=["in memory", "in files"])
@pytest.mark.usefixtures("thread")
def test_lines_keep_their_order(size: int) -> None:
    """Holds that become one hand their lines over in the order of the calls."""
    names = (f"event-{number:04}" for number in range(10_000))

    def track(n: int) -> None:
        for _ in range(n):
            tracker.track_event(next(names), {"text": "x" * 300})

    with transaction.atomic():
        track(1)
        with transaction.atomic():
            track(size)
            with transaction.atomic():
                track(size)
            with transaction.atomic():
                track(2 * size)
        track(1)
        assert len(connection.run_on_commit) == 1
        hold: Any = connection.run_on_commit[0][1]
        found = [msgspec.json.decode(line)["name"] for line in hold.lines()]
    assert found == [f"event-{number:04}" for number in range(2 + 4 * size)]


class Interrupted(BaseException):
    """What a signal handler may raise, as KeyboardInterrupt is."""


def at_line(place: int, handler: Callable[[], object], work: Callable[[], object]) -> bool:
    """Run `work`, and `handler` before the line of the module that it comes to as number `place`, if there is one."""
    left = place
    measured = sys.gettrace()  # what measures coverage goes on afterwards

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        # An exception in `__del__` goes nowhere.
        if frame.f_globals is not vars(transactions) or frame.f_code.co_name == "_close":
            return None
        if event == "line":
            left -= 1
            if left == -1:
                sys.settrace(None)
                handler()
        return trace

    sys.settrace(trace)
    try:
        with suppress(Interrupted):
            work()
    finally:
        sys.settrace(measured)
    return left < 0


def interrupt() -> None:
    raise Interrupted


@pytest.mark.parametrize("in_memory", [100, 500, 100_000])
@pytest.mark.parametrize("handler", [interrupt, None], ids=["raises", "tracks"])
@pytest.mark.usefixtures("thread")
def test_a_signal_handler_at_any_line(monkeypatch: Any, handler: Any, in_memory: int) -> None:
    """Whether it tracks or raises: no event that was accepted is lost, and the project's hooks run once each."""
    monkeypatch.setattr(transactions, "_IN_MEMORY", in_memory)
    accepted: set[str] = set()
    ran: list[int] = []

    def track() -> None:
        event = tracker.track_event("a")
        assert event is not None
        accepted.add(event.id)

    place, fired = 0, True
    while fired:
        with transaction.atomic():
            track()
            with rolled_back():
                tracker.track_event("ghost")
            for _ in range(2):
                with transaction.atomic():
                    track()
            assert len(connection.run_on_commit) == 2  # nothing remains of the interruption before
            transaction.on_commit(partial(ran.append, place))
            with transaction.atomic():
                fired = at_line(place, handler or track, track)
                track()
            track()
            with rolled_back():
                tracker.track_event("ghost")
        place += 1
    assert place > 20
    assert ran == list(range(place))
    assert tracker.flush(10)
    found = tracker.events(EventQuery(), limit=10_000).events
    assert accepted <= {event.id for event in found}
    assert {event.name for event in found} == {"a"}


@pytest.mark.usefixtures("thread")
def test_a_hold_that_cannot_spill_is_counted(journal: Path, caplog: Any) -> None:
    """Where the journal's folder takes no file, what a long transaction held is counted, and its commit stands."""
    journal.write_text("a file where the folder should be")
    with caplog.at_level(logging.CRITICAL), transaction.atomic():
        StoredEvent.objects.count()
        for _ in range(2000):
            tracker.track_event("much", {"text": "x" * 300})
    assert sum(losses.drain("default").values()) == 2000


MUCH = """
import os, resource, sys, django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, INSTALLED_APPS=["littlebro"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1] + "/db.sqlite3"}},
    LITTLEBRO={
        "default": {
            "TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": sys.argv[1] + "/journal"},
        },
    },
)
django.setup()
from django.db import transaction
from littlebro import tracker
from littlebro.delivery.courier import Courier
Courier.start = lambda self: None  # deliver nothing: memory of this process is what is measured
params = {f"key_{i}": "value %d abcdefgh" % i for i in range(10)}
tracker.track_event("warm", params)
with transaction.atomic():
    tracker.track_event("first", params)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200_000):
        tracker.track_event("much", params)
    if len(sys.argv) > 2:
        os.kill(os.getpid(), 9)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, flush=True)
os._exit(0)
"""


def run_much(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "DJANGO"))}
    command = [sys.executable, "-c", MUCH, str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def lines_in(folder: Path) -> int:
    """Return how many events lie in the segments of a journal."""
    files = [path for path in folder.rglob("*") if path.suffix in {".active", ".sealed"}]
    return sum(path.read_bytes().count(b'"name":"') for path in files)


@pytest.mark.slow
def test_200_000_events_in_one_transaction(tmp_path: Path) -> None:
    """A long transaction spills to a file without a name: memory stays below 30 MB, and nothing is lost."""
    done = run_much(tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30 * 1024  # KiB
    assert lines_in(tmp_path / "journal") == 200_002


@pytest.mark.slow
def test_a_spilled_hold_dies_with_its_process(tmp_path: Path) -> None:
    """Killed before its commit, a transaction leaves nothing that anybody could adopt."""
    done = run_much(tmp_path, "die")
    assert done.returncode == -9
    assert lines_in(tmp_path / "journal") == 1
