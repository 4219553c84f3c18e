"""How events are asked for: a query, its typed conditions, and the cursor that continues a page.

A query is a value: backends push down what they can, `matches` decides what is left, so that every backend
answers alike. A cursor carries its query and direction, so that a page can be continued by itself.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from littlebro.events.convert import NO_RULE, is_text, plain, refusal, to_utc
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

    `value` is what params may hold, and becomes what they keep of it: the text of a date, of an enum's member.
    """

    path: tuple[str, ...]
    op: str
    value: Any = None

    def __post_init__(self) -> None:
        force_setattr(self, "path", _texts(self.path, "A path"))
        if len(self.path) < 2 or self.path[0] not in {"params", "context"}:
            raise InvalidQuery(
                f"A path starts with 'params' or 'context' and names a key, {self.path!r} does not."
            )
        if self.op not in OPERATORS:
            raise InvalidQuery(f"There is no operator {self.op!r}; there are {', '.join(OPERATORS)}.")
        value = self.value
        if self.op == "in":
            if isinstance(value, str | bytes) or not isinstance(value, Sequence):
                raise InvalidQuery("The operator 'in' takes a list of values.")
            value = list(value)
        try:
            force_setattr(self, "value", _kept(value))
        except RecursionError as error:
            raise InvalidQuery("The value of a condition is nested too deep, or in a cycle.") from error

    def matches(self, event: Event) -> bool:
        """Return whether `event` fulfils the condition."""
        found: Any = event.params if self.path[0] == "params" else event.context
        for part in self.path[1:]:
            found = _step(found, part)
        return _TESTS[self.op](found, self.value)


def _texts(group: Any, label: str) -> tuple[str, ...]:
    """Return a tuple or list of text as a tuple of plain text."""
    if not isinstance(group, tuple | list) or not all(map(is_text, group)):
        raise InvalidQuery(f"{label} is a tuple of text, for one write ('…',), not {group!r:.80}.")
    return tuple(map(str.__str__, group))


def _kept(value: Any) -> Any:
    """Return `value` as an event keeps it (see `convert.plain`), since that is what it is compared with."""
    if value is None or isinstance(value, bool):
        return value
    try:
        kept = plain(value)
    except Exception as error:  # a caller's own `__str__`, a lazy object that cannot be loaded
        kind = type(value).__name__
        raise InvalidQuery(
            f"A condition's value, {kind}, could not be read: {type(error).__name__}."
        ) from error
    if kept is NO_RULE:
        raise InvalidQuery(f"A condition cannot have this value: {refusal(value)}.")
    if isinstance(kept, list):
        return [_kept(item) for item in kept]
    if isinstance(kept, dict):
        if not all(map(is_text, kept)):
            raise InvalidQuery("A condition's value has a key that is not text.")
        return {str.__str__(key): _kept(item) for key, item in kept.items()}
    if isinstance(kept, float) and not math.isfinite(kept):
        raise InvalidQuery(f"A condition cannot have this value: {kept} is not JSON, and no event holds it.")
    return kept


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
    if isinstance(value, list) and isinstance(found, list | tuple):
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
    """Which events, and in which order; None means all.

    `names` and `collections` are tuples of text, and match nothing where they are empty; `start` and `end` are
    aware and bound the timestamp, `end` itself excluded; `where` is a tuple of `Condition`, all of which must hold.
    Order is (timestamp, id, collection), backwards with `newest_first`. Read through an alias, a query that names
    no collection sees the alias's own.
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
        for label in ("start", "end"):
            moment = getattr(self, label)
            if moment is None:
                continue
            if not isinstance(moment, datetime) or moment.utcoffset() is None:
                raise InvalidQuery(
                    f"{label} is a datetime with a time zone; django.utils.timezone.make_aware gives it one."
                )
            with suppress(OverflowError):  # of no moment in UTC: compared as it is
                force_setattr(self, label, to_utc(moment))
        for label in ("names", "collections"):
            if (group := getattr(self, label)) is not None:
                force_setattr(self, label, _texts(group, label))
        for label in ("user_id", "anonymous_id"):
            if (text := getattr(self, label)) is None:
                continue
            if not is_text(text):
                raise InvalidQuery(f"{label} is text, not {type(text).__name__}: str(user.pk), for instance.")
            force_setattr(self, label, str.__str__(text))
        if not isinstance(self.where, tuple | list) or not all(
            isinstance(condition, Condition) for condition in self.where
        ):
            raise InvalidQuery("where is a tuple of Condition.")
        force_setattr(self, "where", tuple(self.where))

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
