"""What people and attackers send: each kind of input is stored as documented, alike on every backend that reads."""

import datetime
import decimal
import enum
import pathlib
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest
from django.db import models
from django.http import QueryDict
from django.test import override_settings
from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from littlebro import Event, EventQuery, bind, tracker
from tests.exactly import NEPAL, exact

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["memory", "default", "postgresql", "mariadb", "mongodb"], ids=lambda place: place)
def database_alias(request: pytest.FixtureRequest) -> str:
    """Widen the suite's own fixture by the stores that are none of Django's databases."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _store(settings: Any, request: pytest.FixtureRequest, database_alias: str) -> None:
    """Let the default alias write to, and read from, the backend under test."""
    place: dict[str, Any] = {"BACKEND": "simple", "LOCATION": database_alias}
    if database_alias == "memory":
        place = {"BACKEND": "memory", "LOCATION": request.node.nodeid}
    if database_alias == "mongodb":
        place = {"BACKEND": "mongo", "LOCATION": request.getfixturevalue("mongodb_url")}
    settings.LITTLEBRO = {"default": place}


def stored(collection: str | None = None) -> list[Event]:
    query = EventQuery(collections=None if collection is None else (collection,))
    return tracker.events(query, 1000).events


def kept(value: Any) -> Any:
    """Return what is stored where a param is `value`."""
    assert tracker.track_event("kept", {"v": value}) is not None
    [event] = stored()
    return event.params["v"]


JSON = {
    "nothing": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "minus one": -1,
    "beyond a double": 2**53 + 1,
    "beyond a double, below zero": -(2**53) - 1,
    "largest integer": 2**63 - 1,
    "smallest integer": -(2**63),
    "a whole float": 1.0,
    "float zero": 0.0,
    "a tenth": 0.1,
    "third": 1 / 3,
    "1e16": 1e16,
    "1e22": 1e22,
    "1e23": 1e23,
    "-1e23": -1e23,
    "largest float": 1.7976931348623157e308,
    "smallest float": 5e-324,
    "2^63 as float": 9.223372036854775808e18,
    "empty text": "",
    "spaces": "  x  ",
    "lines": "a\r\nb\tc\x0b\x1f\x7f",
    "line separators": "a\u2028b\u2029c",
    "markup": "<script>alert('x')</script>&amp;\"",
    "formula": '=cmd|"/C calc"!A0',
    "right to left": "\u202egnp.exe",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1f3\U0001f1f5",
    "four bytes": "\U00020000\U0010ffff",
    "noncharacters": "\ufffe\uffff\ufdd0",
    "composed and not": "\u00e9e\u0301",
    "a BOM": "\ufeffx",
    "looks escaped": "\\u0000 \\ud800 \\n",
    "quotes": "' '' \" ` \\ %s %(a)s {0} ; --",
    "empty list": [],
    "empty object": {},
    "nested": {"a": [{"b": [[], {}, [None]]}]},
    "mixed list": [1, "1", 1.0, True, None, "true"],
    "order of a list": [3, 1, 2, 1],
}

KEYS: dict[str, dict[str, Any]] = {
    "an operator": {"$set": 1, "$where": {"$gt": ""}},
    "a path": {"a.b": 1, "a": {"b": 2}},
    "an id": {"_id": {"$oid": "x"}, "id": 1, "pk": 2},
    "a prototype": {"__proto__": {"admin": True}, "constructor": 1},
    "a type": {"__type__": "datetime", "__value__": "2020-01-01"},
    "an extended type": {"$date": "2020-01-01", "$numberLong": "1"},
    "empty": {"": 1, " ": 2},
    "cases": {"a": 1, "A": 2, "a ": 3, " a": 4},
    "a lookup": {"a__b": 1, "a__isnull": True},
    "a number": {"0": "zero", "-1": "x", "1e3": "y"},
    "quotes": {"'": 1, '"': 2, "`": 3, "\\": 4, "%s": 5, "{}": 6},
    "lines": {"a\nb": 1, "\u2028": 2, "\x1b[31m": 3},
    "long": {"k" * 256: 1},
    "emoji": {"\U0001f600": 1, "\u202ex": 2},
    "our own words": {"littlebro": "refused", "name": 1, "params": {}, "v": 99},
}


@pytest.mark.parametrize("label", JSON)
def test_json_comes_back_as_itself(label: str) -> None:
    """What JSON can hold is stored with its type: integers as integers, floats as the same doubles, text untouched."""
    assert exact(kept(JSON[label])) == exact(JSON[label])


@pytest.mark.parametrize("label", KEYS)
def test_keys_are_kept_and_mean_nothing(label: str) -> None:
    """A key is text: at any depth it is stored as it is, and is neither an operator nor a path."""
    tracker.track_event("kept", {**KEYS[label], "deeper": [KEYS[label]]})
    [event] = stored()
    assert exact(event.params) == exact({**KEYS[label], "deeper": [KEYS[label]]})


def test_minus_zero_is_zero() -> None:
    """The one float that is changed, alike everywhere since PostgreSQL cannot keep it: -0.0 is stored as 0.0."""
    assert exact(kept([-0.0, {"z": -0.0}])) == exact([0.0, {"z": 0.0}])


class Size(enum.Enum):
    SMALL = "s"
    NUMBER = 7
    PAIR = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    HELLO = "hello"


class Choice(models.TextChoices):
    FIRST = "1st", gettext_lazy("First")


@dataclass
class Point:
    x: int
    y: float
    label: Any = None


class Item(msgspec.Struct):
    sku: str
    price: decimal.Decimal
    tags: tuple[str, ...] = ()


class Model:
    """Looks like a pydantic model: it has these two names, and its dump is of Python's own types."""

    model_fields_set = frozenset({"at"})

    def model_dump(self) -> dict[str, Any]:
        return {"at": datetime.date(2026, 1, 2), "more": (1, 2)}


