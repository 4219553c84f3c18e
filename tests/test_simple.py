"""What `simple` promises beyond the contract: transactions, errors, the order of storing, plans, speed traps."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction

from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import EventRefused, InvalidQuery
from littlebro.models import StoredEvent
from littlebro.testing.contracts import make_event as make
from littlebro.testing.contracts.samples import NOON
from littlebro_backends import simple
from littlebro_backends.simple_order import _before_gap
from littlebro_backends.simple_reading import Table

TABLE = "littlebro_storedevent"


@pytest.fixture
def backend(database_alias: str) -> simple.Backend:
    return simple.Backend("default", database_alias, {})


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `work` in a thread with connections of its own, closed at its end; its exception is raised here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(30)
    if errors:
        raise errors[0]


def sql(alias: str, statement: str, *params: Any) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    """`simple` joins the caller's transaction, and stands alone without one."""

    def test_a_rollback_takes_the_events_with_it(self, backend: simple.Backend) -> None:
        with transaction.atomic(using=backend.using):
            backend.save_many([make()])
            transaction.set_rollback(True, using=backend.using)
        assert backend.count(EventQuery()) == 0

    def test_an_error_does_not_poison_the_callers_transaction(self, backend: simple.Backend) -> None:
        """What the database refuses is undone to a savepoint; the caller goes on and commits."""
        with transaction.atomic(using=backend.using):
            backend.save_many([make(id="before")])
            with pytest.raises(EventRefused):
                backend.save_many([make(id="good"), make(id="bad", name=None)])
            backend.save_many([make(id="after")])
        assert {event.id for event in backend.scan(EventQuery())} == {"before", "after"}

    def test_a_batch_is_stored_whole_or_not_at_all(self, backend: simple.Backend) -> None:
        """Chunks of a large batch are one transaction."""
        events = [make(id=f"{n:05}") for n in range(4_100)]
        with pytest.raises(EventRefused):
            backend.save_many([*events, make(id="99999", name=None)])
        assert backend.count(EventQuery()) == 0
        assert backend.save_many(events).stored == 4_100

    def test_large_events_go_in_several_statements(self, backend: simple.Backend) -> None:
        """A statement stays below what a server takes, whatever the size of the events."""
        events = [make(params={"text": "x" * 30_000, "n": n}) for n in range(400)]
        result = backend.save_many([*events, events[0]])
        assert (result.stored, result.duplicates) == (400, 1)
        assert sorted(event.params["n"] for event in backend.scan(EventQuery())) == list(range(400))

    @pytest.mark.django_db(transaction=True, databases=["default", "mariadb"])
    def test_mysql_cannot_count_what_was_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On MySQL `duplicates` is None; the statement is tried on MariaDB, which takes it as well."""
        monkeypatch.setattr(connections["mariadb"], "mysql_is_mariadb", False)
        backend, event = simple.Backend("default", "mariadb", {}), make()
        for _ in range(2):
            result = backend.save_many([event])
            assert (result.stored, result.duplicates) == (1, None)
        assert backend.count(EventQuery()) == 1

    def test_overlapping_batches_do_not_deadlock(self, backend: simple.Backend) -> None:
        """Workers that store the same events in whatever order each see theirs stored, once."""
        events = [make() for _ in range(400)]

        def work(batch: list[Event]) -> None:
            for start in range(0, 400, 100):
                _again(partial(backend.save_many, batch[start : start + 300]))

        with (
            in_thread(lambda: work(events)),
            in_thread(lambda: work(events[::-1])),
            in_thread(lambda: work(events)),
        ):
            pass
        assert backend.count(EventQuery()) == 400


def _again(call: Callable[[], Any]) -> None:
    """Do as the delivering side does with a deadlock or a lock: try again."""
    for attempt in range(20):
        try:
            call()
        except DatabaseError:
            time.sleep(0.01 * attempt)
        else:
            return
    raise AssertionError("still refused after 20 attempts")


@pytest.mark.django_db(transaction=True)
class TestErrors:
    """The data's faults are `EventRefused`; everything else comes through as it is, to be tried again."""

    @pytest.mark.parametrize("fields", [{"name": None}, {"v": None}, {"params": None, "name": None}])
    def test_null_is_refused_and_not_swallowed(self, backend: simple.Backend, fields: dict[str, Any]) -> None:
        with pytest.raises(EventRefused) as caught:
            backend.save_many([make(), make(**fields)])
        assert "seen" not in str(caught.value)
        assert backend.count(EventQuery()) == 0

    @pytest.mark.parametrize(
        "fields", [{"name": "x" * 201}, {"id": "y" * 201}, {"v": 40_000}, {"name": "a\0b"}]
    )
    def test_what_does_not_fit_is_refused(self, backend: simple.Backend, fields: dict[str, Any]) -> None:
        """PostgreSQL and MariaDB have limits that SQLite has not; the validator sees to it for all alike."""
        vendor = connections[backend.using].vendor
        if vendor == "sqlite" or (vendor == "mysql" and "\0" in fields.get("name", "")):
            pytest.skip("this database takes it")
        with pytest.raises(EventRefused):
            backend.save_many([make(**fields)])

    def test_a_check_constraint_is_not_swallowed(self, backend: simple.Backend) -> None:
        """A constraint of the project's own refuses by name instead of skipping the row."""
        if backend.using == "default":
            pytest.skip("SQLite adds no constraint to a table that is there")
        sql(backend.using, f"ALTER TABLE {TABLE} ADD CONSTRAINT mine CHECK (v < 7)")
        try:
            with pytest.raises(EventRefused):
                backend.save_many([make(v=8)])
        finally:
            sql(backend.using, f"ALTER TABLE {TABLE} DROP CONSTRAINT mine")

    @pytest.mark.parametrize("value", ["\ud800", object(), 2**70 * 1.0j])
    def test_what_cannot_be_encoded_is_refused(self, backend: simple.Backend, value: Any) -> None:
        with pytest.raises(EventRefused, match="cannot be encoded"):
            backend.save_many([make(params={"v": value})])

    def test_a_missing_table_is_nobodys_data(self, backend: simple.Backend) -> None:
        """It may be migrated in a minute: the batch is kept, and `check` says what to do."""
        sql(backend.using, f"ALTER TABLE {TABLE} RENAME TO away")
        try:
            with pytest.raises(DatabaseError):
                backend.save_many([make()])
            assert f"migrate --database={backend.using}" in backend.check()[0]
        finally:
            sql(backend.using, f"ALTER TABLE away RENAME TO {TABLE}")
        assert backend.check() == []

    def test_a_broken_connection_is_replaced(self, backend: simple.Backend) -> None:
        """After the server has hung up, one call fails as retryable, and the next one works."""
        vendor = connections[backend.using].vendor
        if vendor == "sqlite":
            pytest.skip("a file does not hang up")
        ask, kill = {
            "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
            "mysql": ("SELECT connection_id()", "KILL %s"),
        }[vendor]
        for call in (
            lambda: backend.save_many([make()]),
            lambda: list(backend.scan(EventQuery())),
            backend.ping,
        ):
            ((pid,),) = sql(backend.using, ask)
            with in_thread(partial(sql, backend.using, kill, pid)):
                pass
            time.sleep(0.05)
            with pytest.raises(DatabaseError):
                call()
            call()

    def test_a_server_that_is_away_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`check` answers in a sentence, whatever the driver raises."""
        backend = simple.Backend("default", "default", {})
        monkeypatch.setattr(
            connections["default"].introspection, "table_names", lambda cursor: cursor.execute("SELECT x")
        )
        assert backend.check()[0].startswith("The database 'default' does not answer:")

    def test_an_unknown_database_is_a_wrong_setting(self) -> None:
        with pytest.raises(
            ImproperlyConfigured, match=r"^LITTLEBRO\['audit'\]: LOCATION .*'defualt'.*'default'"
        ):
            simple.Backend("audit", "defualt", {})

    def test_a_database_it_does_not_know_is_a_wrong_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
        with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['default'\]: 'simple' knows PostgreSQL"):
            simple.Backend("default", None, {}).save_many([make()])


@pytest.mark.django_db(transaction=True)
class TestOrderOfStoring:
    """Reading on from the last position misses nothing, whatever commits late."""

    def test_a_late_commit_is_not_passed_by(self, backend: simple.Backend) -> None:
        """An event whose key is smaller, and whose transaction is still open, holds back those after it."""
        if connections[backend.using].vendor == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        written, commit = threading.Event(), threading.Event()

        def slow() -> None:
            with transaction.atomic(using=backend.using):
                backend.save_many([make(id="late")])
                written.set()
                commit.wait(20)

        backend.save_many([make(id="early")])
        with in_thread(slow):
            written.wait(20)
            backend.save_many([make(id="quick")])
            first = list(backend.scan_stored())
            assert [event.id for _, event in first] in (["early"], [])
            commit.set()
        rest = list(backend.scan_stored(first[-1][0] if first else None))
        assert [event.id for _, event in first + rest] == ["early", "late", "quick"]

    def test_a_reader_beside_busy_writers_misses_nothing(self, backend: simple.Backend) -> None:
        """Following the positions while three threads store and one rolls back yields every event once."""

        def write(name: str) -> None:
            for n in range(25):
                with transaction.atomic(using=backend.using):
                    backend.save_many([make(id=f"{name}-{n}-{m}") for m in range(4)])
                    transaction.set_rollback(name == "c" and n % 2 == 1, using=backend.using)

        seen: list[str] = []
        position: str | None = None
        with (
            in_thread(lambda: write("a")) as a,
            in_thread(lambda: write("b")) as b,
            in_thread(lambda: write("c")) as c,
        ):
            busy = True
            while busy:
                busy = any(thread.is_alive() for thread in (a, b, c))
                for last, event in backend.scan_stored(position):
                    seen.append(event.id)
                    position = last
        expected = {event.id for event in backend.scan(EventQuery())}
        assert len(expected) == 25 * 4 * 2 + 13 * 4
        assert sorted(seen) == sorted(expected)

    def test_the_callers_own_events_are_read(self, backend: simple.Backend) -> None:
        """Inside the transaction that wrote them, events are there to be read in order of storing."""
        with transaction.atomic(using=backend.using):
            backend.save_many([make(id="1"), make(id="2")])
            assert [event.id for _, event in backend.scan_stored()] == ["1", "2"]


@pytest.mark.django_db
class TestReading:
    """Pages are ranges of an index, on tables of any size."""

    @pytest.mark.parametrize("query", [
        EventQuery(collections=("littlebro",)), EventQuery(collections=("littlebro",), newest_first=True),
        EventQuery(collections=("littlebro",), names=("seen",)), EventQuery(names=tuple("abcdefghij")),
    ], ids=["forwards", "backwards", "name", "names"])  # fmt: skip
    def test_sqlite_sorts_nothing(self, query: EventQuery) -> None:
        """The plan of a page behind a cursor has no sorting step, which would read the table for each page."""
        backend = simple.Backend("default", "default", {})
        backend.save_many([make(timestamp=NOON + timedelta(seconds=n)) for n in range(50)])
        table = Table(connections["default"], TABLE)
        with (
            connections["default"].execute_wrapper(
                lambda run, statement, params, many, context: run(
                    f"EXPLAIN QUERY PLAN {statement}", params, many, context
                )
            ),
            connections["default"].cursor() as cursor,
        ):
            plan = table.page(cursor, query, make().position, 100)
        statements = [row[3] for row in plan]
        assert not [step for step in statements if "TEMP B-TREE" in step], statements
        assert "littlebro_event_" in statements[0]

    def test_a_forged_cursor_is_refused(self, backend: simple.Backend) -> None:
        for position in ((NOON, "a\0", "c"), (NOON, "a", "\ud800")):
            with pytest.raises(InvalidQuery, match="no cursor of ours"):
                list(backend.scan(EventQuery(), position))

    def test_bounds_at_the_ends_of_the_calendar(self, backend: simple.Backend) -> None:
        """A bound that no UTC moment equals is no error."""
        backend.save_many([make()])
        east, west = timezone(timedelta(hours=5)), timezone(-timedelta(hours=5))
        start, end = datetime.min.replace(tzinfo=east), datetime.max.replace(tzinfo=west)
        assert len(list(backend.scan(EventQuery(start=start, end=end)))) == 1

    def test_times_from_elsewhere_are_stored_in_utc(self, backend: simple.Backend) -> None:
        east = timezone(timedelta(hours=5))
        backend.save_many([make(timestamp=NOON.astimezone(east), received_at=NOON)])
        (event,) = backend.scan(EventQuery())
        assert (event.timestamp, event.timestamp.utcoffset()) == (NOON, timedelta(0))

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu"])
    def test_times_do_not_depend_on_settings(self, backend: simple.Backend, settings: Any, zone: str) -> None:
        """Without USE_TZ, and in the hour that clocks repeat, the same moments come back."""
        settings.USE_TZ = False
        settings.TIME_ZONE = zone
        moments = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
        backend.save_many([make(timestamp=moment) for moment in moments])
        assert [event.timestamp for event in backend.scan(EventQuery())] == moments
        assert [event.timestamp for event in backend.scan(EventQuery(start=moments[1]))] == moments[1:]

    def test_nothing_is_deleted_for_ever(
        self, backend: simple.Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows that are seen and cannot be deleted, being gone for others, end the work instead of repeating it."""
        backend.save_many([make()])
        monkeypatch.setattr(backend, "_delete", lambda keys: 0)
        assert backend.delete_many(EventQuery()) == 0

    def test_a_condition_that_no_event_fulfils(self, backend: simple.Backend) -> None:
        backend.save_many([make()])
        where = (Condition(("params", "x"), "set"),)
        assert (backend.count(EventQuery(where=where)), backend.delete_many(EventQuery(where=where))) == (
            0,
            0,
        )


