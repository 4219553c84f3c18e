"""What is wrong in a lake is replaced from the backend, a day at a time: files that are damaged, counts that differ.

In: a manifest. Out: a manifest that is right. The whole day is read again, of all collections, so that nothing need
be known of what was lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.intake import stage_events
from littlebro.analysis.lake.manifest import Lake, Manifest
from littlebro.analysis.lake.numbers import number
from littlebro.analysis.lake.write import write_table
from littlebro.events.query import EventQuery
from littlebro.storage.base import BaseBackend
from littlebro.storage.reading import iterate

__all__ = ["day_query", "mend", "verify_days"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH).days
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH).days


def day_query(first: int, last: int | None = None) -> EventQuery:
    """Return the query for the events of the UTC days `first` to `last`, both included, of all collections."""
    last = first if last is None else last
    return EventQuery(
        start=None if first <= _FIRST else _EPOCH + timedelta(days=first),
        end=None if last >= _LAST else _EPOCH + timedelta(days=last + 1),
    )


def mend(
    session: Session, lake: Lake, backend: BaseBackend, manifest: Manifest, damaged: set[str]
) -> tuple[Manifest, int]:
    """Return the manifest without the files that are `damaged`, with their days read again; and how many days."""
    lost = [file for file in manifest.files if file.name in damaged]
    manifest = manifest.with_files(remove=lost)
    if any(each.name in damaged for each in manifest.links or ()):
        manifest = msgspec.structs.replace(manifest, links=None)
    if any(each.name in damaged for each in manifest.people or ()):
        manifest = msgspec.structs.replace(manifest, people=None)
    days = {file.day for file in lost}
    return _read_again(session, lake, backend, manifest, days), len(days)


def verify_days(
    session: Session, lake: Lake, backend: BaseBackend, manifest: Manifest, *, deep: bool = False
) -> tuple[Manifest, int]:
    """Return the manifest with the days read again whose count is not the backend's; and how many they were.

    Without a count of the backend's own, only a `deep` look goes through its events.
    """
    if not (deep or backend.supports_count):
        return manifest, 0
    wrong = set(_differing(backend, manifest))
    return _read_again(session, lake, backend, manifest, wrong), len(wrong)


def _differing(backend: BaseBackend, manifest: Manifest) -> Iterator[int]:
    here: Counter[int] = Counter()
    for file in manifest.files:
        here[file.day] += file.rows
    if not backend.supports_count:
        there = Counter(_day(event.timestamp) for event in backend.scan(EventQuery()))
        yield from (day for day in here.keys() | there.keys() if here[day] != there[day])
        return
    days = sorted(here)
    for day in days:
        if backend.count(day_query(day)) != here[day]:
            yield day
    for first, last in _between(days):
        query = day_query(first, last)
        if backend.count(query):
            yield from {_day(event.timestamp) for event in iterate(backend, query)}


def _between(days: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of days that are not in `days`, first and last."""
    before = _FIRST - 1
    for day in [*days, _LAST + 1]:
        if day > before + 1:
            yield before + 1, day - 1
        before = day


def _day(moment: datetime) -> int:
    return (moment - _EPOCH).days


def _read_again(
    session: Session, lake: Lake, backend: BaseBackend, manifest: Manifest, days: set[int]
) -> Manifest:
    for day in sorted(days):
        stage_events(session, iterate(backend, day_query(day)))
        manifest = number(session, lake, manifest, "staged")
        files = write_table(session, lake, "staged")
        gone = [file for file in manifest.files if file.day == day]
        # What is there may not be told in the order of storing yet, and for as long as a writer's transaction is open.
        ahead = tuple(sorted({*manifest.ahead, day}))
        manifest = manifest.with_files(files, gone, ahead=ahead, links=None)
    return manifest
