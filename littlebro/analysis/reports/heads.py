"""The people in each bucket of a trend, as sets or one by one.

In: a question, the events of a range, and the SQL of the bucket that an event is in. Out: `Found`.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from collections import defaultdict

from littlebro.analysis.crowds import Crowd
from littlebro.analysis.grouping import (
    BITS,
    Question,
    Rows,
    bits_sql,
    counts_sql,
    crowds_of,
    events_sql,
    series_of,
)
from littlebro.analysis.reader import Reader
from littlebro.analysis.reports.rolling import Found

__all__ = ["people_by_crowds", "people_one_by_one"]


def people_by_crowds(
    reader: Reader, asked: Question, selected: Rows, index: str, count: int, tops: list[str] | None
) -> tuple[Found, Found]:
    """Count people as sets, and their events, of each of `count` buckets and of all."""
    people, events = Found(tops), Found(tops)
    series = [] if asked.by is None else series_of(reader, asked, selected, tops)
    for each in series:
        people.saw(each.number, each.text)
        events.saw(each.number, each.text)
    everybody: dict[int, Crowd] = defaultdict(Crowd)
    crowds = crowds_of(reader, asked, selected, series, index, count)
    for (number, bucket), crowd in crowds.items():
        people.values[number][bucket], events.values[number][bucket] = crowd.size, crowd.events
        everybody[number] |= crowd
    people.totals = {number: crowd.size for number, crowd in everybody.items()}
    events.totals = {number: crowd.events for number, crowd in everybody.items()}
    return people, events


def people_one_by_one(
    reader: Reader, asked: Question, selected: Rows, index: str, count: int, tops: list[str] | None
) -> Found:
    """Count people: a row a series, person and 64 buckets, with a bit for each of the `count` buckets."""
    part, mask = bits_sql(index, count)
    events, given = events_sql(asked, selected, tops, part=part, mask=mask)
    people = "count(*)" if count <= BITS else "count(DISTINCT p)"
    sql = (
        f"WITH {events}, g AS (SELECT s, c, who, bit_or(m) AS m FROM seen WHERE who IS NOT NULL GROUP BY ALL),"
        f" p AS MATERIALIZED (SELECT s, c, {selected.person} AS p, bit_or(m) AS m FROM g {selected.links} GROUP BY ALL)"
        f" SELECT s, c, NULL AS text, {counts_sql('m', count)} AS counts FROM p GROUP BY s, c"
        f" UNION ALL SELECT s, NULL, NULL, [{people}] FROM p GROUP BY s"
    )
    if asked.by is not None:
        sql += " UNION ALL SELECT s, NULL, max(text), NULL FROM keys GROUP BY s"
    found = Found(tops)
    for series, chunk, text, counts in reader.rows(sql, selected.values(sql, given)):
        if counts is None:
            found.saw(series, text)
        elif chunk is None:
            found.totals[series] = counts[0]
        else:
            found.values[series].update({chunk * BITS + bit: n for bit, n in enumerate(counts) if n})
    return found
