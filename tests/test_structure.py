"""A newcomer goes from the call to the byte on the disk in at most five files."""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from littlebro.delivery import JournalTracker
from littlebro.delivery.handler import tracker, trackers

ROOT = Path(__file__).resolve().parent.parent
_MOST = 5


def littlebro_files(frame: FrameType | None) -> list[str]:
    """Return the files of ours on the stack, from the newest frame up to the test's own."""
    found: list[str] = []
    while frame is not None and frame.f_code.co_filename != __file__:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.parts[len(ROOT.parts)].startswith("littlebro"):
            found.append(str(path.relative_to(ROOT)))
        frame = frame.f_back
    return list(dict.fromkeys(found))


@pytest.fixture
def journal_tracker(settings: Any, journal: Path) -> JournalTracker:
    """Give the default tracker, `thread` in front of a store in memory, with its journal open."""
    settings.LITTLEBRO = {
        "default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}
    }
    found = trackers["default"]
    assert isinstance(found, JournalTracker)
    return found


def assert_short(seen: list[list[str]]) -> None:
    assert seen, "the write was not seen"
    for files in seen:
        assert "littlebro/delivery/journal.py" in files
        assert len(files) <= _MOST, files


def test_call_to_os_write(journal_tracker: JournalTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the `os.write` the stack of a `track_event` call holds at most five files of ours."""
    assert journal_tracker.journal is not None
    journal_tracker.journal._mapped = False
    seen: list[list[str]] = []
    write = os.write

    def spy(descriptor: int, data: bytes) -> int:
        if b'"first-call"' in data or b'"later-call"' in data:
            seen.append(littlebro_files(sys._getframe(1)))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    tracker.track_event("first-call", {"n": 1})
    tracker.track_event("later-call", {"n": 2})
    assert len(seen) == 2
    assert_short(seen)


def test_call_to_the_map(journal_tracker: JournalTracker) -> None:
    """The same where the journal is written through a map of preallocated blocks."""
    journal = journal_tracker.journal
    assert journal is not None
    journal._mapped = True
    seen: list[list[str]] = []

    class Spy:
        """Stands before the segment's map and looks who writes."""

        def __init__(self, behind: Any) -> None:
            self._behind = behind

        def __setitem__(self, place: slice, data: bytes) -> None:
            seen.append(littlebro_files(sys._getframe(1)))
            self._behind[place] = data

        def __getattr__(self, name: str) -> Any:
            return getattr(self._behind, name)

    tracker.track_event("first-call", {"n": 1})
    segment = journal._segment
    if segment is None or segment._map is None:
        pytest.skip("this file system promises no blocks")
    segment._map = Spy(segment._map)  # type: ignore[assignment]
    tracker.track_event("later-call", {"n": 2})
    assert len(seen) == 1
    assert_short(seen)


def test_no_file_is_long() -> None:
    """No file of the packages has more than 400 lines."""
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("littlebro", "littlebro_backends", "littlebro_trackers")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
