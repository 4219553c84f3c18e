"""How events are asked for: typed conditions, half-open intervals, cursors that cannot be forged into harm."""

import base64
import enum
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from littlebro import Condition, Event, EventQuery, tracker
from littlebro.events.query import OPERATORS, decode_cursor, encode_cursor
from littlebro.exceptions import InvalidQuery
from tests.exactly import json_objects

NOON = datetime(2026, 3, 29, 12, 0, 0, 1, tzinfo=UTC)


def make(**fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": "1",
        "name": "seen",
        "timestamp": NOON,
        "received_at": NOON,
        "params": {},
        "context": {},
    }
    return Event(**(given | fields))


PARAMS: dict[str, Any] = {
    "int": 1, "float": 1.5, "whole": 2.0, "text": "caf\u00e9", "digit": "1", "yes": True, "no": False, "null": None,
    "list": [1, "two", {"three": 3}], "object": {"a": {"b": 1}}, "a.b": "dot", "$gt": "operator", "a__b": "lookup",
    "0": "zero", "": "empty",
}  # fmt: skip

# path below params, operator, value, whether it holds
CONDITIONS: list[tuple[tuple[str, ...], str, Any, bool]] = [
    (("int",), "eq", 1, True), (("int",), "eq", 1.0, True), (("int",), "eq", "1", False),
    (("int",), "eq", True, False), (("digit",), "eq", 1, False), (("digit",), "eq", "1", True),
    (("yes",), "eq", True, True), (("yes",), "eq", 1, False), (("no",), "eq", 0, False),
    (("no",), "eq", None, False), (("null",), "eq", None, True), (("gone",), "eq", None, False),
    (("whole",), "eq", 2, True), (("text",), "eq", "cafe\u0301", False),
    (("list",), "eq", [1, "two", {"three": 3.0}], True), (("list",), "eq", (1, "two", {"three": 3}), True),
    (("list",), "eq", [1, "two"], False), (("object",), "eq", {"a": {"b": 1}}, True),
    (("object",), "eq", {"a": {"b": True}}, False), (("object",), "eq", {"a": {}}, False),
    (("int",), "ne", 2, True), (("int",), "ne", 1, False), (("int",), "ne", "1", True),
    (("gone",), "ne", 1, True), (("object", "gone", "deeper"), "ne", 1, True), (("int",), "in", [3, 1.0], True),
    (("int",), "in", ("1", True), False), (("int",), "in", [], False), (("text",), "contains", "af", True),
    (("text",), "contains", "AF", False), (("text",), "contains", "", True),
    (("list",), "contains", "two", True), (("list",), "contains", {"three": 3}, True),
    (("list",), "contains", "1", False), (("int",), "contains", 1, False),
    (("object",), "contains", "a", False), (("text",), "contains", 1, False), (("text",), "starts", "ca", True),
    (("text",), "starts", "af", False), (("list",), "starts", "1", False), (("int",), "lt", 2, True),
    (("int",), "lt", 1, False), (("int",), "le", 1, True), (("float",), "gt", 1, True),
    (("float",), "ge", 1.5, True), (("int",), "gt", "0", False), (("digit",), "lt", 2, False),
    (("yes",), "ge", 0, False), (("int",), "gt", False, False), (("text",), "gt", "caf", True),
    (("null",), "lt", 1, False), (("gone",), "lt", 1, False), (("list",), "lt", [2], False),
    (("int",), "set", None, True), (("no",), "set", None, True), (("null",), "set", None, False),
    (("gone",), "set", None, False), (("null",), "not_set", None, True), (("gone",), "not_set", None, True),
    (("int",), "not_set", None, False), (("list", "0"), "eq", 1, True), (("list", "2", "three"), "eq", 3, True),
    (("list", "3"), "set", None, False), (("list", "-1"), "set", None, False),
    (("list", "9" * 5000), "set", None, False),
    (("list", "\u0661"), "set", None, False), (("list", "01"), "eq", "two", True),
    (("text", "0"), "set", None, False), (("object", "a", "b"), "eq", 1, True),
    (("object", "a.b"), "set", None, False), (("a.b",), "eq", "dot", True), (("a", "b"), "set", None, False),
    (("$gt",), "eq", "operator", True), (("a__b",), "eq", "lookup", True), (("0",), "eq", "zero", True),
    (("",), "eq", "empty", True),
]  # fmt: skip