class Pair(NamedTuple):
    left: int
    right: str


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "what it pretends to be"


NOON = datetime.datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=datetime.UTC)

NAIVE = datetime.datetime(2026, 3, 29, 17, 45, 0, 7)

# By label: what is passed, and what is stored of it.
RULES: dict[str, tuple[Any, Any]] = {
    "Decimal": (decimal.Decimal("1.10"), "1.10"),
    "a large Decimal": (decimal.Decimal("1E+400"), "1E+400"),
    "UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "Enum": (Size.SMALL, "s"),
    "Enum of a number": (Size.NUMBER, "7"),
    "Enum of a pair": (Size.PAIR, "(1, 2)"),
    "IntEnum": (Level.HIGH, "3"),
    "StrEnum": (Word.HELLO, "hello"),
    "TextChoices": (Choice.FIRST, "1st"),
    "date": (datetime.date(2026, 1, 2), "2026-01-02"),
    "time": (datetime.time(1, 2, 3, 4), "01:02:03.000004"),
    "timedelta": (datetime.timedelta(days=1, seconds=2, microseconds=3), "P1DT00H00M02.000003S"),
    "negative timedelta": (datetime.timedelta(seconds=-2), "-P0DT00H00M02S"),
    "datetime": (NOON, "2026-03-29T12:00:00.123456Z"),
    "datetime elsewhere": (NOON.astimezone(NEPAL), "2026-03-29T12:00:00.123456Z"),
    "naive datetime": (NAIVE, "2026-03-29T12:00:00.000007Z"),
    "Path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "lazy translation": (gettext_lazy("First"), "First"),
    "lazy text": (lazystr("x"), "x"),
    "safe text": (SafeString("<b>"), "<b>"),
    "text that pretends": (Text("what it is"), "what it is"),
    "bool in disguise": (True, True),
    "tuple": ((1, (2,)), [1, [2]]),
    "namedtuple": (Pair(1, "x"), [1, "x"]),
    "OrderedDict": (OrderedDict(a=1), {"a": 1}),
    "QueryDict": (QueryDict("a=1&a=2&b="), {"a": "2", "b": ""}),
    "dataclass": (
        Point(1, 2.0, Point(3, 4.0)),
        {"x": 1, "y": 2.0, "label": {"x": 3, "y": 4.0, "label": None}},
    ),
    "Struct": (Item("x", decimal.Decimal("9.90"), ("a",)), {"sku": "x", "price": "9.90", "tags": ["a"]}),
    "pydantic model": (Model(), {"at": "2026-01-02", "more": [1, 2]}),
}


@pytest.mark.parametrize("label", RULES)
def test_other_types_by_one_rule_each(label: str) -> None:
    """What JSON does not know is stored by the documented rule of its type, at any depth."""
    given, expected = RULES[label]
    assert exact(kept([given, {"deep": given}])) == exact([expected, {"deep": expected}])


@pytest.mark.parametrize("label", ["dataclass", "Struct", "pydantic model", "OrderedDict", "QueryDict"])
def test_params_may_be_any_object(label: str) -> None:
    """Whatever becomes an object may be the params."""
    given, expected = RULES[label]
    tracker.track_event("kept", given)
    assert exact(stored()[0].params) == exact(expected)


def test_keys_of_other_text_types_become_plain_text() -> None:
    """A key that is a SafeString, an enum's text or a lookalike is stored as the text it is, however often."""
    for _ in range(2):
        tracker.track_event("kept", {SafeString("<b>"): 1, "deep": [{Word.HELLO: 2}], Text("what it is"): 3})
    for event in stored():
        assert exact(event.params) == exact({"<b>": 1, "deep": [{"hello": 2}], "what it is": 3})
    assert len(stored()) == 2


