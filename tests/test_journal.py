"""What the journal takes and refuses: its cap, and the files that it makes."""

import errno
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from littlebro import tracker, trackers
from littlebro.delivery import JournalTracker, locks, losses
from littlebro.delivery.courier import Courier
from littlebro.delivery.segment import ACTIVE, PRIVATE, SEALED, claim, write_whole
from littlebro.delivery.spool import Spool
from tests.faults.harness import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def use(settings: Any, journal: Path, **options: Any) -> JournalTracker:
    """Let the default alias be `thread` into `memory`, with these options; return its tracker."""
    alias = {
        "TRACKER": "thread",
        "BACKEND": "memory",
        "LOCATION": str(journal),
        "TRACKER_OPTIONS": {"JOURNAL": str(journal), **options},
    }
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": alias}
    made = trackers["default"]
    assert isinstance(made, JournalTracker)
    return made


def event_line(name: str) -> bytes:
    built = trackers["default"]._pipeline.run(name)
    assert built is not None
    return built[1] + b"\n"


def stored() -> list[str]:
    return [event.name for event in tracker.events(limit=1000).events]


@pytest.fixture
def counted() -> Any:
    """Leave no counts to the next test."""
    yield
    losses.drain("default")


@pytest.mark.usefixtures("counted")
def test_a_process_that_starts_with_a_full_journal_empties_it(settings: Any, journal: Path) -> None:
    """It refuses at first, and carries away what fills the journal, so that it takes events again."""
    use(settings, journal, MAX_BYTES=1000)
    write_whole(journal / "default", event_line("old") * 10, sync=False)
    assert tracker.track_event("refused") is None
    wait_until(lambda: tracker.track_event("new"), what="a journal with room")
    assert tracker.flush(5)
    assert sorted(set(stored())) == ["new", "old"]


