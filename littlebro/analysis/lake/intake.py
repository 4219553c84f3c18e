"""What a backend gives, on its way in: some events at a time, from its order of storing into a temporary table.

In: a backend and a position. Out: a `Chunk`, whose events are in the session's table `staged`. A backend that can copy
its rows out does so; any other is read event by event. The file in between is gone when the call is over.
"""

# ruff: noqa: S608 - names and numbers of our own

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.manifest import Lake, Manifest
from littlebro.analysis.lake.write import read_files
from littlebro.analysis.rows import DAY, from_csv, from_lines, line
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.storage.base import BaseBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OVERLAP", "Chunk", "drop_known", "holds_back", "stage", "stage_events"]

# Events that are read again by the next sync, in case one of them was overtaken by others.
OVERLAP: Final = 1_000
_BLOCK: Final = 1 << 20


class Chunk(msgspec.Struct, frozen=True):
    """Some events: how many, and the positions of the last `OVERLAP` of them, in order."""

    events: int
    positions: Sequence[str] = ()


def stage(session: Session, backend: BaseBackend, after: str | None, limit: int) -> Chunk:
    """Put up to `limit` events that were stored behind `after` into the table `staged`; fewer are the last."""
    with _file(session) as path:
        if backend.supports_copy_stored:
            positions, longest = _copied(backend, after, limit, path)
            session.rows(f"CREATE OR REPLACE TEMP TABLE staged AS {from_csv(str(path), longest)}")
            return Chunk(_count(session), positions)
        recent: deque[str] = deque(maxlen=OVERLAP)
        longest = _write(_events_of(backend, after, limit, recent), path)
        session.rows(f"CREATE OR REPLACE TEMP TABLE staged AS {from_lines(str(path), longest)}")
    return Chunk(_count(session), tuple(recent))


def stage_events(session: Session, events: Iterable[Event], table: str = "staged") -> int:
    """Put `events` into a temporary table; return how many they were."""
    with _file(session) as path:
        longest = _write(events, path)
        session.rows(f"CREATE OR REPLACE TEMP TABLE {table} AS {from_lines(str(path), longest)}")
    return _count(session, table)


def drop_known(
    session: Session, lake: Lake, manifest: Manifest, table: str, days: Collection[int] | None = None
) -> int:
    """Take out of a temporary table what the lake has already, of `days` or of all; return how much that was."""
    if days is not None and not days:
        return 0
    staged = {(row[0], row[1]) for row in session.rows(f"SELECT DISTINCT collection, {DAY} FROM {table}")}
    files = [
        file
        for file in manifest.files
        if (file.collection, file.day) in staged and (days is None or file.day in days)
    ]
    if not files:
        return 0
    known = f"SELECT collection, id FROM {read_files(lake, files)}"
    return int(session.rows(f"DELETE FROM {table} WHERE (collection, id) IN ({known})")[0][0])


def holds_back(backend: BaseBackend) -> bool:
    """Return whether the store has events and tells none in the order of storing: somebody's transaction is open."""
    return next(backend.scan_stored(), None) is None and next(backend.scan(EventQuery()), None) is not None


@contextmanager
def _file(session: Session) -> Iterator[Path]:
    path = session.instance.scratch.file(".rows")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _copied(backend: BaseBackend, after: str | None, limit: int, path: Path) -> tuple[Sequence[str], int]:
    longest = 0

    def write(block: bytes) -> None:
        nonlocal longest
        longest = max(longest, len(block))
        file.write(block)

    with path.open("wb", buffering=_BLOCK) as file:
        return backend.copy_stored(after, limit, OVERLAP, write), longest


def _events_of(backend: BaseBackend, after: str | None, limit: int, recent: deque[str]) -> Iterator[Event]:
    for position, event in islice(backend.scan_stored(after), limit):
        recent.append(position)
        yield event


def _write(events: Iterable[Event], path: Path) -> int:
    """Write a line an event; return the length of the longest."""
    longest = 0
    with path.open("wb", buffering=_BLOCK) as file:
        for event in events:
            longest = max(longest, file.write(line(event)))
    return longest


def _count(session: Session, table: str = "staged") -> int:
    """Return how many rows there are; one that has no id or time was no event."""
    n, wrong = session.rows(
        "SELECT count(*), count(*) FILTER (id IS NULL OR ts IS NULL OR collection IS NULL OR params IS NULL)"
        f" FROM {table}"
    )[0]
    if wrong:
        raise ValueError(f"{wrong} of {n} rows that the backend gave are no events.")
    return int(n)