def test_no_params_are_an_empty_object() -> None:
    """None is {}."""
    tracker.track_event("kept", None)
    tracker.track_event("kept", {})
    tracker.track_event("kept")
    assert [event.params for event in stored()] == [{}, {}, {}]


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "n" * 200,
        "\U0001f600" * 200,
        "<script>",
        "=cmd()",
        "\u202ex",
        " padded ",
        "a.b$c",
        "caf\u00e9",
        "0",
    ],
)
def test_names_are_any_text(name: str) -> None:
    """A name is 1-200 characters of any text without control characters, and is kept as it is."""
    tracker.track_event(name)
    assert [event.name for event in stored()] == [name]
    assert [event.id for event in tracker.events(EventQuery(names=(name,))).events] == [stored()[0].id]


ALIKE = [
    "a",
    "A",
    "a ",
    " a",
    "\u00e1",
    "a\u0301",
    "\u00c1",
    "\uff41",
    "1",
    "01",
    "\u00df",
    "ss",
    "\U0001f600",
]


def test_ids_that_look_alike_are_different() -> None:
    """Case, space at the end, accents and widths distinguish ids, on every database; the same id is one event."""
    for event_id in [*ALIKE, "x" * 200, "\U0001f600" * 200, "a"]:
        tracker.track_event("kept", event_id=event_id)
    assert sorted(event.id for event in stored()) == sorted([*ALIKE, "x" * 200, "\U0001f600" * 200])


@pytest.mark.parametrize("field", ["user_id", "anonymous_id", "name"])
def test_queries_tell_what_looks_alike_apart(field: str) -> None:
    """A query for one person or name finds that one, and nobody who differs by case or a space at the end."""
    argument = {"user_id": "user"}.get(field, field)
    for text in ALIKE:
        call: dict[str, Any] = {"name": "kept", argument: text}
        tracker.track_event(**call)
    for text in ALIKE:
        query = EventQuery(**{"names": (text,)} if field == "name" else {field: text})
        assert [getattr(event, field) for event in tracker.events(query).events] == [text]


def test_collections_are_streams_of_their_own() -> None:
    """The same id in two collections is two events; a query that names none sees the alias's own."""
    names = ["littlebro", "Littlebro", "audit", "a" * 64, "0-_"]
    for name in names:
        tracker.track_event("kept", collection=name, event_id="1")
    assert [event.collection for event in stored()] == ["littlebro"]
    for name in names:
        assert [(event.collection, event.id) for event in stored(name)] == [(name, "1")]


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        NOON.astimezone(NEPAL),
        datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=datetime.UTC),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=datetime.UTC),
    ],
    ids=str,
)
def test_timestamps_keep_their_microseconds(
    request: pytest.FixtureRequest, moment: datetime.datetime
) -> None:
    """A timestamp is stored in UTC to the microsecond; the event's second time is that of its arrival."""
    before = datetime.datetime.now(datetime.UTC)
    returned = tracker.track_event("kept", timestamp=moment)
    [event] = stored()
    assert returned == event
    assert event.timestamp == moment
    assert event.timestamp.utcoffset() == datetime.timedelta(0)
    assert before <= event.received_at <= datetime.datetime.now(datetime.UTC)


def test_naive_timestamps_are_in_the_current_time_zone() -> None:
    """A naive datetime is read in Django's current time zone."""
    tracker.track_event("kept", timestamp=NAIVE)
    with override_settings(TIME_ZONE="America/New_York"):
        tracker.track_event("kept", timestamp=NAIVE)
    assert [event.timestamp.isoformat() for event in stored()] == [
        "2026-03-29T12:00:00.000007+00:00",
        "2026-03-29T21:45:00.000007+00:00",
    ]


def test_an_event_is_a_snapshot() -> None:
    """What the caller does to its params afterwards changes neither the event returned nor the one stored."""
    params: dict[str, Any] = {"list": [1], "deep": {"a": 1}}
    event = tracker.track_event("kept", params)
    params["list"].append(2)
    params["deep"]["a"] = params["new"] = 2
    assert event is not None
    assert event.params == stored()[0].params == {"list": [1], "deep": {"a": 1}}


def test_bound_values_are_kept_by_the_same_rules() -> None:
    """The ambient context is converted and stored exactly as params are."""
    values = {label.replace(" ", "_"): given for label, (given, _) in RULES.items()}
    with bind(**values, big=1e23, password="x"):
        tracker.track_event("kept")
    expected = {label.replace(" ", "_"): stored_as for label, (_, stored_as) in RULES.items()}
    assert exact(stored()[0].context) == exact({**expected, "big": 1e23, "password": "[redacted]"})
