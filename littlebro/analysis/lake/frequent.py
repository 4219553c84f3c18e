"""Columns of their own for the keys that many events have: one is read in a fraction of the time of all parameters.

In: a relation of events, or files that were made of some. Out: which keys are in it and which deserve a column; SQL
that reads files with what stands at some keys. A key is text such as ``params/plan``, one step into a document; what
stands there is its JSON text, NULL where there is nothing.
"""

# ruff: noqa: S608 - names of our own; a key in SQL matches `_PLAIN`, which has no quote

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.manifest import File

__all__ = ["column", "expression", "is_plain", "keys_in", "standing"]

_DOCUMENTS: Final = ("params", "context")
# A pointer (RFC 6901) of one step in which nothing need be escaped, nor is a place in a list.
_PLAIN: Final = re.compile(r"(?:params|context)/[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_MOST_KEYS: Final = 100  # of a document; beyond, a file does not say what is not in it
_MOST_COLUMNS: Final = 12  # of a document
_SHARE: Final = 0.05  # of the events have the key
_SAMPLE: Final = 1_000  # events that are looked at to see what stands at a key
_LONGEST: Final = 64  # bytes, on the average
_SHORT: Final = 16  # bytes, on the average, for what hardly ever repeats


def is_plain(key: str) -> bool:
    """Return whether a key may have a column."""
    return _PLAIN.fullmatch(key) is not None


def column(key: str) -> str:
    """Return the column of a plain key."""
    return f'"{key}"'


def expression(key: str) -> str:
    """Return the SQL of what stands at a plain key, without its column."""
    document, _, name = key.partition("/")
    return f"CAST(json_extract({document}, '/{name}') AS VARCHAR)"


def keys_in(session: Session, source: str) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the plain keys in a relation of events, None where all are too many; and those that deserve a column."""
    rows = session.rows(f"SELECT count(*) FROM {source}")[0][0]
    known: list[str] | None = []
    likely: list[str] = []
    for document in _DOCUMENTS:
        found = session.rows(
            f"SELECT '{document}/' || key, sum(n) AS n FROM (SELECT unnest(keys) AS key, n FROM"
            f" (SELECT json_keys({document}) AS keys, count(*) AS n FROM {source} GROUP BY ALL))"
            f" GROUP BY key ORDER BY n DESC, key LIMIT {_MOST_KEYS + 1}"
        )
        plain = [(key, n) for key, n in found if is_plain(key)]
        known = None if known is None or len(found) > _MOST_KEYS else known + [key for key, _ in plain]
        likely += [key for key, n in plain[:_MOST_COLUMNS] if n >= _SHARE * rows]
    return None if known is None else tuple(known), _deserving(session, source, likely)


def _deserving(session: Session, source: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return those keys at which something short stands, that is not another thing with each event."""
    if not keys:
        return ()
    looks = ", ".join(f"[avg(strlen(k{n})), count(k{n}), count(DISTINCT k{n})]" for n in range(len(keys)))
    inner = ", ".join(f"{expression(key)} AS k{n}" for n, key in enumerate(keys))
    found = session.rows(
        f"SELECT {looks} FROM (SELECT {inner} FROM (SELECT params, context FROM {source}"
        f" USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1)))"
    )[0]
    deserving: dict[str, str] = {}  # the engine takes columns for one whose names differ in case alone
    for key, (length, present, different) in zip(keys, found, strict=True):
        if present and length <= _LONGEST and (length <= _SHORT or different <= present / 2):
            deserving.setdefault(key.lower(), key)
    return tuple(deserving.values())


def standing(file: File, key: str) -> str:
    """Return the SQL of what stands at a plain key in the rows of a file: its column, nothing, or what is looked up."""
    if key in file.own:
        return column(key)
    if file.keys is not None and key not in file.keys:
        return "CAST(NULL AS VARCHAR)"
    return expression(key)
