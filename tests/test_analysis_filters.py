"""Filters in SQL say exactly what `matches` says, over whatever events may hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from littlebro.analysis.filters import Parameters, key_of, key_sql, number_sql, step, where
from littlebro.analysis.question import Person, Step, microseconds
from littlebro.analysis.result import NONE, Key
from littlebro.events.event import Event
from littlebro.events.query import OPERATORS, Condition, EventQuery

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE raw (id VARCHAR, name VARCHAR, ts BIGINT, user_id VARCHAR, anonymous_id VARCHAR,"
        " params VARCHAR, context VARCHAR)"
    )
    connection.execute(
        "CREATE VIEW events AS SELECT *,"
        " md5_number_lower(coalesce('u' || user_id, 'a' || anonymous_id)) AS who FROM raw"
    )
    connection.execute(
        "CREATE VIEW links AS SELECT md5_number_lower('a' || anonymous_id) AS anon,"
        " md5_number_lower('u' || min(user_id)) AS person FROM raw"
        " WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL GROUP BY anonymous_id"
    )
    connection.execute(
        "CREATE VIEW people AS SELECT e.*, coalesce(l.person, e.who) AS person FROM events e"
        " LEFT JOIN links l ON e.user_id IS NULL AND l.anon = e.who"
    )
    yield connection
    connection.close()


def event(number: int = 0, **fields: Any) -> Event:
    given_fields: dict[str, Any] = {"name": "n", "timestamp": NOON, "params": {}, "context": {}} | fields
    return Event(id=str(number), received_at=NOON, **given_fields)


def store(connection: Any, events: list[Event]) -> None:
    connection.execute("DELETE FROM raw")
    for each in events:
        row = [each.id, each.name, microseconds(each.timestamp), each.user_id, each.anonymous_id]
        row += [_json(each.params), _json(each.context)]
        connection.execute("INSERT INTO raw VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if _huge(value) else msgspec.json.encode(value).decode()


def _huge(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_huge, value.values()))
    if isinstance(value, list):
        return any(map(_huge, value))
    return isinstance(value, int) and abs(value) >= 2**63


def found(connection: Any, sql: str, values: dict[str, Any], relation: str = "people") -> set[str]:
    rows = connection.execute(f"SELECT id, {sql} FROM {relation}", values).fetchall()
    assert all(type(holds) is bool for _, holds in rows), "neither true nor false"
    return {number for number, holds in rows if holds}


KEYS = st.sampled_from(
    ["a", "b", "0", "1", "01", "00", "-", "", "~", "~1", "~0", "/", "a/b", "a.b", "$", "$.a", "*", "#-1",
     '"', "\\", "é", "😀", "a~b", "²", "-1", "1e0", "9999999999"]
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -1.0, 2.0, 1e22, 1e300, 0.1, 5e-324, -0.5]),
    st.sampled_from([s * (2**p + d) for s in (1, -1) for p in (53, 62, 63, 64) for d in (-1, 0, 1)]),
    st.sampled_from([s * float(2**p) for s in (1, -1) for p in (53, 62, 63, 64)]),
    st.sampled_from([10**22, 10**22 + 1, 10**400, -(10**400), 2**127, 2**130]),
)
TEXTS = st.one_of(
    st.sampled_from(["", "1", "1.0", "true", "false", "null", "a", "ab", "b", "[1]",
         "{}", '"', "\\", "é", "\x1f", "\n", "NaN", "Infinity", "-", "\U0001f600", "\uffff"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
ASKED = st.one_of(
    VALUES,
    st.sampled_from([Decimal(1), (1, "a"), "\ud800", "a\udfffb", "a\0"]),
)  # fmt: skip


def paths_in(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = [(str(i), item) for i, item in enumerate(value)] + [(f"0{i}", x) for i, x in enumerate(value)]
    for key, item in items:
        found += paths_in(item, (*path, key))
    return found


def value_at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


@st.composite
def cases(draw: Any) -> tuple[list[dict[str, Any]], Condition]:
    """Documents, and a condition whose path and value mostly come out of one of them."""
    documents = draw(st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=4))
    known = [(path, value_at(doc, path)) for doc in documents for path in paths_in(doc)]
    op = draw(st.sampled_from(OPERATORS))
    path = draw(st.lists(KEYS, min_size=1, max_size=3).map(tuple))
    value = draw(ASKED)
    if known and draw(st.integers(0, 9)):
        path, value_there = draw(st.sampled_from(known))
        if draw(st.booleans()):
            value = draw(variants(value_there))
    if op == "in":
        value = [value, *draw(st.lists(ASKED, max_size=2))]
        if draw(st.integers(0, 9)) == 0:
            value = []
    return documents, Condition(("params", *path), op, value)


def variants(value: Any) -> st.SearchStrategy[Any]:
    """A value, or one near to it: of another type, with its keys in another order, one of its items."""
    near = [value, [value]]
    if isinstance(value, dict):
        near += [dict(reversed(value.items())), *value.values(), {**value, "b": 1}]
    elif isinstance(value, list):
        near += [tuple(value), *value, [*value, None]]
    elif isinstance(value, str):
        near += [value[:1], value[1:], value + "a"]
    elif isinstance(value, bool) or value is None:
        near += [int(bool(value)), str(value).lower()]
    else:
        near += [str(value), value + 1, -value, bool(value)]
        if abs(value) < 1e300:
            near += [float(value), int(value)]
    return st.sampled_from(near)


@settings(max_examples=400, deadline=None)
@given(cases())
@example(([{"a": [1, 2]}, {"a": {"01": 1}}], Condition(("params", "a", "01"), "eq", 2)))
@example(([{"a": {"0": 1}}, {"a": [1]}], Condition(("params", "a", "0"), "eq", 1)))
@example(([{"a": [None]}, {"a": None}, {}], Condition(("params", "a"), "contains", None)))
@example(([{"a": "1"}, {"a": 1}, {"a": True}], Condition(("params", "a"), "eq", "1")))
@example(([{"a": 2**53 + 1}, {"a": 2.0**53}], Condition(("params", "a"), "le", 2**53)))
@example(([{"a": 10**400}, {"a": 1e300}], Condition(("params", "a"), "lt", 10**400)))
@example(([{"a": "\ue000"}, {"a": "\ud7ff"}, {"a": ""}], Condition(("params", "a"), "gt", "\ud800")))
def test_a_condition_in_sql_is_matches(connection: Any, case: tuple[list[dict[str, Any]], Condition]) -> None:
    """Every operator over random nested values agrees with `Condition.matches`."""
    documents, condition = case
    events = [event(number, params=document) for number, document in enumerate(documents)]
    store(connection, events)
    for sql, values in (
        where(EventQuery(where=(condition,))),
        step(Step(where=(condition,)), table="people"),
    ):
        assert found(connection, sql, values) == {each.id for each in events if condition.matches(each)}


def test_leading_zeros_do_not_blow_up(connection: Any) -> None:
    """Each part of a path that may be a key or an index adds to the SQL, and does not multiply it."""
    sql, _ = where(EventQuery(where=(Condition(("params", *["01"] * 8), "eq", 1),)))
    assert len(sql) < 5_000
    documents: list[dict[str, Any]] = [
        {"01": [0, {"01": [0, 7]}]},
        {"01": [0, {"1": [0, 7]}]},
        {"01": [0, [0, [0, 7]]]},
    ]
    events = [event(number, params=document) for number, document in enumerate(documents)]
    store(connection, events)
    sql, values = where(EventQuery(where=(Condition(("params", "01", "01", "01", "01"), "eq", 7),)))
    assert found(connection, sql, values) == {events[0].id, events[2].id}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_query_in_sql_is_matches(connection: Any, data: st.DataObject) -> None:
    """Names, range, people and several conditions, the same path twice too, agree with `EventQuery.matches`."""
    ids = st.sampled_from([None, "1", "2", "U", "é"])
    times = st.integers(-2, 2).map(lambda n: NOON + timedelta(microseconds=n))
    names = st.sampled_from(["a", "A", "b", "a "])
    events = [
        event(number, name=data.draw(names), timestamp=data.draw(times), user_id=data.draw(ids),
              anonymous_id=data.draw(ids), params=data.draw(st.dictionaries(KEYS, NUMBERS, max_size=2)),
              context=data.draw(st.dictionaries(KEYS, TEXTS, max_size=2)))
        for number in range(4)
    ]  # fmt: skip
    conditions = st.builds(
        Condition,
        st.tuples(st.sampled_from(["params", "context"]), KEYS),
        st.sampled_from([op for op in OPERATORS if op != "in"]),
        st.one_of(NUMBERS, TEXTS),
    )
    query = EventQuery(
        names=data.draw(st.none() | st.lists(names, max_size=2).map(tuple)),
        collections=data.draw(st.sampled_from([None, (), ("littlebro",)])),
        start=data.draw(st.none() | times),
        end=data.draw(st.none() | times),
        user_id=data.draw(ids),
        anonymous_id=data.draw(ids),
        where=tuple(data.draw(st.lists(conditions, max_size=2))),
    )
    store(connection, events)
    sql, values = where(query, prefix="x")
    assert found(connection, sql, values, "events") == {each.id for each in events if query.matches(each)}


def test_a_person_is_found_by_who_they_are(connection: Any) -> None:
    """An anonymous person who logged in is the user, asked for by either id; their number is the engine's."""
    store(
        connection,
        [
            event(1, anonymous_id="x"),
            event(2, anonymous_id="x", user_id="42"),
            event(3, user_id="42"),
            event(4, anonymous_id="y"),
            event(5),
        ],
    )
    asked = EventQuery()
    for person, expected in (
        (Person("42"), {"1", "2", "3"}),
        (Person(anonymous_id="x"), {"1", "2", "3"}),
        (Person(anonymous_id="y"), {"4"}),
        (Person("y"), set()),
    ):
        sql, values = where(asked, person, table="people")
        assert found(connection, sql, values) == expected
        keys = connection.execute("SELECT md5_number_lower(?)", [person.key.replace(":", "", 1)]).fetchall()
        assert keys == [(person.who,)]


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5))
@example([1, 1.0, True, "1", 1e0])
@example([None, "", [], {}, "null"])
@example([1e22, 10**22, 2.0**60, 2**60, -0.0, 0])
@example([2**53, 2**53 + 1, 2.0**53])
def test_values_are_grouped_by_type_and_value(connection: Any, found_values: list[Any]) -> None:
    """Two values share a key where they are the same JSON value; numbers do by value, whatever they look like."""
    for path, column in ((("params", "a", "b"), "params"), (("context", "a", "b"), "context")):
        store(connection, [event(n, **{column: {"a": {"b": v}}}) for n, v in enumerate(found_values)])
        made = Parameters()
        sql = f"SELECT id, {key_sql(path, made)} FROM events"
        keys = dict(connection.execute(sql, made.values).fetchall())
        for number, value in enumerate(found_values):
            key = key_of(path, keys[str(number)])
            if value is None or value == "":
                assert key == NONE
            elif isinstance(value, int | float) and abs(value) >= 1e38:
                assert key.kind == "value"
            else:
                assert key == Key("value", value)
                assert type(key.value) is type(value) or {type(key.value), type(value)} == {int, float}
        kinds = [
            (type(v) if type(v) is not int else float, json.dumps(v, sort_keys=False)) for v in found_values
        ]
        for one, (kind, _) in enumerate(kinds):
            for two, (other, _) in enumerate(kinds):
                same = keys[str(one)] == keys[str(two)]
                a, b = found_values[one], found_values[two]
                if {kind, other} <= {float} and max(abs(a), abs(b)) < 1e38:
                    assert same is (a == b)
                elif isinstance(a, str | bool) and isinstance(b, str | bool):
                    assert same is (kind is other and a == b)


def test_numbers_are_numbers_only(connection: Any) -> None:
    """The number at a path is that of a JSON number; text, true, null, lists and what is missing give none."""
    values = ["7", True, None, [1], {"a": 1}, 7, 7.5, -0.0, 2**63, "Infinity"]
    store(connection, [event(n, params={"a": value}) for n, value in enumerate(values)] + [event(99)])
    made = Parameters()
    rows = connection.execute(
        f"SELECT {number_sql(('params', 'a'), made)} FROM events ORDER BY CAST(id AS INT)", made.values
    ).fetchall()
    assert [row[0] for row in rows] == [None, None, None, None, None, 7.0, 7.5, 0.0, 2.0**63, None, None]