@pytest.mark.parametrize("path, operator, value, holds", CONDITIONS, ids=str)
def test_conditions_count_types(path: tuple[str, ...], operator: str, value: Any, holds: bool) -> None:
    """A condition compares like with like, and goes through keys as they are written."""
    for root in ("params", "context"):
        assert Condition((root, *path), operator, value).matches(make(**{root: PARAMS})) is holds


def test_every_operator_is_tested() -> None:
    """The list above leaves no operator out."""
    assert {operator for _, operator, _, _ in CONDITIONS} == set(OPERATORS)


@given(params=json_objects, other=json_objects)
def test_equality_is_that_of_json(params: dict[str, Any], other: dict[str, Any]) -> None:
    """A value equals itself, and `ne` is always the opposite of `eq`."""
    event = make(params={"v": params})
    assert Condition(("params", "v"), "eq", params).matches(event)
    assert Condition(("params", "v"), "eq", other).matches(event) is not Condition(
        ("params", "v"), "ne", other
    ).matches(event)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "arguments",
    [
        ((), "eq"), (("params",), "eq"), (("name", "x"), "eq"), (("Params", "x"), "eq"), (("params", "x"), "like"),
        (("params", "x"), ""),
        (("params", "x"), "in", "text"), (("params", "x"), "in", 1), (("params", "x"), "in", None),
        (("params", "x"), "in", b"text"), (("params", "x", 0), "eq"), ("params", "eq"), (7, "eq"),
        (("params", "x"), "ne", {1}), (("params", "x"), "ne", b"x"), (("params", "x"), "ne", object),
        (("params", "x"), "ne", {1: "x"}), (("params", "x"), "ne", float("nan")), (("params", "x"), "lt", float("inf")),
        (("params", "x"), "in", [1, Decimal(1), [float("-inf")]]), (("params", "x"), "eq", CYCLE),
    ],
    ids=str,
)  # fmt: skip
def test_conditions_that_mean_nothing_are_refused(arguments: tuple[Any, ...]) -> None:
    """A path that leads nowhere, an unknown operator, and `in` without a list are errors at once."""
    with pytest.raises(InvalidQuery):
        Condition(*arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"start": NOON.replace(tzinfo=None)}, {"end": NOON.replace(tzinfo=None)}, {"names": "seen"},
        {"collections": "audit"}, {"names": ("seen", 7)}, {"collections": (None,)}, {"user_id": 7},
        {"anonymous_id": b"a"}, {"start": NOON.date()}, {"end": "2026-01-01T00:00:00Z"}, {"names": 7},
        {"where": Condition(("params", "x"), "set")}, {"where": (("params", "x"),)},
    ],
    ids=str,
)  # fmt: skip
def test_queries_that_mean_something_else_are_refused(fields: dict[str, Any]) -> None:
    """A naive moment, a text where a tuple belongs, a number where a text does: errors at once, naming the part."""
    with pytest.raises(InvalidQuery, match=next(iter(fields))):
        EventQuery(**fields)


def test_lazy_objects_are_no_text() -> None:
    """An object that only poses as text is refused, wherever text belongs."""
    lazy: Any = SimpleLazyObject(lambda: "x")
    for fields in ({"names": (lazy,)}, {"collections": [lazy]}, {"user_id": lazy}, {"anonymous_id": lazy}):
        with pytest.raises(InvalidQuery):
            EventQuery(**fields)
    for arguments in ((("params", lazy), "set"), (("params", "x"), "eq", lazy)):
        with pytest.raises(InvalidQuery):
            Condition(*arguments)


MATCHES: list[tuple[dict[str, Any], bool]] = [
    ({}, True), ({"names": ("seen", "x")}, True), ({"names": ("Seen",)}, False), ({"names": ()}, False),
    ({"collections": ("littlebro",)}, True), ({"collections": ("audit",)}, False),
    ({"start": NOON}, True), ({"start": NOON + timedelta(microseconds=1)}, False),
    ({"end": NOON}, False), ({"end": NOON + timedelta(microseconds=1)}, True),
    ({"user_id": "7"}, True), ({"user_id": "07"}, False), ({"anonymous_id": "a"}, True), ({"anonymous_id": "A"}, False),
    ({"where": (Condition(("params", "x"), "eq", 1), Condition(("context", "y"), "set"))}, True),
    ({"where": (Condition(("params", "x"), "eq", 1), Condition(("context", "z"), "set"))}, False),
]  # fmt: skip


