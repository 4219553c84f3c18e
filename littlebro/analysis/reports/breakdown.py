"""The breakdown: events and people by the value at a path."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Literal

import msgspec

from littlebro.analysis.question import Compare, Path, Person
from littlebro.analysis.result import Key, Result, Table
from littlebro.events.query import EventQuery

__all__ = ["Breakdown", "Row", "RowMeasure", "breakdown"]

RowMeasure = Literal["events_per_person", "sum", "average", "min", "max", "median", "p95"]


class Row(msgspec.Struct, frozen=True):
    """One value: how many events have it, how many people they are of, and the asked measure."""

    key: Key
    events: int
    people: int
    value: int | float | None = None
    previous_events: int | None = None
    previous_people: int | None = None
    previous_value: int | float | None = None


class Breakdown(Result, frozen=True, kw_only=True):
    """Values by events, the most first, then other, then none.

    The rows' events add up to `total_events`; their people need not add up to `total_people`, since one
    person may have several values.
    """

    start: datetime
    end: datetime
    tz: str
    by: Path
    measure: RowMeasure | None
    rows: list[Row]
    total_events: int
    total_people: int
    total_value: int | float | None = None
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    previous_total_events: int | None = None
    previous_total_people: int | None = None
    previous_total_value: int | float | None = None

    def table(self) -> Table:
        """Return a row for each value."""
        raise NotImplementedError


def breakdown(
    query: EventQuery,
    *,
    by: Path,
    limit: int = 20,
    measure: RowMeasure | None = None,
    value: Path | None = None,
    compare: Compare | None = None,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Breakdown:
    """Return events and people by the value at the path `by`."""
    raise NotImplementedError
