"""An exception out of a signal handler (a time limit, say) strands nothing that was accepted before or is after."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from littlebro import tracker
from littlebro.delivery import losses
from littlebro.delivery.courier import Courier
from littlebro.delivery.journal import Journal
from tests.test_journal import use

pytestmark = pytest.mark.django_db(transaction=True)

_FILES = ("journal.py", "segment.py", "spool.py", "locks.py", "assistant.py", "worker.py")
_LOCKING = {"__enter__", "__exit__", "acquire", "release"}  # the interpreter's own business


class TimeIsUp(BaseException):
    """As a handler of SIGALRM may raise it, between any two instructions."""


def interrupt_at(place: int, work: Callable[[], object]) -> bool:
    """Do `work` and raise at its call number `place` in the journal; return whether it has so many."""
    calls = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        # Where the interpreter runs handlers: as a function begins, and as a call has come back.
        if event == "c_call" or not frame.f_code.co_filename.endswith(_FILES):
            return
        if event.startswith("c_") and argument.__name__ in _LOCKING:
            return
        calls += 1
        if calls == place:
            raise TimeIsUp

    sys.setprofile(profile)
    try:
        work()
    except TimeIsUp:
        return True
    finally:
        sys.setprofile(None)
    return calls >= place


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("mapped", [True, False])
def test_an_exception_at_any_moment(settings: Any, journal: Path, mapped: bool) -> None:
    """What was accepted is stored, the file of a segment half sealed is found, and no descriptor stays open."""
    made = use(settings, journal, SEAL_EVENTS=2, SEAL_SECONDS=300.0, POLL_SECONDS=300.0)
    pen = made.journal
    assert isinstance(pen, Journal)
    pen._mapped = mapped
    pen._on_work = lambda: None  # nobody delivers meanwhile
    accepted: list[str] = []

    def work() -> None:
        for _ in range(3):
            event = tracker.track_event("tracked")
            assert event is not None
            accepted.append(event.id)

    place = 0
    while interrupt_at(place := place + 1, work):
        assert not pen._writing
        made.upkeep()
    assert place > 50
    made.close()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(journal) in os.path.realpath(link)]
    assert made.upkeep()["left"] == 0
    stored = {event.id for event in tracker.events(limit=1000).events}
    assert set(accepted) <= stored
    assert not list(journal.rglob("*.active"))


def test_a_short_write_after_an_interrupted_one(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills takes back what the short write left, and no line of the calls before."""
    made = use(settings, journal, SEAL_SECONDS=300.0, POLL_SECONDS=300.0)
    pen = made.journal
    assert isinstance(pen, Journal)
    pen._mapped = False
    monkeypatch.setattr(Courier, "start", lambda _: True)
    write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        write(descriptor, data)
        raise TimeIsUp

    assert tracker.track_event("first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(TimeIsUp):
            tracker.track_event("interrupted")
    assert tracker.track_event("second")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        assert tracker.track_event("refused") is None
    assert losses.drain("default") == {"journal-full": 1}
    assert tracker.track_event("third")
    assert made.upkeep()["left"] == 0
    names = [event.name for event in tracker.events().events]
    assert set(names) - {"interrupted"} == {"first", "second", "third"}
