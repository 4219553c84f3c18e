"""Values at paths, what counts as one value, and measures of numbers."""

import json
from collections.abc import Sequence
from typing import Any

from littlebro import Event

Path = tuple[str, ...]
Group = tuple[str, Any]
"""("value", value text), ("other", None), ("none", None) or ("all", None)."""

ALL: Group = ("all", None)
OTHER: Group = ("other", None)
NONE: Group = ("none", None)


def at(event: Event, path: Path) -> Any:
    """Return the value at `path`, None where there is none."""
    if len(path) == 1:
        return getattr(event, path[0])
    value: Any = getattr(event, path[0])
    for key in path[1:]:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def text(value: Any, path: Path) -> str:
    """Return the text of a value by which equal ones are one, and ties are decided."""
    if len(path) == 1:
        return str(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def group(event: Event, path: Path | None) -> Group:
    """Return which group an event is of, before any limit."""
    if path is None:
        return ALL
    value = at(event, path)
    return NONE if value is None or value == "" else ("value", text(value, path))


def ranked(events: Sequence[Event], path: Path | None, limit: int) -> list[Group]:
    """Return the groups that stand alone: by events, then by text."""
    if path is None:
        return [ALL]
    counts: dict[Group, int] = {}
    for event in events:
        found = group(event, path)
        if found != NONE:
            counts[found] = counts.get(found, 0) + 1
    return sorted(counts, key=lambda found: (-counts[found], found[1]))[:limit]


def limited(event: Event, path: Path | None, tops: Sequence[Group]) -> Group:
    """Return the group of an event where only `tops` stand alone."""
    found = group(event, path)
    return found if found in tops or found == NONE else OTHER


def numbers(events: Sequence[Event], path: Path) -> list[float]:
    """Return the JSON numbers at `path`, sorted."""
    found = [at(event, path) for event in events]
    return sorted(float(value) for value in found if type(value) in {int, float})


def measured(measure: str, found: list[float]) -> float | None:
    """Return sum, average, min, max, median or p95 of sorted numbers; None of none."""
    if not found:
        return None
    match measure:
        case "sum":
            return sum(found)
        case "average":
            return sum(found) / len(found)
        case "min":
            return found[0]
        case "max":
            return found[-1]
    place = (0.5 if measure == "median" else 0.95) * (len(found) - 1)
    below = int(place)
    above = min(below + 1, len(found) - 1)
    return found[below] * (1 - (place - below)) + found[above] * (place - below)
