"""What there is to ask about: whether there are events at all, since when, their names, keys and values.

In: an alias and its collections. Out: moments and lists for the forms, from the lake or the store itself. Lists are
proposals: they look at the newest part of many events, and are cut.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from littlebro.analysis.question import Path, moment_of
from littlebro.analysis.reader import open_reader
from littlebro.events.query import EventQuery
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate

__all__ = ["fields", "first_event", "forget_known", "has_events", "names", "values"]

MOST: Final = 200
_SAMPLE: Final = 20_000  # events whose keys and values are proposed

# Aliases in whose store there was an event: a store does not become empty again while somebody looks.
_filled: Final[set[str]] = set()

_NEWEST: Final = f"SELECT params, context FROM events ORDER BY ts DESC LIMIT {_SAMPLE}"  # noqa: S608 - a constant


def has_events(alias: str) -> bool:
    """Return whether the alias's store holds any event, in whatever collection."""
    if alias not in _filled and next(iter(iterate(backends[alias], EventQuery())), None) is not None:
        _filled.add(alias)
    return alias in _filled


def forget_known() -> None:
    """Forget which stores had events; for tests, whose stores do become empty."""
    _filled.clear()


def first_event(alias: str, collections: tuple[str, ...] | None = None) -> datetime | None:
    """Return when the first event happened."""
    with open_reader(alias, collections=collections) as reader:
        ((ts,),) = reader.rows("SELECT min(ts) FROM events")
    return None if ts is None else moment_of(ts)


def names(alias: str, collections: tuple[str, ...] | None = None) -> list[str]:
    """Return the names of events, the most frequent first."""
    sql = f"SELECT name FROM events GROUP BY name ORDER BY count(*) DESC, name LIMIT {MOST}"  # noqa: S608 - as above
    with open_reader(alias, collections=collections) as reader:
        return [name for (name,) in reader.rows(sql)]


def fields(alias: str, collections: tuple[str, ...] | None = None) -> list[Path]:
    """Return the keys of params and context in the newest events, the most frequent first of each."""
    found: list[Path] = []
    with open_reader(alias, collections=collections) as reader:
        for group in ("params", "context"):
            sql = (
                f"SELECT key FROM (SELECT unnest(json_keys({group})) AS key FROM ({_NEWEST}))"  # noqa: S608 - as above
                f" GROUP BY key ORDER BY count(*) DESC, key LIMIT {MOST}"
            )
            found += [(group, key) for (key,) in reader.rows(sql)]
    return found


def values(alias: str, path: Path, collections: tuple[str, ...] | None = None) -> list[Any]:
    """Return values at a path in params or context of the newest events, the most frequent first."""
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path[1:])
    sql = (
        f"SELECT value FROM (SELECT json_extract({path[0]}, $pointer)::VARCHAR AS value FROM ({_NEWEST}))"  # noqa: S608 - as above; the group was checked
        f" WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value LIMIT {MOST}"
    )
    with open_reader(alias, collections=collections) as reader:
        return [msgspec.json.decode(text) for (text,) in reader.rows(sql, {"pointer": pointer})]
