"""The breakdown: events and people by the value at a path.

**What is looked at.** The events that `query` and `person` match, in [start, end); who a person is, which values
are one, what "other" and "none" mean, value text and the measures of numbers: all as in `trend`.

**Rows.** The `limit` values with the most events (ties: by value text), most first; then other, then none, where
they have events in the range or in the one it is compared with. `events` add up to `total_events`. `people` are the
different people with such an event, in other and none too; they need not add up to `total_people`, since one person
may have several values.

Without `rest` there are the values alone, which is quicker where they have few of the events: no rows of other
and none, and None for `total_people` and `total_value`.

**Measure.** None, or one whose result stands in each row's `value`: ``events_per_person`` (the events that are
somebody's, through the people), or sum, average, min, max, median, p95 of the numbers at the path `value`.

**Compare.** The `previous_…` numbers are those of the same row over the range of `calendar.compared`; without
`compare` they are None.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import reduce
from operator import or_
from typing import Any, Final, Literal

import msgspec

from littlebro.analysis.cache import answered
from littlebro.analysis.calendar import compared, cuts, reach
from littlebro.analysis.crowds import Crowd
from littlebro.analysis.grouping import (
    BITS,
    NUMERIC,
    Number,
    Question,
    Rows,
    bits_sql,
    by_crowds,
    counts_sql,
    crowds_of,
    events_sql,
    order,
    question,
    rows,
    series_of,
    series_sql,
    tidy,
    top_sql,
)
from littlebro.analysis.question import Compare, Path, Person, Span, span_of
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Key, Result, Table
from littlebro.events.query import EventQuery

__all__ = ["ROW_MEASURES", "Breakdown", "Row", "RowMeasure", "abreakdown", "breakdown"]

RowMeasure = Number | Literal["events_per_person"]
ROW_MEASURES: Final = ("events_per_person", *NUMERIC)
_FEW_USERS: Final = 50  # who are quicker looked up one by one


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
    """Values by events, the most first, then other, then none."""

    start: datetime
    end: datetime
    tz: str
    by: Path
    measure: RowMeasure | None
    rows: list[Row]
    total_events: int
    total_people: int | None
    total_value: int | float | None = None
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    previous_total_events: int | None = None
    previous_total_people: int | None = None
    previous_total_value: int | float | None = None

    def table(self) -> Table:
        """Return a row for each value: it, events, people, the measure, and the same of the range before."""
        fields = ["events", "people", *(["value"] if self.measure is not None else [])]
        heads = ["events", "people", *([self.measure] if self.measure is not None else [])]
        if self.previous_start is not None:
            fields += [f"previous_{field}" for field in fields]
            heads += [f"before: {head}" for head in heads]
        return Table(
            [".".join(self.by), *heads],
            [[row.key.label, *(getattr(row, field) for field in fields)] for row in self.rows],
        )


class _Found(msgspec.Struct):
    """What one range gave, by series; None is all of them."""

    tops: list[str] = msgspec.field(default_factory=list)
    events: dict[int | None, int] = msgspec.field(default_factory=dict)
    people: dict[int | None, int] = msgspec.field(default_factory=dict)
    value: dict[int | None, int | float | None] = msgspec.field(default_factory=dict)

    def numbers(self, series: int | None) -> tuple[int, int, int | float | None]:
        return self.events.get(series, 0), self.people.get(series, 0), self.value.get(series)


def breakdown(
    query: EventQuery,
    *,
    by: Path,
    limit: int = 20,
    measure: RowMeasure | None = None,
    value: Path | None = None,
    rest: bool = True,
    compare: Compare | None = None,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Breakdown:
    """Return events and people by the value at the path `by`; `query.start` and `query.end` are required.

    `limit` (1 to 1,000) values stand alone. `measure` adds a number to each row, of the numbers at the path
    `value` where it is not events_per_person. `rest` says whether all other events are looked at too. `compare` is
    ``"previous"``, ``"year"`` or None; `tz` the zone of its calendar (None: Django's current one), `now` the moment
    asked at (None: now). Raises `InvalidQuery`. The rules stand in the module's docstring.
    """
    span = span_of(query, tz, now)
    asked = question(query, person, by, limit, measure, ROW_MEASURES, value)
    asked = msgspec.structs.replace(asked, rest=rest)
    other = None if compare is None else compared(span, compare)
    start, end = reach(span, other)
    with open_reader(
        alias, collections=query.collections or None, start=start, end=end, paths=(asked.by, asked.value),
        cuts=cuts(span, other),
    ) as reader:  # fmt: skip
        return answered(
            reader, span, ("breakdown", asked, compare), lambda: _answer(reader, asked, measure, span, other)
        )


abreakdown = twin(breakdown)


def _answer(
    reader: Reader, asked: Question, measure: RowMeasure | None, span: Span, other: Span | None
) -> Breakdown:
    found = _found(reader, asked, span, None)
    before = _found(reader, asked, other, found.tops) if other is not None else None
    present = {
        series
        for each in (found, before)
        if each
        for series, n in each.events.items()
        if n and series is not None and asked.rest
    }
    previous = before.numbers if before else lambda _: (None, None, None)
    events, people, value = found.numbers(None)
    previous_events, previous_people, previous_value = previous(None)
    return Breakdown(
        as_of=reader.as_of,
        start=span.start,
        end=span.end,
        tz=span.tz,
        by=asked.by or (),
        measure=measure,
        rows=[Row(key, *found.numbers(n), *previous(n)) for n, key in order(asked, found.tops, present)],
        total_events=events,
        total_people=people if asked.rest else None,
        total_value=value if asked.rest else None,
        previous_start=other.start if other else None,
        previous_end=other.end if other else None,
        previous_total_events=previous_events,
        previous_total_people=previous_people if asked.rest else None,
        previous_total_value=previous_value if asked.rest else None,
    )


def _found(reader: Reader, asked: Question, span: Span, tops: list[str] | None) -> _Found:
    selected = rows(asked, reader, span.start, span.end)
    if asked.by == ("user_id",) and not asked.rest:
        count = _by_users
    else:
        count = _by_crowds if by_crowds(asked, reader, 1) else _one_by_one
    found, known = count(reader, asked, selected, tops)
    found.events[None], known[None] = sum(found.events.values()), sum(known.values())
    if asked.measure == "events_per_person":
        found.value = {n: tidy(known[n] / people) for n, people in found.people.items() if people}
    if asked.measure in NUMERIC:
        found.value = _numbers(reader, asked, selected, found.tops)
    return found


def _by_users(
    reader: Reader, asked: Question, selected: Rows, tops: list[str] | None
) -> tuple[_Found, dict[int | None, int]]:
    """See _by_crowds(). Where each series is a user, who is one person, only the most active ones are looked up."""
    if tops is None:
        counted = _most_active(reader, asked, selected)
    else:
        sql = (
            f"SELECT user_id, count(*) {selected.source} AND user_id IN (SELECT unnest($tops::VARCHAR[]))"
            " GROUP BY user_id"
        )
        counted = dict(reader.rows(sql, selected.values(sql, {"tops": tops})))
    found = _Found(tops if tops is not None else list(counted))
    found.events = {series: counted.get(text, 0) for series, text in enumerate(found.tops)}
    found.people = {series: 1 for series, n in found.events.items() if n}
    known: dict[int | None, int] = dict(found.events)
    total = f"SELECT count(name) {selected.source}"  # a small column; counting rows would read the ids
    found.events[-1] = reader.rows(total, selected.values(total))[0][0] - sum(known.values())
    return found, known


def _most_active(reader: Reader, asked: Question, selected: Rows) -> dict[str, int]:
    """Return the events of the users with the most, most first.

    To group by number takes half the time that it takes by id. Ids decide between users of as many events.
    """
    sql = (
        f"WITH counted AS MATERIALIZED (SELECT number, count(*) AS n {selected.source} AND number >= 0 GROUP BY number)"
        " SELECT number, n FROM counted WHERE n >="
        f" coalesce((SELECT n FROM counted ORDER BY n DESC LIMIT 1 OFFSET {asked.series - 1}), 0)"
    )
    counted = reader.rows(sql, selected.values(sql))
    if len(counted) <= _FEW_USERS:
        sql = " UNION ALL ".join(
            f"(SELECT user_id, {n} {selected.source} AND number = {number} LIMIT 1)" for number, n in counted
        )
    else:
        sql = f"SELECT user_id, count(*) {selected.source} AND number >= 0 GROUP BY user_id"
    users = reader.rows(sql, selected.values(sql)) if counted else []
    return dict(sorted(users, key=lambda user: (-user[1], user[0]))[: asked.series])


def _by_crowds(
    reader: Reader, asked: Question, selected: Rows, tops: list[str] | None
) -> tuple[_Found, dict[int | None, int]]:
    """Count people as sets; return the events of somebody by series besides."""
    series = series_of(reader, asked, selected, tops)
    people = {number: crowd for (number, _), crowd in crowds_of(reader, asked, selected, series).items()}
    texts = {each.number: each.text for each in series if each.text is not None}
    found = _Found(
        tops=[texts[number] for number in sorted(texts)] if tops is None else list(tops),
        events={each.number: each.events for each in series},
        people={number: crowd.size for number, crowd in people.items()},
    )
    found.people[None] = reduce(or_, people.values(), Crowd()).size
    return found, {number: crowd.events for number, crowd in people.items()}


def _one_by_one(
    reader: Reader, asked: Question, selected: Rows, tops: list[str] | None
) -> tuple[_Found, dict[int | None, int]]:
    """See _by_crowds()."""
    events, given = events_sql(asked, selected, tops)
    # Who has which values: a row a person and 64 series, with a bit for each.
    count = asked.series + 2
    part, mask = bits_sql("(s + 1)", count)
    people = "count(*)" if count <= BITS else "count(DISTINCT p)"
    sql = (
        f"WITH {events},"
        f" g AS (SELECT {part} AS c, who, bit_or({mask}) AS m FROM seen WHERE who IS NOT NULL GROUP BY ALL),"
        f" p AS MATERIALIZED (SELECT c, {selected.person} AS p, bit_or(m) AS m FROM g {selected.links} GROUP BY ALL)"
        " SELECT 0 AS what, s, max(text) AS text, [sum(n)] AS numbers FROM keys GROUP BY s"
        f" UNION ALL SELECT 1, c, NULL, {counts_sql('m', count)} FROM p GROUP BY c"
    )
    if asked.rest:
        sql += f" UNION ALL SELECT 2, NULL, NULL, [{people}] FROM p"
    if asked.measure == "events_per_person":
        sql += " UNION ALL SELECT 3, s, NULL, [sum(n)] FROM seen WHERE who IS NOT NULL GROUP BY s"
    found = _Found(list(tops or ()))
    known: dict[int | None, int] = {}
    texts: dict[int, str] = {}
    for what, series, text, numbers in reader.rows(sql, selected.values(sql, given)):
        if what == 0:
            found.events[series] = numbers[0]
            texts |= {} if text is None else {series: text}
        elif what == 1:
            found.people |= {series * BITS + bit - 1: n for bit, n in enumerate(numbers) if n}
        elif what == 2:
            found.people[None] = numbers[0]
        else:
            known[series] = numbers[0]
    if tops is None:
        found.tops = [texts[series] for series in sorted(texts)]
    return found, known


def _numbers(
    reader: Reader, asked: Question, selected: Rows, tops: list[str]
) -> dict[int | None, int | float | None]:
    top, given = top_sql(tops)
    sql = (
        f"WITH {top}, r AS (SELECT {selected.raw} AS k, {selected.number} AS x {selected.source}),"
        f" g AS (SELECT {selected.key} AS k, x FROM r),"
        f" h AS (SELECT {series_sql(asked, 'g.k')} AS s, x FROM g LEFT JOIN top ON top.k = g.k)"
        f" SELECT s, {NUMERIC[asked.measure or '']} FROM h GROUP BY GROUPING SETS ((s), ())"
    )
    numbers: list[tuple[Any, Any]] = reader.rows(sql, selected.values(sql, given))
    return {series: tidy(number) for series, number in numbers}
