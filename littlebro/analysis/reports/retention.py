"""Retention: of the people who began, how many come back, period by period of the calendar.

**What is looked at.** The events of people (those with a user or an anonymous id) that `query` and `person` match,
its range aside; none later than `now`. A starting event is one that satisfies `start`, a return one that satisfies
`back`; both may be the same `Step`.

**Cohorts.** One for each day, week (from Monday) or month of `tz` that overlaps the range, empty ones too. With
`first_time`, a person is in one cohort: that of the person's earliest starting event in the whole lifetime, if it lies
in [start, end). Without (recurring), a person is in each cohort in whose period there is a starting event that
lies in [start, end). A cohort that the range cuts is `partial`: who began in the part outside is missing.

**Cells.** Cell n (0 to ``periods - 1``) tells of the cohort's n-th period after its own. Cell 0 is the cohort itself:
its size. Cell n counts, of the cohort, the people with a return in that period, or, with `on_or_after`, in that or
any later period up to `now`. The range does not bound returns. Periods are the calendar's, not spans of 24 hours:
23:59 to 00:01 is day 1.

**Running.** A cell is `running` while its period is not over (its end is later than `now`): the number may still
grow. Where nobody is counted in a running cell, or its period has not begun, `people` is None, never 0.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal

import msgspec

from littlebro.analysis import calendar, filters
from littlebro.analysis.crowds import Crowd, crowds, most_cells
from littlebro.analysis.grouping import BITS, bits_sql, counts_sql, followed, index_sql
from littlebro.analysis.question import (
    Person,
    Span,
    Step,
    check_choice,
    check_limit,
    microseconds,
    span_of,
    zone_of,
)
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Result, Table
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = ["PERIODS", "Cell", "Cohort", "Period", "Retention", "aretention", "retention"]

Period = Literal["day", "week", "month"]
PERIODS: Final = ("day", "week", "month")
_MOST: Final = 366
# No day, week or month is longer, nor two of them together where a zone skips a day.
_LONGEST: Final = {"day": timedelta(days=2), "week": timedelta(days=9), "month": timedelta(days=33)}


class Cell(msgspec.Struct, frozen=True):
    """How many people of a cohort came back in one period; see the module."""

    people: int | None
    running: bool


class Cohort(msgspec.Struct, frozen=True):
    """The people who began in one period; `start` and `end` are the period's, in UTC."""

    start: datetime
    end: datetime
    size: int
    cells: list[Cell]
    partial: bool


class Retention(Result, frozen=True, kw_only=True):
    """Cohorts in order of time, each with as many cells."""

    start: datetime
    end: datetime
    tz: str
    period: Period
    first_time: bool
    on_or_after: bool
    cohorts: list[Cohort]

    def table(self) -> Table:
        """Return a row for each cohort: its start in the report's zone, its size, and the people of each cell."""
        periods = len(self.cohorts[0].cells)
        zone = zone_of(self.tz)
        return Table(
            [self.period, "size", *(f"{self.period} {n}" for n in range(periods))],
            [
                [cohort.start.astimezone(zone), cohort.size, *(cell.people for cell in cohort.cells)]
                for cohort in self.cohorts
            ],
        )