@pytest.mark.parametrize("fields, holds", MATCHES, ids=str)
def test_all_parts_of_a_query_must_hold(fields: dict[str, Any], holds: bool) -> None:
    """Names, streams and people are exact; the interval excludes its end; conditions are joined."""
    event = make(user_id="7", anonymous_id="a", params={"x": 1}, context={"y": 2})
    assert EventQuery(**fields).matches(event) is holds


@pytest.fixture
def _store(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": request.node.nodeid}}


def ids(query: EventQuery | None, limit: int) -> list[str]:
    """Read all pages, giving the query once and then the cursors alone."""
    page = tracker.events(query, limit)
    found = [event.id for event in page.events]
    while page.next_cursor is not None:
        page = tracker.events(limit=limit, cursor=page.next_cursor)
        assert 1 <= len(page.events) <= limit
        found += [event.id for event in page.events]
    return found


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_add_up_to_the_answer(limit: int, newest_first: bool) -> None:
    """Whatever the limit and the direction, the pages together are the answer: none twice, none missing, in order."""
    for number in range(7):
        tracker.track_event("seen", event_id=str(number), timestamp=NOON + timedelta(seconds=number // 3))
        tracker.track_event("other", event_id=f"x{number}", timestamp=NOON)
    query = EventQuery(
        names=("seen",), newest_first=newest_first, where=(Condition(("params", "x"), "not_set"),)
    )
    expected = [str(number) for number in range(7)]
    assert ids(query, limit) == (expected[::-1] if newest_first else expected)


@pytest.mark.usefixtures("_store")
def test_a_cursor_goes_on_past_what_came_since() -> None:
    """Events before the cursor that arrive between two pages do not shift it."""
    for number in (2, 4, 6):
        tracker.track_event("seen", event_id=str(number), timestamp=NOON + timedelta(seconds=number))
    page = tracker.events(limit=2)
    for number in (1, 3, 5):
        tracker.track_event("seen", event_id=str(number), timestamp=NOON + timedelta(seconds=number))
    assert [event.id for event in tracker.events(cursor=page.next_cursor).events] == ["5", "6"]


@pytest.mark.usefixtures("_store")
def test_cursor_and_query_must_agree() -> None:
    """A cursor carries its query: giving both is fine where they are one, and an error where they are not."""
    query = EventQuery(names=("seen",))
    for _ in range(3):
        tracker.track_event("seen")
    cursor = tracker.events(query, 2).next_cursor
    assert len(tracker.events(query, 2, cursor).events) == len(tracker.events(None, 2, cursor).events) == 1
    with pytest.raises(InvalidQuery, match="another query"):
        tracker.events(EventQuery(names=("other",)), 2, cursor)


class Plan(enum.StrEnum):
    PRO = "pro"


class Level(enum.IntEnum):
    ONE = 1


KEPT = [
    Plan.PRO, mark_safe("pro"), gettext_lazy("pro"), date(2026, 1, 2), NOON, UUID(int=7), Decimal("1.50"),
    Level.ONE, timedelta(days=1), (1, Plan.PRO), {Plan.PRO: [NOON]},
]  # fmt: skip


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("value", KEPT, ids=lambda value: type(value).__name__)
def test_a_condition_takes_what_params_take(value: Any) -> None:
    """A value is compared as params keep it, on the first page and on those that its cursor asks for."""
    for _ in range(3):
        tracker.track_event("seen", {"v": value, "plain": 1})
    for operator, asked in (("eq", value), ("in", [value])):
        assert len(ids(EventQuery(where=(Condition(("params", "v"), operator, asked),)), 1)) == 3
    assert ids(EventQuery(where=(Condition(("params", "v"), "ne", value),)), 1) == []
    assert len(ids(EventQuery(where=(Condition(("params", "plain"), "ne", value),)), 1)) == 3


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize(
    "fields",
    [
        {"names": ["seen"]}, {"names": (mark_safe("seen"),)}, {"collections": ["littlebro"]},
        {"user_id": mark_safe("7")},
        {"where": [Condition(("params", "n"), "ge", 0)]}, {"where": (Condition(["params", "n"], "ge", 0),)},  # type: ignore[arg-type]  # what callers do
        {"where": (Condition(("params", "n"), "in", (0, 1)),)}, {"where": (Condition(("params", "l"), "eq", (1, 2)),)},
        {"start": datetime(1850, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))},
        {"end": datetime(2050, 1, 1, tzinfo=ZoneInfo("Asia/Kathmandu"))},
    ],
    ids=str,
)  # fmt: skip
def test_a_query_knows_its_own_cursor(fields: dict[str, Any]) -> None:
    """Lists for tuples, subclasses of text, zones of any offset: the cursor of a query belongs to it."""
    for number in range(2):
        tracker.track_event("seen", {"n": number, "l": [1, 2]}, user=7)
    query = EventQuery(**fields)
    cursor = tracker.events(query, 1).next_cursor
    assert [event.params["n"] for event in tracker.events(query, 1, cursor).events] == [1]


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("limit", [0, -1, 10_001, True, 1.0, "10", None], ids=str)
def test_bad_limits_are_refused(limit: Any) -> None:
    """A limit is a whole number from 1 to 10,000."""
    with pytest.raises(InvalidQuery, match="limit"):
        tracker.events(limit=limit)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()


GOOD = encode_cursor(EventQuery(), (NOON, "1", "littlebro"))
HOSTILE: dict[str, Any] = {
    "empty": "",
    "not base64": "!!!",
    "not ASCII": "caf\u00e9",
    "half a pair": "\ud800",
    "a NUL": "\0",
    "one letter": "A",
    "no JSON": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "null": encoded(None),
    "an object": encoded({"query": {}}),
    "no position": encoded([{}]),
    "a short position": encoded([{}, ["2026-01-01T00:00:00Z", "1"]]),
    "a number as id": encoded([{}, ["2026-01-01T00:00:00Z", 1, "littlebro"]]),
    "a moment that is none": encoded([{}, ["2026-13-01T00:00:00Z", "1", "littlebro"]]),
    "a naive moment": encoded([{}, ["2026-01-01T00:00:00", "1", "littlebro"]]),
    "a naive start": encoded([{"start": "2026-01-01T00:00:00"}, ["2026-01-01T00:00:00Z", "1", "littlebro"]]),
    "an unknown operator": encoded(
        [{"where": [{"path": ["params", "x"], "op": "$where"}]}, ["2026-01-01T00:00:00Z", "1", "littlebro"]]
    ),
    "a path to elsewhere": encoded(
        [{"where": [{"path": ["__class__", "x"], "op": "eq"}]}, ["2026-01-01T00:00:00Z", "1", "littlebro"]]
    ),
    "in without a list": encoded(
        [{"where": [{"path": ["params", "x"], "op": "in"}]}, ["2026-01-01T00:00:00Z", "1", "littlebro"]]
    ),
    "too deep": base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    "a value too deep": base64.urlsafe_b64encode(
        b'[{"where":[{"path":["params","x"],"op":"eq","value":' + b"[" * 100_000
    ).decode(),
    "cut": GOOD[:-3],
    "with a tail": GOOD + "AAAA",
    "bytes": GOOD.encode(),
    "a number": 7,
    "a list": [GOOD],
}


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_cursors_are_refused(label: str) -> None:
    """A text that is no cursor of ours is an InvalidQuery, quickly, whatever it tries; nothing else comes out."""
    with pytest.raises(InvalidQuery):
        tracker.events(cursor=HOSTILE[label])


@pytest.mark.usefixtures("_store")
@given(
    text=st.text(max_size=50) | st.binary(max_size=50).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
)
def test_no_text_is_a_surprise(text: str) -> None:
    """Any text at all is a cursor or an InvalidQuery."""
    with pytest.raises(InvalidQuery):
        decode_cursor(text)


def test_a_cursor_holds_query_and_position() -> None:
    """What goes into a cursor comes out of it, and the text is fit for a URL as it is."""
    query = EventQuery(
        names=("a", "\U0001f600"), collections=("x",), start=NOON, end=NOON, user_id="7", anonymous_id="b",
        where=(Condition(("params", "a.b", "0"), "in", [1, 1.0, "x", None, True]),), newest_first=True,
    )  # fmt: skip
    position = (NOON, "id/?&=\u2028", "x")
    cursor = encode_cursor(query, position)
    assert decode_cursor(cursor) == (query, position)
    assert cursor.replace("-", "").replace("_", "").isalnum()