@pytest.mark.django_db
class TestModel:
    """The rows are ordinary rows of Django's."""

    def test_the_orm_reads_what_was_written(self, backend: simple.Backend) -> None:
        event = make(params={"a": 1e23, "b": {"c": [1]}}, context={"ip": "x"}, user_id="7")
        backend.save_many([event])
        row = StoredEvent.objects.using(backend.using).get(timestamp=event.timestamp)
        assert (row.event_id, row.collection, row.name, row.user_id, row.anonymous_id, row.v) == (
            event.id, "littlebro", "seen", "7", None, 1,
        )  # fmt: skip
        assert (row.timestamp, row.params, row.context) == (event.timestamp, event.params, event.context)
        assert type(row.params["a"]) is float

    def test_the_backend_reads_what_the_orm_wrote(self, backend: simple.Backend) -> None:
        StoredEvent.objects.using(backend.using).create(
            event_id="x", collection="c", name="n", timestamp=NOON, received_at=NOON, params={"a": [1, 1.5]}
        )
        (event,) = backend.scan(EventQuery())
        assert event == make(id="x", collection="c", name="n", params={"a": [1, 1.5]})

    def test_setup_migrates(self, backend: simple.Backend) -> None:
        backend.setup()
        assert backend.check() == []

    def test_debug_does_not_keep_the_payload(self, backend: simple.Backend, settings: Any) -> None:
        """Django keeps the last 9,000 statements under DEBUG; a batch must not stay in memory that way."""
        settings.DEBUG = True
        secret = uuid.uuid4().hex
        backend.save_many([make(params={"s": secret})])
        logged = [entry["sql"] for entry in connections[backend.using].queries_log]
        assert not [statement for statement in logged if secret in statement]
        assert [statement for statement in logged if "(1 events)" in statement]


def test_rows_that_come_between_two_looks_are_not_passed_over() -> None:
    """On MariaDB a statement may write its last rows, and commit, after the look at the keys; a gap holds up all."""
    rows = [(1,), (2,), (3,), (5,)]
    assert _before_gap(rows, [1, 5]) == rows
    assert _before_gap(rows, [1, 4, 5]) == rows[:3]
