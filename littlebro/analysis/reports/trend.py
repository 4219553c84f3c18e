"""The trend: a measure over time, by hour, day, week or month.

**What is looked at.** The events that `query` and `person` match, in [start, end). The person of an event is its
user, else the first user that its anonymous id was ever seen with, else that id; an event with neither is one of
nobody: it counts as an event and in numbers, never as a person.

**Buckets** are those of `calendar`, all of them, from the one that holds start to the one that holds the last
moment before end; one without events has its value all the same. A bucket that the range cuts holds what is in the
range, and is `partial`; so is one that has not ended by `now`.

**Measures.** ``events``: how many. ``people``: how many different people. ``events_per_person``: the events that
are somebody's, through the people; None without people. ``sum``, ``average``, ``min``, ``max``, ``median``,
``p95``: of the JSON numbers at the path `value`, as 64-bit floating point (text, true, null and what is missing are
left out); median and p95 interpolate linearly between neighbours (PostgreSQL's ``percentile_cont``); None without
numbers, or where the result is beyond floating point. ``weekly_people`` and ``monthly_people``: the different
people of the 7 or 30 days that end with the bucket: from the same local time so many days before its (whole) end,
which may lie before start, to its end or the range's, whichever is earlier.

**Totals** are the measure over the whole range, not sums of buckets; of weekly and monthly people, the different
people of the range.

**Series.** Without `by` one, of kind all. With `by`: the `limit` values with the most events in the range (ties: by
value text, see below), then other, the events of all further values, then none, those where the value is missing,
null or ``""``; the latter two only where they have events in the range (or in the one it is compared with). Values
are told apart by type; numbers are one where they are equal (1 and 1.0). Value text is JSON (text in quotes,
non-ASCII as it is, whole numbers without a point); of the columns (name, user_id, …) it is the text itself; it is
compared by code points.

**Compare.** `comparison` has the same series over the range of `calendar.compared`, in its own buckets; the first
of them stands beside the first, and there may be more or fewer of them.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Final, Literal, cast

import msgspec

from littlebro.analysis.cache import answered
from littlebro.analysis.calendar import INTERVALS, Bucket, buckets, compared, cuts, edges, reach
from littlebro.analysis.grouping import (
    NUMERIC,
    Number,
    Question,
    Rows,
    by_crowds,
    index_sql,
    keys_sql,
    order,
    question,
    rows,
    series_sql,
    tidy,
    top_sql,
    top_values,
)
from littlebro.analysis.question import (
    Compare,
    Interval,
    Path,
    Person,
    Span,
    check_choice,
    microseconds,
    span_of,
    zone_of,
)
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports.heads import people_by_crowds, people_one_by_one
from littlebro.analysis.reports.rolling import ROLLING, Found, rolling
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Key, Result, Table
from littlebro.events.query import EventQuery

__all__ = ["MEASURES", "Measure", "Series", "Trend", "atrend", "trend"]

Measure = Number | Literal["events", "people", "events_per_person", "weekly_people", "monthly_people"]
MEASURES: Final = ("events", "people", "events_per_person", *NUMERIC, "weekly_people", "monthly_people")


class Series(msgspec.Struct, frozen=True):
    """One line of a trend: a value for each bucket, and the measure over the whole range."""

    key: Key
    values: list[int | float | None]
    total: int | float | None


class Trend(Result, frozen=True, kw_only=True):
    """A measure over time; `comparison` holds the same series, in the same order, of the other range."""

    start: datetime
    end: datetime
    tz: str
    interval: Interval
    measure: Measure
    by: Path | None
    buckets: list[Bucket]
    series: list[Series]
    comparison_buckets: list[Bucket] | None = None
    comparison: list[Series] | None = None

    def table(self) -> Table:
        """Return a row for each bucket: start in the trend's zone, series, those of the other range, partial."""
        zone = zone_of(self.tz)
        lines = [*self.series, *(self.comparison or ())]
        heads = [self.measure if line.key.kind == "all" else line.key.label for line in self.series]
        others = [f"before: {head}" for head in heads] if self.comparison is not None else []
        return Table(
            [self.interval, *heads, *others, "partial"],
            [
                [
                    bucket.start.astimezone(zone),
                    *(line.values[index] if index < len(line.values) else None for line in lines),
                    bucket.partial,
                ]
                for index, bucket in enumerate(self.buckets)
            ],
        )


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
    """Return a measure of the events that `query` matches over time; `query.start` and `query.end` are required.

    `value` is the path of the number for sum, average, min, max, median and p95; `by` the path whose values
    become series, up to `limit` of them (1 to 1,000); `compare` is ``"previous"``, ``"year"`` or None. `tz` is the
    calendar's zone (None: Django's current one), `now` the moment asked at (None: now). Raises `InvalidQuery`.
    The rules stand in the module's docstring.
    """
    span = span_of(query, tz, now)
    check_choice(interval, INTERVALS, "interval")
    asked = question(query, person, by, limit, measure, MEASURES, value)
    other = None if compare is None else compared(span, compare)
    start, end = reach(span, other, ROLLING.get(measure, timedelta(0)))
    with open_reader(
        alias, collections=query.collections or None, start=start, end=end, paths=(asked.by, asked.value),
        cuts=cuts(span, other), edges=edges(interval, span, other),
    ) as reader:  # fmt: skip
        return answered(
            reader,
            span,
            ("trend", asked, interval, compare),
            lambda: _answer(reader, asked, interval, span, compare, other),
        )