def retention(
    query: EventQuery,
    start: Step,
    back: Step,
    *,
    period: Period = "day",
    periods: int = 8,
    first_time: bool = True,
    on_or_after: bool = False,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Retention:
    """Return how many of those who did `start` did `back` in the periods after; the rules stand at the module's head.

    `query` bounds the starting events by its range; its other conditions hold for every event. Raises `InvalidQuery`
    for what makes no sense.
    """
    span = span_of(query, tz, now)
    check_choice(period, PERIODS, "period")
    check_limit(periods, "periods", _MOST)
    if not isinstance(start, Step) or not isinstance(back, Step):
        raise InvalidQuery("start and back are each a Step.")
    bounds, cohorts = _bounds(span, period, periods)
    cuts = [*calendar.cuts(span), _after(span)]
    edges = [microseconds(bound) for bound in bounds]
    with open_reader(alias, collections=query.collections, cuts=cuts, edges=edges) as reader:
        sizes: Mapping[int, int]
        counts: Mapping[int, list[int]]
        if person is None and 2 * len(bounds) <= most_cells(reader):
            sizes, counts = _by_crowds(
                reader,
                query,
                (start, back),
                span,
                bounds,
                periods,
                first_time=first_time,
                on_or_after=on_or_after,
            )
        else:
            sizes = _begin(reader, query, start, span, bounds, person, first_time=first_time)
            counts = _return(reader, query, back, span, bounds, person, periods, on_or_after=on_or_after)
        return Retention(
            as_of=reader.as_of,
            start=span.start,
            end=span.end,
            tz=span.tz,
            period=period,
            first_time=first_time,
            on_or_after=on_or_after,
            cohorts=[
                _cohort(span, bounds, number, sizes.get(number, 0), counts.get(number, [0] * periods))
                for number in range(cohorts)
            ],
        )


aretention = twin(retention)


def _bounds(span: Span, period: Period, periods: int) -> tuple[list[datetime], int]:
    """Return where periods begin, up to the last cell's end, and the number of cohorts."""
    try:
        end = span.end + (periods + 1) * _LONGEST[period]
    except OverflowError as error:
        raise InvalidQuery("The cells reach beyond the calendar (years 1 to 9999).") from error
    cohorts = len(calendar.bounds(span.start, span.end, period, span.zone)) - 1
    return calendar.bounds(span.start, end, period, span.zone)[: cohorts + periods], cohorts


def _by_crowds(
    reader: Reader,
    query: EventQuery,
    steps: tuple[Step, Step],
    span: Span,
    bounds: Sequence[datetime],
    periods: int,
    *,
    first_time: bool,
    on_or_after: bool,
) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return sizes and cells of the cohorts that are not empty, with people counted as sets."""
    last = len(bounds) - 1
    start, back = steps
    found = _periods(reader, query, start, span, bounds, first_time=first_time, on_or_after=on_or_after)
    begun = {period: found[period].people for period in range(last) if period in found}
    if first_time:
        earlier = found.get(-1, Crowd()).people
        for cohort, crowd in begun.items():
            begun[cohort], earlier = crowd & ~earlier, crowd | earlier
    if back != start:
        found = _periods(reader, query, back, span, bounds, first_time=False, on_or_after=on_or_after)
    came = [(found.get(n, Crowd()) | found.get(n + len(bounds), Crowd())).people for n in range(len(bounds))]
    if on_or_after:
        for period in range(last - 1, 0, -1):
            came[period] |= came[period + 1]
    return {cohort: crowd.bit_count() for cohort, crowd in begun.items()}, {
        cohort: [(crowd & came[cohort + n]).bit_count() for n in range(periods)]
        for cohort, crowd in begun.items()
    }


def _periods(
    reader: Reader,
    query: EventQuery,
    step: Step,
    span: Span,
    bounds: Sequence[datetime],
    *,
    first_time: bool,
    on_or_after: bool,
) -> dict[int, Crowd]:
    """Return who did a step in each period within the range, before it (-1), or behind it (``len(bounds)`` further)."""
    test, parameters = _test(query, step, span, None)
    first, last = microseconds(span.start), microseconds(span.end)
    moment = _moment(reader, bounds)
    period = f"least({_index(moment, bounds)}, {len(bounds) - 1})"
    if not first_time:
        test += f" AND moment >= {first}"
    if not on_or_after:
        test += f" AND {moment} < {microseconds(bounds[-1])}"
    cell = f"CASE WHEN moment < {first} THEN -1 WHEN moment < {last} THEN {period} ELSE {period} + {len(bounds)} END"
    return crowds(reader, cell, f"FROM events WHERE {test}", parameters)


def _begin(
    reader: Reader,
    query: EventQuery,
    start: Step,
    span: Span,
    bounds: Sequence[datetime],
    person: Person | None,
    *,
    first_time: bool,
) -> dict[int, int]:
    """Make the table ``begun`` (person, cohort), and return the sizes of the cohorts that are not empty."""
    test, parameters = _test(query, start, span, person)
    first, last = microseconds(span.start), microseconds(span.end)
    moment = _moment(reader, bounds)
    if first_time:
        people = _by_person("min", moment, test, person)
        begun = (
            f"SELECT person, CAST({_index('v', bounds)} AS INTEGER) AS cohort FROM ({people})"
            f" WHERE v >= {first} AND v < {last}"
        )
    else:
        part, mask = bits_sql(_index(moment, bounds), len(bounds))
        people = _by_person("bit_or", mask, f"{test} AND moment >= {first} AND moment < {last}", person, part)
        begun = (
            f"SELECT person, CAST(c * {BITS} + bit AS INTEGER) AS cohort FROM ({people}),"
            f" (SELECT unnest(range({BITS})) AS bit) WHERE (v >> bit) & 1 = 1"
        )
    reader.rows(f"CREATE TEMP TABLE begun AS {begun}", parameters)
    sizes: dict[int, int] = defaultdict(int)
    sizes.update(reader.rows("SELECT cohort, count(*) FROM begun GROUP BY cohort"))
    return sizes


def _return(
    reader: Reader,
    query: EventQuery,
    back: Step,
    span: Span,
    bounds: Sequence[datetime],
    person: Person | None,
    periods: int,
    *,
    on_or_after: bool,
) -> dict[int, list[int]]:
    """Return for each cohort how many of its people came back in each period after its own (and "after" that)."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0] * periods)
    if len(bounds) < 3:
        return counts
    test, parameters = _test(query, back, span, person)
    moment = _moment(reader, bounds)
    test += f" AND {moment} >= {microseconds(bounds[1])}"
    if on_or_after:
        people = _by_person("max", moment, test, person)
        rows = reader.rows(
            f"SELECT cohort, CAST(least({_index('v', bounds)} - cohort, {periods - 1}) AS INTEGER) AS cell, count(*)"
            f" FROM begun JOIN ({people}) USING (person) GROUP BY ALL HAVING cell > 0",
            parameters,
        )
        for cohort, cell, n in rows:
            for earlier in range(1, cell + 1):
                counts[cohort][earlier] += n
        return counts
    part, mask = bits_sql(_index(moment, bounds), len(bounds))
    people = _by_person("bit_or", mask, f"{test} AND {moment} < {microseconds(bounds[-1])}", person, part)
    rows = reader.rows(
        f"SELECT cohort, c, {counts_sql('v', len(bounds))} FROM begun JOIN ({people}) USING (person) GROUP BY ALL",
        parameters,
    )
    for cohort, part_of, numbers in rows:
        for bit, n in enumerate(numbers):
            cell = part_of * BITS + bit - cohort
            if 0 < cell < periods:
                counts[cohort][cell] += n
    return counts


def _after(span: Span) -> int:
    """Return the first moment later than `now`, as the engine counts."""
    return microseconds(span.now) + 1


def _moment(reader: Reader, bounds: Sequence[datetime]) -> str:
    return reader.moment(microseconds(bound) for bound in bounds)


def _index(column: str, bounds: Sequence[datetime]) -> str:
    return index_sql(column, [microseconds(bound) for bound in bounds])


def _by_person(function: str, value: str, test: str, person: Person | None, part: str = "0") -> str:
    """Return the SQL of a relation (person, c, v): an aggregate of events that pass the test, by `part` as ``c``."""
    relation, who, links, resolved = followed(person)
    return (
        f"SELECT {resolved} AS person, c, {function}(v) AS v FROM (SELECT {who} AS who, {part} AS c,"
        f" {function}({value}) AS v FROM {relation} WHERE {test} GROUP BY ALL) g {links} GROUP BY ALL"
    )


def _test(query: EventQuery, step: Step, span: Span, person: Person | None) -> tuple[str, dict[str, Any]]:
    where, parameters = filters.where(msgspec.structs.replace(query, start=None, end=None), person)
    condition, values = filters.step(step)
    who = followed(person)[1]
    test = f"{who} IS NOT NULL AND moment < {_after(span)} AND {where} AND {condition}"
    return test, {**parameters, **values}


def _cohort(span: Span, bounds: Sequence[datetime], number: int, size: int, counts: Sequence[int]) -> Cohort:
    cells = []
    for n in range(len(counts)):
        running = bounds[number + n + 1] > span.now
        people = counts[n] if n else size
        cells.append(Cell(None if running and not people else people, running))
    start, end = bounds[number].astimezone(UTC), bounds[number + 1].astimezone(UTC)
    return Cohort(start, end, size, cells, start < span.start or end > span.end)
