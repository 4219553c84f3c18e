"""The storage room: what the core does where a backend does not, and how an alias gets its backend."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.core.exceptions import ImproperlyConfigured

from littlebro.events.event import Event, Position
from littlebro.events.query import Condition, EventQuery, encode_cursor
from littlebro.exceptions import InvalidQuery, UnsupportedOperation
from littlebro.storage import BaseBackend, SaveResult, backends, count, iterate, read_page

NOON = datetime(2026, 3, 29, 12, 0, 0, tzinfo=UTC)
HERE = "tests.test_storage"


def make(n: int, **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": f"{n:04}",
        "name": "seen",
        "timestamp": NOON + timedelta(seconds=n),
        "received_at": NOON,
    }
    return Event(**(given | {"params": {"n": n}, "context": {}} | fields))


class Minimal(BaseBackend):
    """What a stranger writes at the least: it reads everything and ignores `after` and the query's filters."""

    option_defaults: ClassVar[Mapping[str, Any]] = {"timeout": 5}
    closed = 0

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options)
        self.events: dict[tuple[str, str], Event] = {}

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        before = len(self.events)
        for event in events:
            self.events.setdefault((event.collection, event.id), event)
        return SaveResult(stored=len(self.events) - before, duplicates=None)

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        yield from sorted(self.events.values(), key=lambda event: event.position, reverse=query.newest_first)

    def close(self) -> None:
        type(self).closed += 1


class Unclosable(Minimal):
    """Fails where it should let go."""

    def close(self) -> None:
        raise RuntimeError("no")


class Stranger:
    """Has all the methods, and not the base that has the flags."""

    save_many = scan = delete_many = count = scan_stored = setup = check = ping = close = lambda self: None


@pytest.fixture
def minimal() -> Minimal:
    backend = Minimal("default", None, {"timeout": 5})
    backend.save_many([make(n, name="odd" if n % 2 else "even") for n in range(10)])
    return backend


class TestReading:
    """Filters, paging and counts are the core's work where the backend does none of it."""

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_pages_of_a_backend_that_ignores_all_of_it(self, minimal: Minimal, newest_first: bool) -> None:
        page = read_page(minimal, EventQuery(names=("odd",), newest_first=newest_first), 2)
        numbers = [[event.params["n"] for event in page.events]]
        while page.next_cursor:
            page = read_page(minimal, None, 2, page.next_cursor)
            numbers.append([event.params["n"] for event in page.events])
        assert numbers == ([[9, 7], [5, 3], [1]] if newest_first else [[1, 3], [5, 7], [9]])

    def test_the_last_page_has_no_cursor(self, minimal: Minimal) -> None:
        assert read_page(minimal, limit=10).next_cursor is None
        assert read_page(minimal, limit=9).next_cursor is not None
        empty = read_page(minimal, EventQuery(names=("x",)))
        assert (empty.events, empty.next_cursor) == ([], None)

    def test_counting_reads_where_the_backend_cannot(self, minimal: Minimal) -> None:
        assert count(minimal, EventQuery(names=("odd",))) == 5
        assert count(minimal, EventQuery(where=(Condition(("params", "n"), "lt", 3),))) == 3

    def test_reading_is_lazy(self, minimal: Minimal) -> None:
        assert next(iterate(minimal, EventQuery())).params == {"n": 0}

    @pytest.mark.parametrize("limit", [0, -1, 10_001, True, 1.5, "10", None])
    def test_a_bad_limit_is_an_error(self, minimal: Minimal, limit: Any) -> None:
        with pytest.raises(InvalidQuery, match="limit must be a whole number from 1 to 10000"):
            read_page(minimal, EventQuery(), limit)

    @pytest.mark.parametrize("cursor", ["", "x", "!!!", "é", "W10", 5])
    def test_a_bad_cursor_is_an_error(self, minimal: Minimal, cursor: Any) -> None:
        with pytest.raises(InvalidQuery, match="no cursor of ours"):
            read_page(minimal, cursor=cursor)

    def test_a_cursor_belongs_to_its_query(self, minimal: Minimal) -> None:
        """The same query may be given beside the cursor, another one may not."""
        query = EventQuery(names=("odd",), newest_first=True)
        cursor = encode_cursor(query, make(5).position)
        assert [event.params["n"] for event in read_page(minimal, query, 10, cursor).events] == [3, 1]
        with pytest.raises(InvalidQuery, match="another query"):
            read_page(minimal, EventQuery(names=("odd",)), 10, cursor)


