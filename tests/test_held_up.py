"""Delivery that is held up: by a backend that hangs or is down, tables that are away, a journal that is full, a file
that cannot be opened.
"""

import errno
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.db import transaction

from littlebro import tracker, trackers
from littlebro.delivery import JournalTracker, deadletters, journaled, locks, losses, tombstones
from littlebro.delivery.courier import Courier
from littlebro.delivery.segment import write_whole
from littlebro.events.event import Event
from littlebro.models import LossCount
from littlebro.storage import SaveResult
from littlebro_backends import memory


class Trying(memory.Backend):
    """A store that hangs, or is down, for as long as the test says; it notes the events of each attempt."""

    freed: ClassVar[threading.Event] = threading.Event()
    down: ClassVar[bool] = False
    attempts: ClassVar[list[list[str]]] = []

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        self.attempts.append([event.name for event in events])
        self.freed.wait(20)
        if self.down:
            raise ConnectionError("the store is down")
        return super().save_many(events)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    losses.drain("default")
    monkeypatch.setattr(Trying, "attempts", [])
    Trying.freed.set()
    yield
    Trying.freed.set()


@pytest.fixture
def use(settings: Any, journal: Path, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Track by `thread` into `Trying`, with a memory as its sink."""

    def choose(**options: Any) -> None:
        quick = {"SEAL_SECONDS": 0.1, "POLL_SECONDS": 0.2, "EXIT_SECONDS": 0.2}
        settings.LITTLEBRO_STRICT = False
        settings.LITTLEBRO = {
            "default": {
                "TRACKER": "thread",
                "TRACKER_OPTIONS": {"JOURNAL": journal, **quick, **options},
                "BACKEND": f"{__name__}.Trying",
                "LOCATION": request.node.nodeid,
                "SINKS": ["beside"],
            },
            "beside": {"BACKEND": "memory", "LOCATION": f"{request.node.nodeid} beside"},
        }

    return choose


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def in_the_sink(name: str) -> bool:
    return name in {event.name for event in trackers["beside"].events().events}


@pytest.mark.django_db(transaction=True)
def test_sinks_do_not_wait_for_a_backend_that_hangs(use: Any) -> None:
    """Segments are sealed and handed to them by another thread than the one that hangs."""
    use()
    Trying.freed.clear()
    tracker.track_event("first")
    until(lambda: bool(Trying.attempts))
    for name in ("second", "third"):
        tracker.track_event(name)
        until(partial(in_the_sink, name))
    assert len(Trying.attempts) == 1


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_was_stopped_wakes_no_other(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker closes while segments are handed to the sinks: none of its threads stays, or comes back."""
    use()
    made = trackers["default"]
    assert isinstance(made, JournalTracker)
    fanning, closed = threading.Event(), threading.Event()

    def fan_out(*_: Any) -> None:
        fanning.set()
        closed.wait(10)

    monkeypatch.setattr(journaled, "fan_out", fan_out)
    tracker.track_event("first")
    assert fanning.wait(10)
    main = made.couriers[0]._thread
    assert main is not None
    made.close(0.1)
    closed.set()
    main.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("littlebro-")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broken", ["sinks", "sinks/beside"])
def test_a_sinks_folder_that_takes_nothing(use: Any, journal: Path, broken: str) -> None:
    """Another account made it, or its disk is away: the backend does not wait for it, nor does the sink."""
    path = journal / "default" / broken
    path.parent.mkdir(parents=True)
    path.symlink_to(path.name)  # which not even root gets into
    use()
    tracker.track_event("first")
    assert tracker.flush(5)
    assert Trying.attempts == [["first"]]
    assert in_the_sink("first")
    assert tracker.upkeep()["left"] == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["sealed", "fanned", "active"])