atrend = twin(trend)


def _answer(
    reader: Reader,
    asked: Question,
    interval: Interval,
    span: Span,
    compare: Compare | None,
    other: Span | None,
) -> Trend:
    if asked.measure not in {"people", "events_per_person"}:
        return _counted(reader, asked, interval, span, other, _measured)
    people, events = _people_and_events(reader, asked, interval, span, compare, other)
    people = msgspec.structs.replace(people, as_of=reader.as_of)
    if asked.measure == "people":
        return people
    return msgspec.structs.replace(
        people,
        measure="events_per_person",
        series=_ratios(events.series, people.series),
        comparison=None if other is None else _ratios(events.comparison or [], people.comparison or []),
    )


def _people_and_events(
    reader: Reader,
    asked: Question,
    interval: Interval,
    span: Span,
    compare: Compare | None,
    other: Span | None,
) -> tuple[Trend, Trend]:
    """Return the people, and the events of somebody; who asks for one often asks for the other."""
    alike = msgspec.structs.replace(asked, measure="people")
    if by_crowds(asked, reader, len(buckets(span.start, span.end, interval, span.zone, span.now))):
        together = ("people and events", alike, interval, compare)
        found = answered(reader, span, together, lambda: _by_crowds(reader, alike, interval, span, other))
        return found.measures
    alone = ("trend", alike, interval, compare)
    people = answered(reader, span, alone, lambda: _counted(reader, alike, interval, span, other, _measured))
    if asked.measure == "people":
        return people, people
    return people, _counted(reader, asked, interval, span, other, _measured)


class _Both(Result, frozen=True, kw_only=True):
    """Trends of people, and of the events of somebody."""

    measures: tuple[Trend, Trend]


def _by_crowds(reader: Reader, asked: Question, interval: Interval, span: Span, other: Span | None) -> _Both:
    """Count people as sets, which tell their events too."""
    known: list[Found] = []

    def measured(
        reader: Reader, asked: Question, span: Span, whole: list[Bucket], tops: list[str] | None
    ) -> Found:
        people, events = Found(tops), Found(tops)
        if whole:
            selected, index = rows(asked, reader, span.start, span.end), _index(reader, whole)
            people, events = people_by_crowds(reader, asked, selected, index, len(whole), tops)
        known.append(events)
        return people

    people = _counted(reader, asked, interval, span, other, measured)
    events = _counted(reader, asked, interval, span, other, lambda *_: known.pop(0))
    return _Both(as_of=reader.as_of, measures=(people, events))


def _ratios(events: list[Series], people: list[Series]) -> list[Series]:
    """Return events through people, series by series; None where there are no people."""
    return [
        Series(
            each.key,
            [_ratio(n, among) for n, among in zip(each.values, of.values, strict=True)],
            _ratio(each.total, of.total),
        )
        for each, of in zip(events, people, strict=True)
    ]


def _ratio(events: float | None, people: float | None) -> int | float | None:
    return tidy((events or 0) / people) if people else None


_Measured = Callable[[Reader, Question, Span, list[Bucket], "list[str] | None"], Found]


