"""The engine and what a report reads, on a store of few events: no lake is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from littlebro.analysis.engine import Session, engine
from littlebro.analysis.reader import open_reader
from littlebro.analysis.tail import Tail
from littlebro.events.event import Event
from littlebro.exceptions import AnalysisTimeout, InvalidQuery
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(number: int, name: str = "seen", **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": f"e{number:05}", "name": name, "timestamp": T0 + timedelta(seconds=number), "received_at": T0,
        "params": {}, "context": {}, **fields,
    }  # fmt: skip
    return Event(**given)


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> None:
    settings.LITTLEBRO = {
        "default": {"BACKEND": "memory"},
        "audit": {"BACKEND": "memory", "COLLECTION": "audit"},
    }


def test_relations() -> None:
    """A reader shows the events of its collections, links of all of them, and people behind links."""
    backends["default"].save_many(
        [
            event(1, anonymous_id="a", params={"n": 2**70, "f": 1.0, "t": "\u2028"}),
            event(2, anonymous_id="a", user_id="7"),
            event(3, anonymous_id="a", user_id="8", collection="other"),
            event(4),
        ]
    )
    with open_reader() as reader:
        assert reader.collections == ("littlebro",)
        rows = reader.rows("SELECT id, ts, received, params, user_id FROM events ORDER BY ts, id")
        assert rows[0] == (
            "e00001", int(T0.timestamp() * 1e6) + 1_000_000, int(T0.timestamp() * 1e6),
            '{"n":1180591620717411303424,"f":1.0,"t":"\u2028"}', None,
        )  # fmt: skip
        assert [row[0] for row in rows] == ["e00001", "e00002", "e00004"]
        assert reader.rows("SELECT anonymous_id, user_id FROM links") == [("a", "7")]
        assert reader.rows("SELECT count(DISTINCT person), count(person) FROM people") == [(1, 2)]
    with pytest.raises(InvalidQuery, match="collection"), open_reader(collections=("a'b",)):
        pass


def test_nothing_stored() -> None:
    """An empty store is empty relations."""
    with open_reader() as reader:
        assert reader.rows("SELECT count(*) FROM people") == [(0,)]
        assert reader.rows("SELECT * FROM links") == []


def test_a_reader_stands_still() -> None:
    """What is stored after it was opened, and seen by others meanwhile, is not in it, whenever it looks first."""
    backends["default"].save_many([event(1, anonymous_id="a")])
    with open_reader() as before:
        backends["default"].save_many([event(2, anonymous_id="a", user_id="7")])
        with open_reader() as after:
            assert after.rows("SELECT id FROM events ORDER BY id") == [("e00001",), ("e00002",)]
            assert len(after.rows("SELECT * FROM pairs")) == 1
        for relation, rows in {"events": 1, "people": 1, "numbers": 1, "links": 0, "pairs": 0}.items():
            assert len(before.rows(f"SELECT * FROM {relation}")) == rows, relation


@contextmanager
def late_after(part: str) -> Iterator[None]:
    """Let the question in this block run out of time right after a statement that has `part` in it."""
    real = Session.rows

    def late(self: Session, sql: str, *rest: Any) -> list[tuple[Any, ...]]:
        found = real(self, sql, *rest)
        if part in sql:
            raise AnalysisTimeout("late")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "rows", late)
        yield


@pytest.mark.parametrize("part", ["INSERT INTO", "tail_links", "tail_pairs"])
def test_events_that_were_taken_in_by_half(part: str) -> None:
    """A question that ends while the tail is refreshed leaves no event that the next one counts twice or lacks."""

    def seen() -> list[tuple[str]]:
        with open_reader() as reader:
            return reader.rows("SELECT id FROM events ORDER BY id")

    backends["default"].save_many([event(1, anonymous_id="a"), event(2, user_id="7")])
    assert seen() == [("e00001",), ("e00002",)]
    backends["default"].save_many([event(3, anonymous_id="a", user_id="8")])
    with late_after(part), pytest.raises(AnalysisTimeout, match="late"):
        seen()
    assert seen() == [("e00001",), ("e00002",), ("e00003",)]
    with open_reader() as reader:
        linked = "links l, pairs p JOIN numbers n ON n.number = p.person"
        assert reader.rows(f"SELECT l.user_id, n.who = l.person FROM {linked}") == [("8", True)]


def test_tables_made_by_half_are_let_go() -> None:
    """What a question left that ended too early goes when its tail goes, and takes no memory from then on."""
    backends["default"].save_many([event(1, anonymous_id="a", user_id="7")])
    with (
        late_after("CREATE OR REPLACE TABLE memory.main.tail_links"),
        pytest.raises(AnalysisTimeout, match="late"),
        open_reader(),
    ):
        pass
    with engine.session(10) as session:
        tail = session.instance.kept["tail", "default"]
        assert isinstance(tail, Tail)
        names = [table.rpartition(".")[2] for table in (tail.table, tail.links, tail.pairs)]
        there = "SELECT table_name FROM duckdb_tables() WHERE table_name IN ($a, $b, $c) ORDER BY table_name"
        given = dict(zip("abc", names, strict=True))
        assert session.rows(there, given) == [(names[0],), (names[1],)]
        tail.drop(session)
        assert session.rows(there, given) == []