@pytest.mark.usefixtures("counted")
def test_a_full_journal_that_others_emptied_takes_events(settings: Any, journal: Path) -> None:
    """Whoever is refused sees when another process has delivered what filled it; it does not spin till then."""
    made = use(settings, journal, MAX_BYTES=100_000, POLL_SECONDS=0.2)
    path = write_whole(journal / "default", bytes(100_000), sync=False)
    others = claim(path)
    assert others is not None
    assert tracker.track_event("refused") is None
    looks = count_looks(made)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert tracker.track_event("refused") is None
        time.sleep(0.001)
    assert len(looks) < 10
    path.unlink()
    locks.release(others)
    wait_until(lambda: tracker.track_event("new"), what="a journal with room")
    assert tracker.flush(5)
    assert not list(journal.rglob(f"*{SEALED}"))


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE])
def test_a_process_that_may_map_no_more(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It has as many maps, as much memory or as many descriptors as the system allows; lines are written without."""
    use(settings, journal, SEAL_EVENTS=2)

    def map_file(_descriptor: int, _size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "map_file", map_file)
    for _ in range(5):
        assert tracker.track_event("seen") is not None
    assert tracker.flush(5)
    assert stored() == ["seen"] * 5


def count_looks(made: JournalTracker) -> list[float]:
    """Return a list that gets an item whenever a courier looks at the journal."""
    assert made.journal is not None
    looks: list[float] = []
    real = made.journal.look

    def look() -> float | None:
        looks.append(time.monotonic())
        return real()

    made.journal.look = look  # type: ignore[method-assign]  # watched, and done all the same
    return looks


def commit(n: int) -> None:
    with transaction.atomic():
        for _ in range(n):
            assert tracker.track_event("held")


@pytest.mark.parametrize("fsync", ["never", "event"])
def test_small_transactions_leave_no_file_each(settings: Any, journal: Path, fsync: str) -> None:
    """Their events join the active segment; it is sealed by their number, as ever, and all of them are stored."""
    made = use(settings, journal, SEAL_EVENTS=50, SEAL_SECONDS=300.0, FSYNC=fsync)
    assert made.journal is not None
    made.journal._on_work = lambda: None  # nobody delivers meanwhile
    for _ in range(60):
        commit(3)
        assert tracker.track_event("single")
    made.journal.look()
    files = [path for path in journal.rglob("*") if path.suffix in {SEALED, ".active"}]
    assert 240 / 50 <= len(files) <= 240 / 50 + 1
    assert tracker.flush(5)
    assert sorted(stored()) == ["held"] * 180 + ["single"] * 60


@pytest.mark.usefixtures("counted")
def test_a_transaction_that_finds_no_room_is_counted(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last event, whether it is small or large."""
    use(settings, journal, MAX_BYTES=100)
    monkeypatch.setattr(Courier, "start", lambda _: True)  # nobody takes the counts meanwhile
    commit(3)
    commit(300)
    assert losses.drain("default") == {"journal-full": 303}


def test_a_transaction_committed_by_a_signal_handler_at_the_pen(settings: Any, journal: Path) -> None:
    """It is written aside, in one file, since the segment is half changed."""
    made = use(settings, journal, SEAL_SECONDS=300.0)
    assert made.journal is not None
    made.journal._on_work = lambda: None
    made.journal._writing = True
    commit(5)
    made.journal._writing = False
    assert len(list(journal.rglob(f"*{SEALED}"))) == 1
    assert tracker.flush(5)
    assert stored() == ["held"] * 5


@pytest.mark.usefixtures("counted")
def test_a_handler_of_logs_may_track_while_a_commit_is_refused(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are logged when the pen is free: whoever waits for it may hold the handler's lock."""
    made = use(settings, journal, MAX_BYTES=2000)
    assert made.journal is not None
    monkeypatch.setattr(Courier, "start", lambda _: True)
    while made.append(made.journal, event_line("fill")[:-1]):
        pass
    losses.drain("default")
    emitting, commits = threading.Event(), threading.Event()

    class Tracking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "shop":
                emitting.set()
                commits.wait(10)
                tracker.track_event("logged")

    def commit_three() -> None:
        assert made.journal is not None
        emitting.wait(10)
        made.journal.append_many([b"line"] * 3)

    handler = Tracking()
    logging.getLogger().addHandler(handler)
    logger = logging.getLogger("shop")
    works = (commit_three, lambda: logger.error("boom"))
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    try:
        for thread in threads:
            thread.start()
        assert emitting.wait(10)
        time.sleep(0.2)  # for the commit to be refused, and logged
        commits.set()
        for thread in threads:
            thread.join(5)
        assert not any(thread.is_alive() for thread in threads)
    finally:
        logging.getLogger().removeHandler(handler)
    assert losses.drain("default") == {"journal-full": 4}


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("refused", [False, True])
def test_couriers_are_called_when_the_next_segment_is_open(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Earlier, they would make the call that turns wait for the interpreter; where none can be opened, all the same."""
    pen = use(settings, journal, SEAL_EVENTS=2).journal
    assert pen is not None
    monkeypatch.setattr(Courier, "start", lambda _: True)
    seen: list[bool] = []
    monkeypatch.setattr(pen, "_on_work", lambda: seen.append(pen.is_open))
    assert tracker.track_event("first")
    assert tracker.track_event("second")
    if refused:
        (journal / "default").rename(journal / "moved")
        (journal / "default").touch()  # no folder
    assert (tracker.track_event("third") is None) is refused
    wait_until(
        lambda: seen == [True, not refused], what=f"a call once the full segment is sealed (seen: {seen})"
    )


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("refused", [False, True])
def test_no_name_is_kept_at_the_pen(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Every thread waits while the interpreter makes its table of names anew, which is after some ten thousand."""
    use(settings, journal, SEAL_EVENTS=2)
    monkeypatch.setattr(Courier, "start", lambda _: True)
    tracker.track_event("begun")
    if refused:
        (journal / "default").rename(journal / "moved")
        (journal / "default").touch()  # no folder
    kept: list[str] = []
    intern = sys.intern

    def noted(text: str) -> str:
        kept.append(text)
        return intern(text)

    monkeypatch.setattr(sys, "intern", noted)
    for _ in range(6):
        tracker.track_event("e")
    assert not [name for name in kept if name.startswith(PRIVATE) or name.endswith((ACTIVE, SEALED))]
    assert bool(losses.pending("default")) is refused


def test_a_backlog_is_listed_again_with_the_same_paths(tmp_path: Path) -> None:
    """As above: it may be of thousands of files, and is listed once a second."""
    for _ in range(3):
        write_whole(tmp_path, b"{}\n", sync=False)
    spool = Spool(tmp_path)
    before = spool.waiting(SEALED)
    held = spool.take(before[0])
    assert held is not None
    spool.discard(held)
    after = spool.waiting(SEALED)
    assert len(after) == 2
    assert all(old is new for old, new in zip(before[1:], after, strict=True))
