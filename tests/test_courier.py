"""Segments that cannot be delivered keep no others from their destination, in any process."""

import fcntl
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, connection, connections, transaction

from littlebro import tracker
from littlebro.delivery import JournalTracker, locks, losses
from littlebro.delivery.segment import SEALED, claim, write_whole
from littlebro.delivery.spool import Claim, Spool, Weight
from littlebro.models import DeadLetter, LossCount, Tombstone
from tests.commanding import event, kept, letter, run
from tests.faults.harness import wait_until
from tests.test_journal import event_line, stored, use

pytestmark = pytest.mark.django_db(transaction=True)


def lay_newer(journal: Path, n: int) -> None:
    """Lay `n` segments into the journal that only a newer littlebro can read."""
    for _ in range(n):
        line = event_line("newer").replace(b'"v":1', b'"v":2')
        write_whole(journal / "default", line, sync=False)


def lay(journal: Path, n: int) -> None:
    for _ in range(n):
        write_whole(journal / "default", event_line("good"), sync=False)


@pytest.mark.parametrize("stuck", [2, 30])
def test_upkeep_gets_past_what_cannot_be_delivered(settings: Any, journal: Path, stuck: int) -> None:
    """It tries what comes behind as well, and tells what is left."""
    made = use(settings, journal)
    lay_newer(journal, stuck // 2)
    lay(journal, 5)
    lay_newer(journal, stuck // 2)
    lay(journal, 5)
    done = made.upkeep()
    assert (done["delivered"], done["left"]) == (10, stuck)
    assert done["reason"].startswith("NewerFormat")
    assert stored() == ["good"] * 10


def test_upkeep_gives_up_where_nothing_can_be_delivered(settings: Any, journal: Path) -> None:
    """It does not try each of thousands while the destination is down."""
    made = use(settings, journal)
    lay(journal, 60)
    tries = []

    def refuse(held: Claim, content: bytes) -> None:
        tries.append(held.name)
        raise ConnectionError("down")

    made.couriers[0]._deliver = refuse
    assert made.upkeep()["left"] == 60
    assert 20 <= len(tries) <= 22


def test_a_process_gets_past_what_cannot_be_delivered(settings: Any, journal: Path) -> None:
    """The background thread delivers what comes behind; a flush that hurries it does not bring it back to the head."""
    use(settings, journal, SEAL_EVENTS=5)
    lay_newer(journal, 2)
    lay(journal, 5)
    for _ in range(20):
        assert tracker.track_event("tracked")
    wait_until(lambda: len(stored()) >= 20, what="delivery without a flush")
    assert not tracker.flush(1)
    assert sorted(stored()) == ["good"] * 5 + ["tracked"] * 20


def test_what_cannot_be_delivered_does_not_keep_segments_from_being_sealed(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few events come they are sealed by time, however long old segments have been failing."""
    monkeypatch.setattr("littlebro.delivery.courier._PROBE_EVERY", 0.5)
    made = use(settings, journal, SEAL_SECONDS=0.1, POLL_SECONDS=0.1)
    lay_newer(journal, 2)
    made.couriers[0].start()
    wait_until(lambda: made.couriers[0].failing, what="a failure")
    time.sleep(0.5)
    for n in range(2):
        assert tracker.track_event("rare")
        wait_until(lambda n=n: len(stored()) > n, what="delivery of a segment that is not full")  # type: ignore[misc]  # mypy knows no default of a lambda


class Down:
    """A destination that takes nothing until it is up; counts nothing else."""

    def __init__(self, made: JournalTracker) -> None:
        self.up = False
        self._deliver = made.couriers[0]._deliver
        made.couriers[0]._deliver = self

    def __call__(self, held: Claim, content: bytes) -> None:
        if not self.up:
            raise ConnectionError("down")
        self._deliver(held, content)


def sealed(journal: Path) -> list[Path]:
    return sorted(journal.rglob(f"*{SEALED}"))


def test_what_cannot_be_delivered_here_is_left_to_others(settings: Any, journal: Path) -> None:
    """A process whose deliveries fail keeps no lock on what it has sealed."""
    made = use(settings, journal, SEAL_EVENTS=1, SEAL_SECONDS=300.0)
    down = Down(made)
    for _ in range(20):
        assert tracker.track_event("tracked")
    assert not tracker.flush(0.5)
    for path in sealed(journal):
        others = claim(path)
        assert others is not None, f"{path.name} is locked"
        locks.release(others)
    down.up = True
    assert tracker.flush(5)
    assert len(stored()) == 20


def test_a_deleted_folder_costs_nothing_that_this_process_holds(settings: Any, journal: Path) -> None:
    """What has no name any more nobody else could deliver: it is kept through failures."""
    made = use(settings, journal, SEAL_EVENTS=1, SEAL_SECONDS=300.0)
    assert made.journal is not None
    down = Down(made)
    made.journal._on_work = lambda: None
    for _ in range(5):
        assert tracker.track_event("tracked")
    pen = made.journal
    wait_until(lambda: pen._assistant.has_spare and len(sealed(journal)) == 4, what="the assistant")
    shutil.rmtree(journal)
    assert made.couriers[0].walk().failed == 2
    down.up = True
    assert tracker.flush(5)
    assert len(stored()) == 5


def test_upkeep_tells_of_what_others_hold(settings: Any, journal: Path) -> None:
    """Whoever looks why segments are left sees that they are in other hands."""
    made = use(settings, journal)
    lay(journal, 3)
    others = [claim(path) for path in sealed(journal)[:2]]
    assert made.upkeep() == {"adopted": 0, "delivered": 1, "left": 2, "held": 2, "reason": ""}
    for file in others:
        assert file is not None
        locks.release(file)
    assert made.upkeep() == {"adopted": 0, "delivered": 2, "left": 0, "held": 0, "reason": ""}


def test_what_a_database_without_autocommit_takes_is_committed(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would do it in the thread that delivers, nor after an upkeep; the segment is gone by then."""
    monkeypatch.setitem(connections.settings["default"], "AUTOCOMMIT", False)
    made = use(settings, journal)
    losses.drain("default")
    assert tracker.track_event("\0") is None
    wait_until(lambda: made.flush(5) and LossCount.objects.exists(), what="the counts, written by the thread")
    connection.close()
    losses.count("default", "other", 2)
    assert made.upkeep()["reason"] == ""
    assert connection.connection is None
    wait_until(lambda: made.flush(5) and LossCount.objects.count() == 2, what="those that came later")
    assert sorted(LossCount.objects.values_list("reason", "n")) == [("invalid", 1), ("other", 2)]
    connection.rollback()


def test_commands_commit_where_nobody_else_does(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AUTOCOMMIT off in DATABASES, what commands and beat's task did was gone with the process."""
    tasks = pytest.importorskip("littlebro.tasks", reason="the extra celery is not installed")
    use(settings, journal)
    tracker.deliver([event("1", user_id="ann"), event("2", user_id="bob")])
    letter("3")
    settings.LITTLEBRO = {"default": {**settings.LITTLEBRO["default"], "RETENTION_DAYS": 7}}
    tracker.deliver([event("4", timestamp=datetime(2020, 1, 1, tzinfo=UTC))])
    connection.close()
    monkeypatch.setitem(connections.settings["default"], "AUTOCOMMIT", False)
    assert run("forget", "--user", "ann", "--no-input")[0] == 0
    assert run("deadletters", "replay", "--all")[0] == 0
    tasks.purge()
    connection.close()
    monkeypatch.undo()
    assert kept() == ["2", "3"]
    assert Tombstone.objects.exists()
    assert not DeadLetter.objects.exists()


def test_a_command_leaves_the_commit_to_a_caller_in_a_transaction(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that has a connection open, and calls a command, commits both or neither."""
    use(settings, journal)
    connection.close()
    monkeypatch.setitem(connections.settings["default"], "AUTOCOMMIT", False)
    letter("1")
    assert run("deadletters", "delete", "--all", "--no-input")[0] == 0
    connection.rollback()
    letter("2")
    connection.rollback()
    connection.close()
    monkeypatch.undo()
    assert not DeadLetter.objects.exists()


def test_upkeep_is_not_done_where_the_caller_commits_by_himself(settings: Any, journal: Path) -> None:
    """With autocommit off a rollback may come that takes back what was stored."""
    made = use(settings, journal)
    transaction.set_autocommit(False)
    try:
        assert "transaction is open" in made.upkeep()["reason"]
    finally:
        transaction.set_autocommit(True)


def test_who_comes_too_late_for_a_lock_leaves_the_next_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He opened the lock file that was let go of before he locked it; by then somebody else made another."""
    path = write_whole(tmp_path, b"line\n", sync=False)
    first, late, second, third = (Spool(tmp_path, linked=True) for _ in range(4))
    held = first.take(path)
    assert held is not None
    flock, taken = fcntl.flock, []

    def lock_late(file: Any, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.give_back(held)
        taken.append(second.take(path))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert late.take(path) is None
    assert third.take(path) is None
    assert taken[0] is not None
    second.discard(taken[0])


def test_a_reason_that_nobody_could_write_down(settings: Any, journal: Path) -> None:
    """Upkeep and status tell it all the same, escaped."""
    made = use(settings, journal)
    lay(journal, 1)

    def refuse(held: Claim, content: bytes) -> None:
        raise ConnectionError("half a \ud800")

    made.couriers[0]._deliver = refuse
    reason = "ConnectionError: half a \\ud800"
    assert made.upkeep()["reason"] == reason
    assert made.status()["journal"]["destinations"][""]["trouble"] == reason


def test_upkeep_needs_no_table_of_losses(settings: Any, journal: Path) -> None:
    """A machine that is not allowed to reach the database delivers all the same, and fails at nothing."""
    made = use(settings, journal)
    lay(journal, 2)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE littlebro_losscount RENAME TO littlebro_hidden")
    try:
        done = made.upkeep()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE littlebro_hidden RENAME TO littlebro_losscount")
    assert (done["delivered"], done["reason"]) == (2, "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_connection_that_cannot_be_closed_does_not_end_the_thread(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may raise where the server is gone; nobody might start another thread for a long time."""
    made = use(settings, journal, POLL_SECONDS=0.1)
    closed: list[bool] = []

    def deliver(held: Claim, content: bytes) -> None:
        connection.ensure_connection()
        close = connection.close

        def fail() -> None:
            closed.append(True)
            close()
            raise InterfaceError("gone")

        monkeypatch.setattr(connections["default"], "close", fail)

    made.couriers[0]._deliver = deliver
    lay(journal, 1)
    made.couriers[0].start()
    wait_until(lambda: len(closed) > 2, what="an idle thread")
    assert made.couriers[0].is_running()


def test_what_a_sink_owes_is_weighed_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that was dead for days holds many files: between two weighings it is reckoned what comes and goes."""
    ours, sink = Spool(tmp_path), Spool(tmp_path / "sinks" / "archive", linked=True)
    weighed: list[Path] = []
    weigh = Spool.weigh

    def note(spool: Spool) -> Weight:
        weighed.append(spool.folder)
        return weigh(spool)

    monkeypatch.setattr(Spool, "weigh", note)
    for _ in range(3):
        held = ours.take(write_whole(tmp_path, b"x" * 9 + b"\n", sync=False))
        assert held is not None
        assert not sink.is_full(30, every=60)
        sink.link(held)
        ours.discard(held)
    assert sink.is_full(30, every=60)
    owed = sink.take(sink.everything()[0])
    assert owed is not None
    sink.discard(owed)
    assert not sink.is_full(30, every=60)
    sink.everything()[0].unlink()  # another process delivered it
    assert sink.is_full(20, every=60)
    assert weighed == [sink.folder]
    sink._next_weighing = 0.0
    assert not sink.is_full(20, every=60)


def test_a_flush_is_no_heavy_load(settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backend is away thousands of files wait, and a look at them takes its time."""
    made = use(settings, journal)
    lay_newer(journal, 1)
    looks: list[Spool] = []
    everything = Spool.everything

    def look_slowly(spool: Spool) -> list[Path]:
        looks.append(spool)
        time.sleep(0.05)
        return everything(spool)

    monkeypatch.setattr(Spool, "everything", look_slowly)
    assert not made.flush(2)
    assert len(looks) < 15


def test_a_folder_that_cannot_be_listed_is_not_flushed(settings: Any, journal: Path) -> None:
    """Flush says so; raising, it took a view along, and at exit it kept the other aliases from delivering theirs."""
    made = use(settings, journal)
    assert made.journal is not None
    made.journal._on_work = lambda: None  # a courier would make the folder anew in between
    tracker.track_event("seen")
    folder, moved = journal / "default", journal / "moved"
    folder.rename(moved)
    folder.symlink_to(folder)  # which not even root gets into
    assert not made.flush(0.5)
    folder.unlink()
    moved.rename(folder)
    made.close()
    assert made.upkeep()["left"] == 0
    assert stored() == ["seen"]


def test_a_segment_that_cannot_be_sealed_is_not_flushed(settings: Any, journal: Path) -> None:
    """In a folder that is read-only for now it keeps its name, and is delivered after that."""
    made = use(settings, journal)
    tracker.track_event("seen")
    (active,) = (journal / "default").glob("*.active")
    in_its_way = active.with_suffix(SEALED)
    in_its_way.mkdir()
    assert not made.flush(0.5)
    in_its_way.rmdir()
    assert made.upkeep()["adopted"] == 1
    assert made.flush(5)
    assert stored() == ["seen"]
