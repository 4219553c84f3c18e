"""People by number, so that a set of them is a few bits each, quick to make and to count.

In: a table of events with 64-bit keys (``who``). Out: the same with ``number``, and files that say whose number is
which. Users are 0, 1, …, anonymous ids -1, -2, …. A number belongs to a key for as long as there is the lake, in every
collection; that of a person who is gone is not given again.
"""

# ruff: noqa: S608 - names and numbers of our own

from __future__ import annotations

from typing import Final

import msgspec

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.manifest import Lake, Manifest, Numbered, People
from littlebro.analysis.lake.write import read_files, read_named, write_rows

__all__ = ["gather", "give", "number", "numbers_of"]

_MOST_FILES: Final = 8


def give(session: Session, table: str, known: str | None, numbered: Numbered) -> Numbered:
    """Add ``number`` to a temporary table of events; return how many users and anonymous ids have one now.

    `known` is SQL of a relation (who, number), of so many `numbered`; the new ones are left in the temporary table
    ``fresh``.
    """
    users, anonymous = numbered
    unknown = "" if known is None else f" AND who NOT IN (SELECT who FROM {known})"
    session.rows(
        "CREATE OR REPLACE TEMP TABLE fresh AS SELECT who, CAST(CASE WHEN nameless"
        f" THEN -{anonymous} - place ELSE {users} - 1 + place END AS INTEGER) AS number FROM (SELECT who, nameless,"
        " row_number() OVER (PARTITION BY nameless) AS place FROM"
        f" (SELECT DISTINCT who, user_id IS NULL AS nameless FROM {table} WHERE who IS NOT NULL{unknown}))"
    )
    numbers = "fresh" if known is None else f"(FROM fresh UNION ALL SELECT who, number FROM {known})"
    session.rows(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT e.*, n.number FROM {table} e LEFT JOIN {numbers} n USING (who)"
    )
    named, nameless = session.rows(
        "SELECT count(*) FILTER (number >= 0), count(*) FILTER (number < 0) FROM fresh"
    )[0]
    return users + named, anonymous + nameless


def number(session: Session, lake: Lake, manifest: Manifest, table: str) -> Manifest:
    """Add ``number`` to a temporary table of events; return the manifest with those who are new."""
    manifest = gather(session, lake, manifest)
    numbered = give(session, table, numbers_of(lake, manifest), manifest.numbered)
    if numbered == manifest.numbered:
        return manifest
    people = (*(manifest.people or ()), *_write(session, lake, "fresh"))
    return msgspec.structs.replace(manifest, people=people, numbered=numbered)


def gather(session: Session, lake: Lake, manifest: Manifest) -> Manifest:
    """Return the manifest with its people in few files; they are found in the events where that is to be done anew."""
    if manifest.people is None:
        found = f"(SELECT DISTINCT who, number FROM {read_files(lake, manifest.files)} WHERE who IS NOT NULL)"
        return msgspec.structs.replace(
            manifest, people=_write(session, lake, found) if manifest.files else ()
        )
    if len(manifest.people) <= _MOST_FILES:
        return manifest
    return msgspec.structs.replace(manifest, people=_write(session, lake, read_named(lake, manifest.people)))


def numbers_of(lake: Lake, manifest: Manifest) -> str | None:
    """Return SQL of a relation (who, number) of the people of a state; None where there are none."""
    if manifest.people is None:
        return f"(SELECT DISTINCT who, number FROM {read_files(lake, manifest.files)} WHERE who IS NOT NULL)"
    return read_named(lake, manifest.people) if manifest.people else None


def _write(session: Session, lake: Lake, source: str) -> tuple[People, ...]:
    path, rows = write_rows(session, lake, "people", f"FROM {source} ORDER BY who")
    return (People(path.name, rows, *lake.seal(path)),) if rows else ()
