"""Row by row what a database transaction means for an event: stored if it commits, gone if it does not."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TestCase

from littlebro import EventQuery, tracker, trackers
from littlebro.delivery import losses
from littlebro.delivery.forget import forget
from littlebro.models import DeadLetter


def use_thread(settings: Any, journal: Path, **more: Any) -> None:
    """Let the default alias be `thread` into `simple`."""
    alias = {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}, **more}
    settings.LITTLEBRO = {"default": alias}


@pytest.fixture
def thread(settings: Any, journal: Path) -> None:
    use_thread(settings, journal)


@contextmanager
def rolled_back(using: str = "default") -> Iterator[None]:
    """Roll the block back at its end, transaction or savepoint."""
    with suppress(ZeroDivisionError), transaction.atomic(using=using):
        yield
        raise ZeroDivisionError


def stored() -> list[str]:
    """Return the names of all stored events, in their order."""
    assert tracker.flush(10)
    return [event.name for event in tracker.events(EventQuery(), limit=1000).events]


pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.mark.usefixtures("thread")
def test_commit_stores_and_rollback_does_not() -> None:
    """An event of a committed transaction is stored, one of a rolled-back transaction never is."""
    with transaction.atomic():
        tracker.track_event("kept")
    with rolled_back():
        tracker.track_event("ghost")
    assert stored() == ["kept"]


@pytest.mark.usefixtures("thread")
def test_nothing_is_in_the_journal_before_the_commit(journal: Path) -> None:
    """Until the commit the event is not in the journal: a crash leaves no ghost."""
    with transaction.atomic():
        tracker.track_event("held")
        assert not list(journal.rglob("*.*"))
    assert list(journal.rglob("*.sealed")) or stored() == ["held"]


class Database(str, enum.Enum):  # noqa: UP042 - of a StrEnum, str() is the value; of this one it is not
    MAIN = "default"


@pytest.mark.usefixtures("thread")
def test_a_call_names_the_database_that_it_follows(settings: Any) -> None:
    """By its alias, in any text; one that is no database is refused, not recorded at once."""
    settings.LITTLEBRO_STRICT = False
    with rolled_back():
        tracker.track_event("ghost", on_commit="default")
        tracker.track_event("ghost", on_commit=Database.MAIN)
        assert tracker.track_event("refused", on_commit="defualt") is None
        tracker.track_event("kept", on_commit="other")
    assert stored() == ["kept"]
    assert [(letter.name, letter.reason[:9]) for letter in DeadLetter.objects.all()] == [
        ("refused", "on_commit")
    ]


@pytest.mark.usefixtures("thread")
def test_savepoints() -> None:
    """A rolled-back savepoint takes its events along, those around and beside it stay."""
    with transaction.atomic():
        tracker.track_event("before")
        with rolled_back():
            tracker.track_event("inside")
            with transaction.atomic():
                tracker.track_event("deeper")
        with transaction.atomic():
            tracker.track_event("beside")
        tracker.track_event("after")
    assert stored() == ["before", "beside", "after"]


@pytest.mark.usefixtures("thread")
def test_released_savepoint_of_a_savepoint_that_is_rolled_back() -> None:
    """Holds of released savepoints follow what surrounds them, whatever was merged before."""
    with transaction.atomic():
        for number in range(20):
            with transaction.atomic():
                tracker.track_event(f"loop-{number}")
        with rolled_back():
            for number in range(20):
                with transaction.atomic():
                    tracker.track_event(f"ghost-{number}")
        tracker.track_event("last")
    assert stored() == [*(f"loop-{number}" for number in range(20)), "last"]


@pytest.mark.usefixtures("thread")
def test_a_hook_of_the_projects_own_that_raises_costs_no_event() -> None:
    """Django stops at the first on-commit hook that raises; ours has run by then."""

    def broken() -> None:
        raise ZeroDivisionError

    with suppress(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(broken)
        tracker.track_event("committed")
    assert stored() == ["committed"]


@pytest.mark.usefixtures("thread")
def test_hooks_of_the_project_run_all_the_same() -> None:
    """Ours before theirs, theirs in their order."""
    seen: list[int] = []
    with transaction.atomic():
        transaction.on_commit(lambda: seen.append(1))
        tracker.track_event("a")
        transaction.on_commit(lambda: seen.append(2))
        tracker.track_event("b")
    assert seen == [1, 2]
    assert stored() == ["a", "b"]


@pytest.mark.parametrize(
    "follow, expected", [(True, []), ("default", ["paid"]), ("other", []), (False, ["paid"])]
)
def test_on_commit_of_the_alias(settings: Any, journal: Path, follow: Any, expected: list[str]) -> None:
    """ON_COMMIT follows any open transaction, that of one database, or none."""
    use_thread(settings, journal, ON_COMMIT=follow)
    with rolled_back("other"):
        tracker.track_event("paid")
    assert stored() == expected


@pytest.mark.usefixtures("thread")
def test_two_databases() -> None:
    """A named database decides alone: the other's rollback does not matter, nor does its commit."""
    with transaction.atomic(using="other"):
        with rolled_back("default"):
            tracker.track_event("follows-other", on_commit="other")
            tracker.track_event("follows-default", on_commit="default")
        assert stored() == []
    assert stored() == ["follows-other"]


