"""The trend: a measure over time, by hour, day, week or month."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final, Literal

import msgspec

from littlebro.analysis.calendar import Bucket
from littlebro.analysis.question import Compare, Interval, Path, Person
from littlebro.analysis.result import Key, Result, Table
from littlebro.events.query import EventQuery

__all__ = ["MEASURES", "Measure", "Series", "Trend", "trend"]

Measure = Literal[
    "events",
    "people",
    "events_per_person",
    "sum",
    "average",
    "min",
    "max",
    "median",
    "p95",
    "weekly_people",
    "monthly_people",
]
MEASURES: Final = (
    "events",
    "people",
    "events_per_person",
    "sum",
    "average",
    "min",
    "max",
    "median",
    "p95",
    "weekly_people",
    "monthly_people",
)


class Series(msgspec.Struct, frozen=True):
    """One line of a trend: a value for each bucket, and the measure over the whole range."""

    key: Key
    values: list[int | float | None]
    total: int | float | None


class Trend(Result, frozen=True, kw_only=True):
    """A measure over time; `comparison` holds the same series, in the same order, of the other span."""

    start: datetime
    end: datetime
    tz: str
    interval: Interval
    measure: Measure
    buckets: list[Bucket]
    series: list[Series]
    comparison_buckets: list[Bucket] | None = None
    comparison: list[Series] | None = None

    def table(self) -> Table:
        """Return a row for each bucket."""
        raise NotImplementedError


def trend(
    query: EventQuery,
    *,
    interval: Interval = "day",
    measure: Measure = "events",
    value: Path | None = None,
    by: Path | None = None,
    limit: int = 10,
    compare: Compare | None = None,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Trend:
    """Return a measure over time."""
    raise NotImplementedError
