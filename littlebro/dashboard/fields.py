"""Paths and conditions as text: how a URL, a form and a person write them.

In: text that somebody typed or clicked. Out: the path tuples and `Condition` that the reports take, and back.
``params.plan`` is the common form; a key with dots or slashes takes the RFC 6901 form ``/params/a.b``. A value
typed by hand has no type: ``42`` may be the number or the text, so that both are asked for; ``"42"`` is text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from littlebro.events.query import OPERATORS, Condition
from littlebro.exceptions import InvalidQuery

__all__ = [
    "COLUMNS",
    "SIGNS",
    "condition_text",
    "condition_words",
    "conditions_of",
    "parse_condition",
    "parse_path",
    "path_text",
    "typed",
    "value_text",
]

Path = tuple[str, ...]

COLUMNS: Final = {
    "name": "Event",
    "user_id": "User",
    "anonymous_id": "Anonymous id",
    "collection": "Collection",
}
SIGNS: Final = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "contains": "contains",
    "starts": "starts with",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "set": "is set",
    "not_set": "is not set",
}
_NEEDLESS: Final = frozenset({"set", "not_set"})
_LONGEST: Final = 2_000  # characters of a path in a URL


def parse_path(text: str) -> Path:
    """Return the path that `text` names; raises `InvalidQuery`, in words for the page, where it names none."""
    text = text.strip()
    if text in COLUMNS:
        return (text,)
    if len(text) > _LONGEST:
        raise InvalidQuery("This field's name is too long.")
    if text.startswith("/"):
        parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
    else:
        parts = tuple(text.split("."))
    if len(parts) < 2 or parts[0] not in {"params", "context"}:
        raise InvalidQuery(
            f"There is no field {text[:100]!r}: write params.KEY, context.KEY, or one of {', '.join(COLUMNS)}."
        )
    return parts


def path_text(path: Sequence[str]) -> str:
    """Return the shortest text that `parse_path` reads as `path`."""
    if len(path) == 1:
        return path[0]
    dotted = ".".join(path)
    if all(part and "." not in part for part in path) and dotted == dotted.strip():
        return dotted
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def typed(text: str) -> list[Any]:
    """Return what a value typed by hand may mean: the text itself, and the number or truth it reads as."""
    stripped = text.strip()
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return [text]
    if isinstance(value, str):  # in quotes: text and nothing else
        return [value]
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return [value, text]
    return [text]


def conditions_of(path: Path, operator: str, text: str) -> list[Condition]:
    """Return the conditions, all of which must hold, for one row of a form."""
    if operator not in OPERATORS:
        raise InvalidQuery(f"There is no operator {operator[:40]!r}; there are {', '.join(OPERATORS)}.")
    if len(path) == 1:
        raise InvalidQuery(
            f"{COLUMNS[path[0]]} has a filter of its own; conditions are on params and context."
        )
    if operator in _NEEDLESS:
        return [Condition(path, operator)]
    if operator == "in":
        values = [value for part in text.split(",") for value in typed(part.strip())]
        return [Condition(path, "in", values)]
    meant = typed(text)
    if operator == "eq":
        return [Condition(path, "eq", meant[0]) if len(meant) == 1 else Condition(path, "in", meant)]
    if operator == "ne":
        return [Condition(path, "ne", value) for value in meant]
    if operator in {"lt", "le", "gt", "ge"}:
        return [Condition(path, operator, meant[0])]
    return [Condition(path, operator, meant[-1])]


def parse_condition(text: str) -> Condition:
    """Return the condition that a URL holds: JSON of operator, path and value."""
    try:
        parts = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidQuery("A filter in the address is damaged.") from error
    if not isinstance(parts, list) or len(parts) not in {2, 3} or not isinstance(parts[1], list):
        raise InvalidQuery("A filter in the address is damaged.")
    operator, path = parts[0], parts[1]
    if not isinstance(operator, str) or not all(isinstance(part, str) for part in path):
        raise InvalidQuery("A filter in the address is damaged.")
    return Condition(tuple(path), operator, parts[2] if len(parts) == 3 else None)


def condition_text(condition: Condition) -> str:
    """Return the text that `parse_condition` reads as `condition`."""
    parts: list[Any] = [condition.op, list(condition.path)]
    if condition.op not in _NEEDLESS:
        parts.append(condition.value)
    return msgspec.json.encode(parts).decode()


def value_text(value: Any) -> str:
    """Return a value as a person reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(dict.fromkeys(value_text(item) for item in value))
    return msgspec.json.encode(value).decode()


def condition_words(condition: Condition) -> str:
    """Return a condition as a person reads it."""
    words = f"{path_text(condition.path)} {SIGNS[condition.op]}"
    return words if condition.op in _NEEDLESS else f"{words} {value_text(condition.value)[:80]}"