def _counted(
    reader: Reader,
    asked: Question,
    interval: Interval,
    span: Span,
    other: Span | None,
    measured: _Measured,
) -> Trend:
    """Return any measure but events per person, for which the events of somebody are counted."""
    whole = buckets(span.start, span.end, interval, span.zone, span.now)
    found = measured(reader, asked, span, whole, None)
    found_other, whole_other = None, None
    if other is not None:
        whole_other = buckets(other.start, other.end, interval, other.zone, other.now)
        found_other = measured(reader, asked, other, whole_other, found.tops)
    present = found.present | (found_other.present if found_other else set())
    series = order(asked, found.tops, present)
    return Trend(
        as_of=reader.as_of,
        start=span.start,
        end=span.end,
        tz=span.tz,
        interval=interval,
        measure=cast("Measure", asked.measure),
        by=asked.by,
        buckets=whole,
        series=_series(asked, series, found, len(whole)),
        comparison_buckets=whole_other,
        comparison=_series(asked, series, found_other, len(whole_other or ())) if found_other else None,
    )


def _series(asked: Question, series: list[tuple[int, Key]], found: Found, count: int) -> list[Series]:
    empty = None if asked.measure in NUMERIC else 0
    return [
        Series(
            key,
            [found.values[number].get(index, empty) for index in range(count)],
            found.totals.get(number, empty),
        )
        for number, key in series
    ]


def _measured(
    reader: Reader, asked: Question, span: Span, whole: list[Bucket], tops: list[str] | None
) -> Found:
    if not whole:
        return Found(tops)
    if asked.measure in ROLLING:
        return rolling(reader, asked, span, whole, tops)
    selected = rows(asked, reader, span.start, span.end)
    index = _index(reader, whole)
    if asked.measure in NUMERIC:
        return _numbers(reader, asked, selected, index, tops)
    if asked.measure == "people":
        return people_one_by_one(reader, asked, selected, index, len(whole), tops)
    return _events(reader, asked, selected, index, tops)


def _index(reader: Reader, whole: list[Bucket]) -> str:
    """Return the SQL of which bucket an event is in."""
    places = [microseconds(bucket.start) for bucket in whole] + [microseconds(whole[-1].end)]
    return index_sql(reader.moment(places), places)


def _events(reader: Reader, asked: Question, selected: Rows, index: str, tops: list[str] | None) -> Found:
    """Count events; for events per person only those of somebody (the top values are by all events)."""
    keys, given = keys_sql(asked, selected, tops)
    counted = "count(*)" if asked.measure == "events" else f"count({selected.who})"
    sql = (
        f"WITH r AS MATERIALIZED (SELECT {selected.raw} AS k, {index} AS b, count(*) AS n, {counted} AS m"
        f" {selected.source} GROUP BY ALL), {keys}"
        " SELECT s, b, sum(m), max(text) FROM r JOIN keys ON keys.k IS NOT DISTINCT FROM r.k GROUP BY s, b"
    )
    found = Found(tops)
    for series, bucket, count, text in reader.rows(sql, selected.values(sql, given)):
        found.saw(series, text)
        found.values[series][bucket] = count
        found.totals[series] = found.totals.get(series, 0) + count
    return found


def _numbers(reader: Reader, asked: Question, selected: Rows, index: str, tops: list[str] | None) -> Found:
    """Reckon with numbers; which values stand alone must be known before."""
    if tops is None:
        tops = top_values(reader, asked, selected)
    top, given = top_sql(tops)
    sql = (
        f"WITH {top}, r AS (SELECT {selected.raw} AS k, {index} AS b, {selected.number} AS x {selected.source}),"
        f" g AS (SELECT {selected.key} AS k, b, x FROM r),"
        f" h AS (SELECT {series_sql(asked, 'g.k')} AS s, b, x FROM g LEFT JOIN top ON top.k = g.k)"
        f" SELECT s, b, {NUMERIC[asked.measure or '']} FROM h GROUP BY GROUPING SETS ((s, b), (s))"
    )
    found = Found(tops)
    for series, bucket, number in reader.rows(sql, selected.values(sql, given)):
        found.saw(series, None)
        if bucket is None:
            found.totals[series] = tidy(number)
        else:
            found.values[series][bucket] = tidy(number)
    return found