class TestBase:
    """What a backend does not declare is refused by name."""

    @pytest.mark.parametrize("operation, verb", [("delete_many", "delete"), ("count", "count")])
    def test_undeclared_operations(self, minimal: Minimal, operation: str, verb: str) -> None:
        expected = (
            rf"LITTLEBRO\['default'\]: the backend {Minimal.__module__}.Minimal cannot {verb} \({operation}\)"
        )
        with pytest.raises(UnsupportedOperation, match=expected):
            getattr(minimal, operation)(EventQuery())
        with pytest.raises(UnsupportedOperation, match="scan_stored"):
            minimal.scan_stored()

    async def test_twins_of_undeclared_operations(self, minimal: Minimal) -> None:
        with pytest.raises(UnsupportedOperation, match="delete_many"):
            await minimal.adelete_many(EventQuery())
        with pytest.raises(UnsupportedOperation, match="scan_stored"):
            [pair async for pair in minimal.ascan_stored()]

    def test_the_rest_does_nothing(self, minimal: Minimal) -> None:
        minimal.setup()
        minimal.ping()
        assert minimal.check() == []
        assert repr(minimal) == "<Minimal of LITTLEBRO['default']>"
        assert BaseBackend.littlebro_api == 1
        BaseBackend("x", None, {}).close()
        with pytest.raises(NotImplementedError, match="BaseBackend must implement save_many"):
            BaseBackend("x", None, {}).save_many([])

    def test_a_result_names_what_was_refused(self) -> None:
        result = SaveResult(stored=1, refused={("c", "1"): "too long"})
        assert (result.duplicates, result.refused["c", "1"]) == (0, "too long")


@pytest.fixture
def two_aliases(settings: Any) -> None:
    settings.LITTLEBRO = {
        "default": {"BACKEND": f"{HERE}.Minimal", "OPTIONS": {"timeout": 1}, "LOCATION": "here"},
        "audit": {"BACKEND": f"{HERE}.Minimal"},
    }
    backends.reset()


@pytest.mark.usefixtures("two_aliases")
class TestHandler:
    """An alias has one backend in a process, made when it is first asked for."""

    def test_options_are_merged_with_the_defaults(self) -> None:
        assert (backends["default"].options, backends["default"].location) == ({"timeout": 1}, "here")
        assert (backends["audit"].options, backends["audit"].alias) == ({"timeout": 5}, "audit")
        assert list(backends) == ["default", "audit"]
        assert repr(backends) == "<BackendHandler of LITTLEBRO>"

    def test_threads_share_one(self) -> None:
        found: list[BaseBackend] = []
        threads = [threading.Thread(target=lambda: found.append(backends["default"])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(backend) for backend in found}) == 1

    def test_a_reset_closes_and_forgets(self) -> None:
        first, closed = backends["default"], Minimal.closed
        backends.reset()
        assert Minimal.closed == closed + 1
        assert backends["default"] is not first
        backends.reset()
        backends.reset()
        assert Minimal.closed == closed + 2

    def test_one_that_cannot_close_does_not_stop_the_others(
        self, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.LITTLEBRO = {
            "default": {"BACKEND": f"{HERE}.Unclosable", "OPTIONS": {}},
            "audit": {"BACKEND": f"{HERE}.Minimal"},
        }
        backends.reset()
        _, _, closed = backends["default"], backends["audit"], Minimal.closed
        backends.reset()
        assert Minimal.closed == closed + 1
        assert "<Unclosable of LITTLEBRO['default']> could not be closed" in caplog.text

    def test_a_forked_child_makes_its_own(self) -> None:
        """The child neither uses nor closes the parent's; the parent goes on with its own."""
        mine, closed = backends["default"], Minimal.closed
        child = os.fork()
        if not child:
            code = 1
            try:
                fresh = backends["default"] is not mine
                backends.reset()
                code = 0 if fresh and Minimal.closed == closed + 1 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert backends["default"] is mine

    def test_a_fork_that_python_did_not_see(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A C library forks without telling: the pid does."""
        mine = backends["default"]
        monkeypatch.setattr(backends, "_pid", -1)
        assert backends["default"] is not mine
        monkeypatch.setattr(backends, "_pid", -1)
        closed = Minimal.closed
        backends.reset()
        assert Minimal.closed == closed

    @pytest.mark.parametrize(
        "config, message",
        [
            (
                {"BACKEND": f"{HERE}.Minimal", "OPTIONS": {"timeuot": 1}},
                "OPTIONS has no option 'timeuot'.*'timeout'",
            ),
            ({"BACKEND": f"{HERE}.Stranger"}, "not derived from littlebro.storage.BaseBackend"),
            ({"BACKEND": f"{HERE}.Nothing"}, "BACKEND 'tests.test_storage.Nothing'"),
            ({"BACKEND": "smple"}, "'simple'"),
        ],
    )
    def test_a_wrong_setting_is_told(self, settings: Any, config: dict[str, Any], message: str) -> None:
        settings.LITTLEBRO = {"audit": config}
        backends.reset()
        with pytest.raises(ImproperlyConfigured, match=rf"^LITTLEBRO\['audit'\]: .*{message}"):
            backends["audit"]
        with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['adit'\]: .*'audit'"):
            backends["adit"]