@pytest.mark.usefixtures("thread")
def test_on_commit_false_records_at_once() -> None:
    """`on_commit=False` on the call makes an event of a rolled-back transaction stay."""
    with rolled_back():
        tracker.track_event("attempted", on_commit=False)
    assert stored() == ["attempted"]


@pytest.mark.usefixtures("thread")
def test_no_connection_is_opened() -> None:
    """Tracking outside a transaction opens no connection in the caller's thread."""
    for each in connections.all(initialized_only=True):
        each.close()
    tracker.track_event("quiet")
    assert all(each.connection is None for each in connections.all(initialized_only=True))
    assert stored() == ["quiet"]


@pytest.mark.usefixtures("thread")
async def test_event_loop_records_at_once() -> None:
    """In an event loop no transaction can be open in this task, so the event is recorded at once."""
    assert tracker.track_event("from-the-loop") is not None
    assert (await tracker.atrack_event("awaited")) is not None
    assert await tracker.aflush(10)
    page = await tracker.aevents()
    assert [event.name for event in page.events] == ["from-the-loop", "awaited"]


def test_dummy_is_atomic_with_its_caller(settings: Any) -> None:
    """`dummy` into `simple` on the same database rolls back and commits with its caller."""
    settings.LITTLEBRO = {}
    with rolled_back():
        tracker.track_event("ghost")
    with transaction.atomic():
        tracker.track_event("kept")
    assert stored() == ["kept"]


def test_an_error_under_dummy_does_not_poison_the_callers_transaction(
    settings: Any, database_alias: str
) -> None:
    """The backend fails inside the caller's atomic block; the caller's next query still works."""
    settings.LITTLEBRO = {"default": {"LOCATION": database_alias}}
    settings.LITTLEBRO_STRICT = False
    tracker.track_event("warm")
    with connections[database_alias].cursor() as cursor:
        cursor.execute("ALTER TABLE littlebro_storedevent RENAME TO littlebro_hidden")
    try:
        with transaction.atomic(using=database_alias):
            assert tracker.track_event("lost") is None
            assert connections[database_alias].cursor().execute("SELECT 1") is not None
    finally:
        with connections[database_alias].cursor() as cursor:
            cursor.execute("ALTER TABLE littlebro_hidden RENAME TO littlebro_storedevent")
    assert losses.drain("default") == {"not-stored": 1}
    assert [event.name for event in trackers["default"].events().events] == ["warm"]


@pytest.mark.usefixtures("thread")
def test_upkeep_is_not_done_inside_a_transaction() -> None:
    """A rollback would take back what it stored, when the journal has let go of it; what waits, waits."""
    tracker.track_event("kept", on_commit=False)
    with suppress(LookupError), transaction.atomic(using="other"):
        done = tracker.upkeep()
        assert (done["delivered"], "transaction is open" in done["reason"]) == (0, True)
        raise LookupError
    with rolled_back():
        forget("default", user_id="7")
    assert stored() == ["kept"]


class InsideTestCase(TestCase):
    """Under Django's TestCase nothing commits."""

    def test_held_for_ever_and_capture_works(self) -> None:
        """`captureOnCommitCallbacks` sees our hold at its place, and the project's own callback once."""
        seen: list[int] = []
        with TemporaryDirectory() as folder:
            alias = {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": folder}}
            with self.settings(LITTLEBRO={"default": alias}):
                transaction.on_commit(lambda: seen.append(1))
                with self.captureOnCommitCallbacks() as callbacks:
                    tracker.track_event("held")
                    transaction.on_commit(lambda: seen.append(2))
                assert stored() == []
                assert len(callbacks) == 2
                callbacks[1]()
                assert seen == [2]
                callbacks[0]()
                assert stored() == ["held"]

    def test_every_capture_sees_its_own_events(self) -> None:
        """Events before a capture, released savepoints and a capture that ran its callbacks make no difference."""
        with TemporaryDirectory() as folder:
            alias = {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": folder}}
            with self.settings(LITTLEBRO={"default": alias}):
                tracker.track_event("before")
                for number in range(3):
                    with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
                        tracker.track_event(f"inside-{number}")
                    assert len(callbacks) == 1
                assert stored() == ["inside-0", "inside-1", "inside-2"]
