"""Events and values that tell a good store from one that is nearly good; used by every contract.

Out: events with odd ids, values at the edges of their types, queries of every kind. Knows no backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from littlebro.events.event import Event, new_id
from littlebro.events.query import Condition, EventQuery

__all__ = [
    "LOOKALIKES",
    "MOMENTS",
    "NOON",
    "ODD_KEYS",
    "QUERIES",
    "VALUES",
    "chunks",
    "exact",
    "make_event",
    "mixed",
]

Item = TypeVar("Item")

NOON: Final = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def make_event(**fields: Any) -> Event:
    """Return an event named ``seen`` that happened at noon, but for what `fields` say."""
    given: dict[str, Any] = {
        "id": new_id(),
        "name": "seen",
        "timestamp": NOON,
        "received_at": NOON,
        "params": {},
        "context": {},
    }
    return Event(**(given | fields))


def exact(value: Any) -> str:
    """Return what tells 1 from 1.0 and True, and one double from its neighbour, whatever the order of keys."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {exact(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(exact, value)) + "]"
    return f"{type(value).__name__} {value!r}"


ODD_KEYS: Final = (
    "$set",
    "$where",
    "a.b",
    "a",
    "_id",
    "__proto__",
    "__type__",
    "",
    "a__b",
    "0",
    "'\"`",
    "%s",
    "ключ",
)

VALUES: Final[dict[str, Any]] = {
    "whole numbers": [0, -1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "broken numbers": [0.0, 1.0, 0.1, -0.1, 1e-7, 5e-324, 2.5, 1e15, 123456789012345678.0],
    "large broken numbers": [1e16, -1e16, 1e22, 1e23, 1.5e300, 1.7976931348623157e308, 9.223372036854775e18],
    "large ones deep inside": {"a": [{"b": 1e23}, {"c": {"d": [1e16]}}]},
    "text like an exponent": ["e16,", "1e16]", "a:1e23}", "e99"],
    "odd keys": {key: number for number, key in enumerate(ODD_KEYS)},
    "odd keys inside": {"__type__": "datetime", "__value__": "x", "$date": 1, "inner": {"$oid": {"_id": {"": None}}}},
    "words": [True, False, None],
    "text": ["", " ", "x ", "<script>alert(1)</script>", "=cmd()", "\u202eabc", "😀", "\u2028", "\\u0000",
             "'\"%s%%", "\x7f\t"],
    "arrays": [[], {}, [[[]]], {"a": {}}, [1, "1", 1.0, True, None]],
}  # fmt: skip

MOMENTS: Final = (
    NOON, NOON.replace(microsecond=0), NOON.replace(microsecond=1), NOON.replace(microsecond=999_999),
    datetime(1970, 1, 1, tzinfo=UTC), datetime(2300, 12, 31, 23, 59, 59, 7, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
)  # fmt: skip

LOOKALIKES: Final = ("a", "A", "a ", " a", "á", "a\u0301", "ａ", "1", "01", "ß", "ss", "%", "_", "x" * 200)

_IDS: Final = ("a", "B", "b", "a ", "ä", "z", "\ufb01", "😀", "Z", "_", "-", "0", "10", "9", "\uffee", "ß")


def mixed() -> list[Event]:
    """Return 48 events, shuffled: three moments, ids that sort differently by locale, three streams."""
    events = [
        make_event(
            id=event_id, collection=stream, timestamp=NOON + n % 3 * _SECOND, name="paid" if n % 4 else "seen",
            user_id=str(n % 5) if n % 2 else None, anonymous_id=f"v{n % 3}",
            params={"n": n + place * 16, "a.b": "x" if n % 2 else "y", "$gt": n % 3, "deep": {"a.b": [n]}},
        )
        for place, stream in enumerate(("one", "two", "three")) for n, event_id in enumerate(_IDS)
    ]  # fmt: skip
    # An order of its own, the same each time: neither that of time nor that of the alphabet.
    return [events[place * 29 % len(events)] for place in range(len(events))]


def _where(*path: str, op: str, value: Any = None) -> EventQuery:
    return EventQuery(where=(Condition(path, op, value),))


QUERIES: Final[Mapping[str, EventQuery]] = {
    "everything": EventQuery(),
    "one name": EventQuery(names=("paid",)),
    "two names": EventQuery(names=("paid", "seen")),
    "no name at all": EventQuery(names=()),
    "a name in another case": EventQuery(names=("PAID",)),
    "a name like a pattern": EventQuery(names=("%",)),
    "a stream": EventQuery(collections=("two",)),
    "no stream at all": EventQuery(collections=()),
    "a user": EventQuery(user_id="3"),
    "a user with a zero in front": EventQuery(user_id="03"),
    "a visitor": EventQuery(anonymous_id="v1"),
    "from a moment on": EventQuery(start=NOON + _SECOND),
    "before a moment": EventQuery(end=NOON + 2 * _SECOND),
    "one second": EventQuery(start=NOON + _SECOND, end=NOON + 2 * _SECOND, names=("paid",)),
    "a microsecond too late": EventQuery(start=NOON + 2 * _SECOND + timedelta(microseconds=1)),
    "a number": _where("params", "n", op="ge", value=20),
    "a key with a dot": _where("params", "a.b", op="eq", value="x"),
    "a key with a dollar": _where("params", "$gt", op="eq", value=1),
    "a key with a dot, inside": _where("params", "deep", "a.b", "0", op="lt", value=3),
    "a path that is not there": _where("params", "a", "b", op="eq", value="x"),
    "text that is no number": _where("params", "n", op="eq", value="1"),
    "several things": EventQuery(
        names=("paid",),
        collections=("one", "two"),
        user_id="1",
        where=(Condition(("params", "n"), "lt", 20),),
    ),
    "NUL in a name": EventQuery(names=("\0",)),
    "NUL in a user": EventQuery(user_id="a\0b"),
    "half a character": EventQuery(names=("\ud800", "paid")),
    "an injection": EventQuery(user_id="' OR '1'='1", anonymous_id='"; DROP TABLE x; --'),
}


def chunks(items: Iterable[Item], size: int) -> list[list[Item]]:
    """Return `items` in lists of `size`."""
    source = iter(items)
    return list(iter(lambda: list(islice(source, size)), []))