def test_a_file_that_cannot_be_opened(
    use: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The disk is damaged in one place: what lies elsewhere does not wait for it, and it is told."""
    use()
    broken = write_whole(journal / "default", b"", sync=False, name=f"{'0' * 32}.{state}")  # the oldest
    real = locks._open

    def opened(path: str, flags: int) -> int:
        if Path(path) == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, flags)

    monkeypatch.setattr(locks, "_open", opened)
    tracker.track_event("first")
    until(lambda: Trying.attempts == [["first"]])
    until(partial(in_the_sink, "first"))
    done = tracker.upkeep()
    assert done["left"] == (state != "active")
    if state == "fanned":
        assert os.strerror(errno.EIO) in done["reason"]
    monkeypatch.undo()
    assert tracker.flush(10)
    assert tracker.upkeep()["left"] == 0


@contextmanager
def no_threads() -> Iterator[None]:
    """Let no thread start: there is no room for a stack of this size."""
    before = threading.stack_size(1 << 50)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", [nullcontext, transaction.atomic], ids=["call", "commit"])
def test_no_thread_can_be_started(
    use: Any, caplog: pytest.LogCaptureFixture, door: Callable[[], AbstractContextManager[None]]
) -> None:
    """It is told, events wait, and go on their way soon after one can; nobody is to see an error."""
    use()
    with no_threads():
        for name in ("first", "second"):
            with door():
                assert tracker.track_event(name) is not None
        assert not tracker.flush(0.2)
    assert caplog.text.count("no thread can be started") == 1

    def arrived() -> bool:
        with door():
            assert tracker.track_event("later") is not None
        return in_the_sink("first") and in_the_sink("second")

    until(arrived)


@pytest.mark.django_db(transaction=True)
def test_upkeep_needs_no_thread(use: Any) -> None:
    """It delivers by itself, to the sinks as well."""
    use()
    with no_threads():
        assert tracker.track_event("first") is not None
        assert tracker.upkeep()["left"] == 0
    assert in_the_sink("first")


def test_events_are_not_stored_again_for_the_notes_beside_them(use: Any) -> None:
    """A store without ids would hold them twice; here littlebro's own tables are away, and the store is not."""
    use()
    tracker.track_event("good")
    tracker.track_event("bad", {"x": object()})
    assert not tracker.flush(3)
    assert Trying.attempts == [["good"]]


@pytest.mark.django_db(transaction=True)
def test_what_is_tried_again_is_counted_once(use: Any) -> None:
    """The event of someone who was forgotten is left out at each attempt, and for each sink, and lost once."""
    use()
    tombstones.put("7", None)
    Trying.down = True
    try:
        tracker.track_event("gone", user=7, timestamp=datetime(2020, 1, 1, tzinfo=UTC))
        tracker.track_event("stays")
        assert not tracker.flush(2)
    finally:
        Trying.down = False
    assert len(Trying.attempts) > 1
    assert tracker.flush(10)
    assert tracker.flush(10)  # the counts of the first one travel with the second
    assert list(LossCount.objects.values_list("reason", "n")) == [("forgotten", 1)]


@pytest.mark.django_db(transaction=True)
def test_a_refused_call_is_lost_once(use: Any) -> None:
    """Its note finds no room in a full journal; the call was counted already."""
    use(MAX_BYTES=4096, POLL_SECONDS=60.0)
    Trying.freed.clear()
    while tracker.track_event("seen", {"x": "x" * 1000}):
        pass
    tracker.track_event("bad", {"x": object()})
    Trying.freed.set()
    assert tracker.flush(10)
    assert tracker.flush(10)
    assert dict(LossCount.objects.values_list("reason", "n")) == {"journal-full": 1, "invalid": 1}


def nothing_kept(made: JournalTracker) -> bool:
    """Return whether it remembers no segment."""
    assert made.journal is not None
    kept = [made._stored, made.journal._unsealed, *(courier._delivered for courier in made.couriers)]
    return not any(kept)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", ["sealing", "deleting", "notes"])
def test_what_is_remembered_of_segments_goes_with_them(
    use: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """A process that lives for weeks forgets those that were adopted, or that another one delivered."""
    use(FSYNC="batch")
    made = trackers["default"]
    assert isinstance(made, JournalTracker)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if trouble == "sealing":
            patch.setattr(os, "fdatasync", fail)
        elif trouble == "deleting":
            patch.setattr(Path, "unlink", fail)
        else:
            patch.setattr(deadletters, "add_refused", fail)
            tracker.track_event("bad", {"x": object()})
        tracker.track_event("good")
        until(lambda: not nothing_kept(made))
        if trouble != "sealing":
            for path in [*journal.rglob("*.fanned"), *journal.rglob("*.sealed")]:
                path.rename(path.with_suffix(".gone"))  # as if delivered by another process
    until(partial(nothing_kept, made))


@pytest.mark.django_db(transaction=True)
def test_what_closing_loses_is_told(use: Any, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was deleted, and the last segment finds no room for another one; its count does."""
    use()
    made = trackers["default"]
    with monkeypatch.context() as patch:
        patch.setattr(Courier, "start", lambda _: True)  # the process may have no thread
        assert tracker.track_event("lost", {"x": "x" * 5000}) is not None
        shutil.rmtree(journal)
        before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
        try:
            made.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert losses.pending("default") == {}
    made.upkeep()
    assert dict(LossCount.objects.values_list("reason", "n")) == {"journal-full": 1}


@pytest.mark.django_db(transaction=True)
def test_a_hurry_that_no_thread_hears_leaves_nothing(use: Any) -> None:
    """Upkeep in a process without couriers, every minute for weeks, grows nothing."""
    use()
    made = trackers["default"]
    assert isinstance(made, JournalTracker)
    for _ in range(3):
        made.upkeep()
    assert [courier._calls.qsize() for courier in made.couriers] == [0, 0]
