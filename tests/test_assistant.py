"""The segment that is made ready before it is needed: it comes next, and no trouble with it reaches a caller."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from littlebro import tracker
from littlebro.delivery import locks, losses
from littlebro.delivery.courier import Courier
from littlebro.delivery.journal import Journal
from littlebro.delivery.segment import PRIVATE, SEALED
from littlebro.delivery.spool import Spool
from tests.faults.harness import wait_until
from tests.test_held_up import no_threads
from tests.test_journal import stored, use

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pen(settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal that seals after two events, and of which nobody delivers by himself."""
    monkeypatch.setattr(Courier, "start", lambda _: True)
    made = use(settings, journal, SEAL_EVENTS=2, SEAL_SECONDS=300.0, POLL_SECONDS=300.0).journal
    assert made is not None
    return made


def track(n: int) -> None:
    for _ in range(n):
        assert tracker.track_event("tracked") is not None


def spares(pen: Journal) -> list[str]:
    """Return the names of spare files, without what says that they are."""
    return [path.name.removeprefix(PRIVATE) for path in pen.folder.iterdir() if path.name.startswith(PRIVATE)]


def at_the_pen(pen: Journal) -> str:
    assert pen._segment is not None
    assert pen._segment.is_in_place()
    return Path(pen._segment.path).stem


def made_ready(pen: Journal) -> str:
    """Wait for the spare; return its name."""
    wait_until(lambda: pen._assistant.has_spare, what="a spare segment")
    (name,) = spares(pen)
    return name


def test_it_is_the_next_at_the_pen(pen: Journal) -> None:
    """A process that fills segments has one ready; one that tracks a few events makes none."""
    track(2)
    assert not pen._assistant.is_running()
    assert spares(pen) == []
    track(1)
    for _ in range(3):
        spare = made_ready(pen)
        assert at_the_pen(pen) != spare
        track(2)
        assert at_the_pen(pen) == spare
    assert tracker.upkeep()["left"] == 0
    assert stored() == ["tracked"] * 9


def test_nobody_adopts_or_removes_it_while_its_process_lives(pen: Journal) -> None:
    """Nor do its reserved bytes count as waiting."""
    track(3)
    spare = pen.folder / f"{PRIVATE}{made_ready(pen)}"
    os.utime(spare, (1, 1))
    other = Spool(pen.folder)
    other.adopt()
    assert spare.exists()
    assert other.weigh().segments == 1
    pen._assistant.stop(5)
    assert not spare.exists()


def test_closing_removes_it(pen: Journal) -> None:
    """And its thread; both come again when the journal is used again."""
    track(3)
    made_ready(pen)
    pen.close()
    assert spares(pen) == []
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("-assistant")]
    track(1)
    made_ready(pen)


def unlink(pen: Journal) -> None:
    for name in spares(pen):
        (pen.folder / f"{PRIVATE}{name}").unlink()


def move(pen: Journal) -> None:
    pen.folder.rename(pen.folder.with_name("moved"))


def remove(pen: Journal) -> None:
    shutil.rmtree(pen.folder)


@pytest.mark.parametrize("harm", [unlink, move, remove])
def test_one_that_is_gone_is_not_written_to(pen: Journal, harm: Callable[[Journal], None]) -> None:
    """What is tracked then lies where others look for it, and the next spare as well."""
    track(3)
    lost = made_ready(pen)
    harm(pen)
    track(3)
    assert at_the_pen(pen) != lost
    assert made_ready(pen) != lost
    assert tracker.upkeep()["left"] == 0
    assert stored() == ["tracked"] * 6
    assert losses.drain("default") == {}


def test_a_line_that_is_too_long_for_it(pen: Journal) -> None:
    """It gets a segment of its own size, and the spare waits for the next."""
    track(3)
    spare = made_ready(pen)
    track(1)
    long = {str(number): "x" * 1000 for number in range(30)}
    assert tracker.track_event("long", long) is not None
    assert spares(pen) == [spare]
    track(2)
    assert at_the_pen(pen) == spare


def test_no_thread_for_it(pen: Journal) -> None:
    """Each segment is then sealed and made at the pen."""
    with no_threads():
        track(5)
        assert spares(pen) == []
        assert len(pen.spool.waiting(SEALED)) == 2
    track(2)
    made_ready(pen)


def test_more_than_it_can_do(pen: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two full segments may wait for it; beyond that one is sealed by the call that leaves another."""
    begun, over = threading.Event(), threading.Event()

    def seal() -> None:
        begun.set()
        over.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(pen._assistant, "_seal", seal)
        track(3)
        assert begun.wait(10)
        track(8)
        assert (len(pen._full), len(pen.spool.waiting(SEALED))) == (2, 3)
        over.set()
    assert tracker.upkeep()["left"] == 0
    assert stored() == ["tracked"] * 11


def test_one_that_cannot_be_made(pen: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread goes on, and makes the next that is wanted."""
    tried = threading.Event()

    def refuse() -> None:
        tried.set()
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(pen._assistant, "_make", refuse)
        track(3)
        assert tried.wait(10)
    track(2)
    made_ready(pen)


def test_a_fork_leaves_it_to_the_parent(pen: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has none, at no moment, nor its lock, and makes none for a single event."""
    track(3)
    spare = made_ready(pen)
    start_anew = pen._start_anew
    seen: list[bool] = []

    def starting() -> None:
        seen.append(pen._assistant.has_spare)  # what a signal handler would take from here on
        start_anew()

    monkeypatch.setattr(pen, "_start_anew", starting)
    child = os.fork()
    if not child:
        tracked = tracker.track_event("child")
        own = pen._assistant.has_spare or pen._assistant.is_running()
        os._exit(seen != [False] or tracked is None or own or len(locks._held) > 1)
    assert os.waitpid(child, 0)[1] == 0
    track(2)
    assert at_the_pen(pen) == spare
    assert tracker.upkeep()["left"] == 0
    assert sorted(stored()) == ["child", *["tracked"] * 5]


def test_a_handler_at_the_pen_does_not_wait_for_who_seals(pen: Journal) -> None:
    """Who seals may be waiting for that pen: a flush in a signal handler would never end."""
    track(1)
    sealing, over = threading.Event(), threading.Event()

    def seal() -> None:
        with pen._sealing:
            sealing.set()
            over.wait(10)

    def handle() -> None:
        with pen._lock:
            pen.seal()

    threads = [threading.Thread(target=work, daemon=True) for work in (seal, handle)]
    threads[0].start()
    assert sealing.wait(10)
    threads[1].start()
    threads[1].join(2)
    ended = not threads[1].is_alive()
    over.set()
    for thread in threads:
        thread.join(10)
    assert ended


def test_a_segment_is_as_old_as_its_sealing(pen: Journal) -> None:
    """And not as old as the spare that it was."""
    track(3)
    os.utime(pen.folder / f"{PRIVATE}{made_ready(pen)}", (1, 1))
    track(4)
    pen.seal()
    assert 0 <= pen.spool.weigh().age < 60
