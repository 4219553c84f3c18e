"""How events are asked for: a query, its typed conditions, and the cursor that continues a page.

A query is a value: backends push down what they can, `matches` decides what is left, so that every backend
answers alike. A cursor carries its query and direction, so that a page can be continued by itself.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from littlebro.events.event import Event, Position
from littlebro.exceptions import InvalidQuery

__all__ = ["OPERATORS", "Condition", "EventQuery", "Page", "decode_cursor", "encode_cursor"]

_MISSING: Final = object()
OPERATORS: Final = ("eq", "ne", "in", "contains", "starts", "lt", "le", "gt", "ge", "set", "not_set")


class Condition(msgspec.Struct, frozen=True):
    """A typed condition on one path, for instance ``Condition(("params", "total"), "ge", 10)``.

    `path` starts with ``params`` or ``context``; each further part is one key (dots and ``$`` have no
    meaning in it), or, as a number in text, an index where the value there is an array. Types count: the text
    ``"1"`` is not the number 1, and True is no number. `op` is one of `OPERATORS`; ``contains`` and ``starts``
    look into text (``contains`` into arrays too), ``lt le gt ge`` compare numbers with numbers and text with
    text. ``set`` means present and not null. ``ne`` also holds where the path is missing.
    """

    path: tuple[str, ...]
    op: str
    value: Any = None

    def __post_init__(self) -> None:
        if len(self.path) < 2 or self.path[0] not in {"params", "context"}:
            raise InvalidQuery(
                f"A path starts with 'params' or 'context' and names a key, {self.path!r} does not."
            )
        if self.op not in OPERATORS:
            raise InvalidQuery(f"There is no operator {self.op!r}; there are {', '.join(OPERATORS)}.")
        if self.op == "in" and (isinstance(self.value, str) or not isinstance(self.value, Sequence)):
            raise InvalidQuery("The operator 'in' takes a list of values.")

    def matches(self, event: Event) -> bool:
        """Return whether `event` fulfils the condition."""
        found: Any = event.params if self.path[0] == "params" else event.context
        for part in self.path[1:]:
            found = _step(found, part)
        return _TESTS[self.op](found, self.value)


def _step(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, _MISSING)
    if (
        isinstance(value, list)
        and part.isascii()
        and part.isdigit()
        and len(part) < 10
        and int(part) < len(value)
    ):
        return value[int(part)]
    return _MISSING


def _kind(value: Any) -> type:
    """Return the JSON type of a value; whole and broken numbers are one type."""
    return float if type(value) is int else type(value)


def _equal(found: Any, value: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(found, Mapping):
        return found.keys() == value.keys() and all(_equal(found[key], value[key]) for key in found)
    if isinstance(value, list | tuple) and isinstance(found, list | tuple):
        return len(found) == len(value) and all(map(_equal, found, value))
    return _kind(found) is _kind(value) and bool(found == value)


def _ordered(found: Any, value: Any) -> bool:
    return _kind(found) is _kind(value) and _kind(found) in {float, str}


_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": _equal,
    "ne": lambda found, value: not _equal(found, value),
    "in": lambda found, value: any(_equal(found, item) for item in value),
    "contains": lambda found, value: (
        (isinstance(found, str) and isinstance(value, str) and value in found)
        or (isinstance(found, list) and any(_equal(item, value) for item in found))
    ),
    "starts": lambda found, value: (
        isinstance(found, str) and isinstance(value, str) and found.startswith(value)
    ),
    "lt": lambda found, value: _ordered(found, value) and found < value,
    "le": lambda found, value: _ordered(found, value) and found <= value,
    "gt": lambda found, value: _ordered(found, value) and found > value,
    "ge": lambda found, value: _ordered(found, value) and found >= value,
    "set": lambda found, _: found is not _MISSING and found is not None,
    "not_set": lambda found, _: found is _MISSING or found is None,
}


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events, and in which order; None and empty mean "all".

    `names` and `collections` are tuples of text; `start` and `end` are aware and bound the timestamp, `end`
    itself excluded; `where` is a tuple of `Condition`, all of which must hold. Order is (timestamp, id,
    collection), backwards with `newest_first`. Read through an alias, a query that names no collection sees
    the alias's own.
    """

    names: tuple[str, ...] | None = None
    collections: tuple[str, ...] | None = None
    start: datetime | None = None
    end: datetime | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    where: tuple[Condition, ...] = ()
    newest_first: bool = False

    def __post_init__(self) -> None:
        for label, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
                raise InvalidQuery(
                    f"{label} is a datetime with a time zone; django.utils.timezone.make_aware gives it one."
                )
        for label, group in (("names", self.names), ("collections", self.collections)):
            if group is not None and (
                not isinstance(group, tuple | list) or not all(isinstance(text, str) for text in group)
            ):
                raise InvalidQuery(f"{label} is a tuple of text, for one write ('…',), not {group!r:.80}.")
        for label, text in (("user_id", self.user_id), ("anonymous_id", self.anonymous_id)):
            if text is not None and not isinstance(text, str):
                raise InvalidQuery(f"{label} is text, not {type(text).__name__}: str(user.pk), for instance.")
        if not isinstance(self.where, tuple | list) or not all(
            isinstance(condition, Condition) for condition in self.where
        ):
            raise InvalidQuery("where is a tuple of Condition.")

    def matches(self, event: Event) -> bool:
        """Return whether `event` is one of those asked for."""
        return (
            (self.names is None or event.name in self.names)
            and (self.collections is None or event.collection in self.collections)
            and (self.start is None or event.timestamp >= self.start)
            and (self.end is None or event.timestamp < self.end)
            and (self.user_id is None or event.user_id == self.user_id)
            and (self.anonymous_id is None or event.anonymous_id == self.anonymous_id)
            and all(condition.matches(event) for condition in self.where)
        )

    def in_collections(self, *collections: str) -> EventQuery:
        """Return this query for other collections."""
        return msgspec.structs.replace(self, collections=collections)


class Page(msgspec.Struct, frozen=True):
    """Some events in order, and the cursor of those that follow, None where there are no more."""

    events: list[Event]
    next_cursor: str | None = None


class _Cursor(msgspec.Struct, array_like=True):
    query: EventQuery
    position: tuple[datetime, str, str]


_cursors: Final = msgspec.json.Decoder(_Cursor)


def encode_cursor(query: EventQuery, position: Position) -> str:
    """Return, as URL-safe text, the cursor of what follows `position` in the answer to `query`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(query, position))).rstrip(b"=").decode()


def decode_cursor(text: str) -> tuple[EventQuery, Position]:
    """Return the query and the position that a cursor holds; raises `InvalidQuery` for any other text."""
    refusal = "This is no cursor of ours; ask again without one, from the start."
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        cursor = _cursors.decode(raw)
    except (msgspec.MsgspecError, binascii.Error, UnicodeError, AttributeError, RecursionError) as error:
        raise InvalidQuery(refusal) from error
    if cursor.position[0].tzinfo is None:
        raise InvalidQuery(refusal)
    return cursor.query, cursor.position
