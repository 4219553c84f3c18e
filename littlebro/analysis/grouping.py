"""The SQL that trends and breakdowns share: the rows of a question, its series, its buckets, people by bit.

In: a question and a range. Out: common table expressions, each with its names said here. A series is a number: 0 and
up are the top values in order, `limit` is "other", -1 is "none".

People are counted exactly: as `crowds` where these fit into memory; else events are first grouped to one row a person
and 64 buckets, in which a bit stands for each bucket, and links are followed on those few rows alone.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from littlebro.analysis.crowds import Crowd, crowds, most_cells
from littlebro.analysis.filters import Parameters, key_of, number_sql, one_key, raw_key, where
from littlebro.analysis.question import Path, Person, check_choice, check_limit, check_path, microseconds
from littlebro.analysis.reader import Reader
from littlebro.analysis.result import ALL, NONE, OTHER, Key
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = [
    "BITS",
    "NUMERIC",
    "Number",
    "Question",
    "Rows",
    "bits_sql",
    "by_crowds",
    "counts_sql",
    "crowds_of",
    "events_sql",
    "followed",
    "index_sql",
    "keys_sql",
    "order",
    "question",
    "rows",
    "series_of",
    "series_sql",
    "tidy",
    "top_sql",
    "top_values",
]

Number = Literal["sum", "average", "min", "max", "median", "p95"]
BITS: Final = 64
NUMERIC: Final[Mapping[str, str]] = {
    "sum": "fsum(x)",
    "average": "favg(x)",
    "min": "min(x)",
    "max": "max(x)",
    "median": "quantile_cont(x, 0.5)",
    "p95": "quantile_cont(x, 0.95)",
}
_LARGEST: Final = 2.0**53
_FEW_SERIES: Final = 50  # whose raw texts are looked for one after the other


class Question(msgspec.Struct, frozen=True):
    """What is asked of each range: the events, the groups, and the path of the numbers.

    `rest` says whether the people of what does not stand alone are asked for.
    """

    query: EventQuery
    person: Person | None
    by: Path | None
    limit: int
    measure: str | None
    value: Path | None
    rest: bool = True

    @property
    def series(self) -> int:
        """Return how many values may stand alone."""
        return self.limit if self.by is not None else 1

    def key(self, text: str | None) -> Key:
        """Return the key of the series that has `text` as its value."""
        return ALL if self.by is None else key_of(self.by, text)


class Series(msgspec.Struct, frozen=True):
    """One series of a range: its number, the text of its value, its events, and the raw texts that are that value."""

    number: int
    text: str | None
    events: int
    raw: Sequence[str | None]


class Rows(msgspec.Struct, frozen=True):
    """``FROM … WHERE …`` of one range, and expressions for its columns; `made` holds the parameters.

    Events are grouped by the `raw` text of the value, as ``k``, and only such groups by its `key`. A `quick` one is
    a column, so that reading it twice is cheaper than to group by value and person.
    """

    source: str
    raw: str
    quick: bool
    key: str
    who: str
    links: str
    person: str
    number: str
    made: Parameters

    def values(self, sql: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters that `sql` names."""
        return self.made.used(sql) | (dict(more) if more else {})


def question(
    query: EventQuery,
    person: Person | None,
    by: Path | None,
    limit: int,
    measure: str | None,
    measures: tuple[str, ...],
    value: Path | None,
) -> Question:
    """Return a checked question; raises `InvalidQuery`."""
    if measure is not None:
        check_choice(measure, measures, "measure")
    if (measure in NUMERIC) is not (value is not None):
        needs = "needs" if measure in NUMERIC else "takes no"
        raise InvalidQuery(f"The measure {measure!r} {needs} value, the path of a number.")
    return Question(
        query,
        person,
        None if by is None else check_path(by),
        check_limit(limit, most=1000),
        measure,
        None if value is None else check_path(value, "value"),
    )


def followed(person: Person | None) -> tuple[str, str, str, str]:
    """Return how people are told apart: a relation, its column, a join of ``g(who)``, the person there.

    Links are followed after grouping, except where it is about one `person`, whose events they are needed to find.
    """
    if person is not None:
        return "people", "person", "", "g.who"
    return "events", "who", "LEFT JOIN links l ON l.anon = g.who", "coalesce(l.person, g.who)"


def _is_quick(asked: Question, reader: Reader) -> bool:
    return asked.by is None or len(asked.by) == 1 or asked.by in reader.columns


def by_crowds(asked: Question, reader: Reader, cells: int) -> bool:
    """Return whether people in so many cells of each series are better counted as sets than one by one."""
    few = asked.person is None and asked.series <= _FEW_SERIES
    return _is_quick(asked, reader) and few and (asked.series + 2) * cells <= most_cells(reader)


def rows(asked: Question, reader: Reader, start: datetime, end: datetime) -> Rows:
    """Return the events of a question in a range."""
    made = Parameters("k")
    relation, who, links, person = followed(asked.person)
    limited = msgspec.structs.replace(asked.query, start=start, end=end)
    moment = reader.moment((microseconds(start), microseconds(end)))
    sql, values = where(limited, asked.person, prefix="q", moment=moment)
    made.values.update(values)
    return Rows(
        source=f"FROM {relation} WHERE {sql}",
        raw="''" if asked.by is None else raw_key(asked.by, made, columns=reader.columns),
        quick=_is_quick(asked, reader),
        key="k" if asked.by is None else one_key(asked.by, "k"),
        who=who,
        links=links,
        person=person,
        number="NULL" if asked.value is None else number_sql(asked.value, made, reader.columns),
        made=made,
    )


def events_sql(
    asked: Question, selected: Rows, given: Sequence[str] | None, *, part: str = "0", mask: str = "0"
) -> tuple[str, dict[str, Any]]:
    """Return the expressions ``keys``, as `keys_sql` says, and ``seen(s, who, c, m, n)``, with what they are made of.

    A row of ``seen`` stands for `n` events of a series and a person, with the `part` that they are in and their bits
    of `mask` in ``m``. Without the question's `rest` there are only series of values.
    """
    joined = _JOINED if asked.rest else _JOINED_TOP
    if selected.quick:
        each = f"SELECT {selected.raw} AS k, {selected.who} AS who, {part} AS c, {mask} AS m, 1 AS n {selected.source}"
        kept = "NOT MATERIALIZED"
    else:
        each = (
            f"SELECT {selected.raw} AS k, {selected.who} AS who, {part} AS c, bit_or({mask}) AS m, count(*) AS n"
            f" {selected.source} GROUP BY ALL"
        )
        kept = "MATERIALIZED"
    keys, values = keys_sql(asked, selected, given)
    return (
        f"e AS {kept} ({each}), r AS MATERIALIZED (SELECT k, sum(n) AS n FROM e GROUP BY k), {keys},"
        f" seen AS NOT MATERIALIZED (SELECT {'0 AS s, e.* FROM e' if asked.by is None else joined})"
    ), values


_JOINED: Final = "s, e.* FROM e JOIN keys ON keys.k IS NOT DISTINCT FROM e.k"
_JOINED_TOP: Final = "s, e.* FROM e JOIN (FROM keys WHERE text IS NOT NULL) keys ON keys.k = e.k"


def keys_sql(asked: Question, selected: Rows, given: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """Return the expression ``keys(k, s, text, n)``, with what it is made of: the series of each raw text.

    They are counted from an expression ``r(k, n, …)``; ``text`` is the key of a value that stands alone. The
    values with the most events stand alone, or those that are `given`.
    """
    top, values = _top(asked, given)
    return (
        f"raw AS MATERIALIZED (SELECT k, {selected.key} AS key, sum(n) AS n FROM r GROUP BY k), {top},"
        f" keys AS MATERIALIZED (SELECT raw.k, {series_sql(asked, 'raw.key')} AS s,"
        " CASE WHEN top.r IS NOT NULL THEN raw.key END AS text, raw.n"
        " FROM raw LEFT JOIN top ON top.k = raw.key)"
    ), values


def series_of(reader: Reader, asked: Question, selected: Rows, given: Sequence[str] | None) -> list[Series]:
    """Return the series of a range that have events, as `keys_sql` has them; "other" without raw texts."""
    keys, more = keys_sql(asked, selected, given)
    sql = (
        f"WITH r AS MATERIALIZED (SELECT {selected.raw} AS k, count(*) AS n {selected.source} GROUP BY ALL), {keys}"
        f" SELECT s, max(text), sum(n), list(k) FILTER (s <> {asked.series}) FROM keys GROUP BY s"
    )
    found = reader.rows(sql, selected.values(sql, more))
    return [Series(number, text, n, raw or ()) for number, text, n, raw in found if n]


def crowds_of(
    reader: Reader,
    asked: Question,
    selected: Rows,
    series: Sequence[Series],
    index: str = "0",
    count: int = 1,
) -> dict[tuple[int, int], Crowd]:
    """Return the people by series and `index`, an expression of one of `count`; where `by_crowds` says so.

    The series of a row is found by the place of its raw text in a list, which a column of few values needs to look for
    only once a value; a join of all rows takes ten times as long.
    """
    known = {raw: each.number for each in series for raw in each.raw if raw is not None}
    numbers = [*known.values(), 0 if asked.by is None else asked.series, -1]
    place = "0"
    if asked.by is not None:
        rest, none = (len(known), len(known) + 1) if asked.rest else ("NULL", "NULL")
        listed = f"list_position($raws::VARCHAR[], {selected.raw})"
        place = f"CASE WHEN {selected.raw} IS NULL THEN {none} ELSE coalesce({listed} - 1, {rest}) END"
    cell = f"({place}) * {count} + ({index})"
    values = selected.values(f"{cell} {selected.source}", None if asked.by is None else {"raws": list(known)})
    found: dict[tuple[int, int], Crowd] = defaultdict(Crowd)
    for at, crowd in crowds(reader, cell, selected.source, values).items():
        found[numbers[at // count], at % count] |= crowd
    return found


def top_sql(given: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the expression ``top(k, r)``: the values that stand alone, and their numbers."""
    sql = "top AS (SELECT unnest($tops::VARCHAR[]) AS k, unnest(range(len($tops::VARCHAR[]))) AS r)"
    return sql, {"tops": list(given)}


def _top(asked: Question, given: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    if given is not None:
        return top_sql(given)
    counted = (
        "top AS (SELECT k, row_number() OVER (ORDER BY n DESC, k) - 1 AS r FROM ("
        " SELECT key AS k, sum(n) AS n FROM raw WHERE key IS NOT NULL GROUP BY key HAVING sum(n) > 0"
        f" ORDER BY n DESC, k LIMIT {asked.series}))"
    )
    return counted, {}


def top_values(reader: Reader, asked: Question, selected: Rows) -> list[str]:
    """Return the texts of the values with the most events, most first."""
    if asked.by is None:
        return [""]
    keys, _ = keys_sql(asked, selected, None)
    sql = (
        f"WITH r AS (SELECT {selected.raw} AS k, count(*) AS n {selected.source} GROUP BY ALL), {keys}"
        " SELECT k FROM top ORDER BY r"
    )
    return [text for (text,) in reader.rows(sql, selected.values(sql))]


def series_sql(asked: Question, key: str) -> str:
    """Return the number of the series of a row that was joined with ``top`` on `key`."""
    if asked.by is None:
        return "0"
    return f"CASE WHEN {key} IS NULL THEN -1 ELSE coalesce(top.r, {asked.series}) END"


def index_sql(column: str, edges: Sequence[int]) -> str:
    """Return which of the half-open ranges between `edges` (increasing) a number of `column` is in, from 0.

    Neighbours of one length are found by a division, and the runs of such by halving: a year of days has three.
    """
    runs: list[tuple[int, int, int]] = []  # where it begins, length of one, index of its first
    for index, edge in enumerate(edges[:-1]):
        length = edges[index + 1] - edge
        if not runs or runs[-1][1] != length:
            runs.append((edge, length, index))
    return _halved(column, runs)


def _halved(column: str, runs: Sequence[tuple[int, int, int]]) -> str:
    if len(runs) == 1:
        edge, length, index = runs[0]
        return f"(({column} - {edge}) // {length} + {index})"
    half = len(runs) // 2
    return (
        f"CASE WHEN {column} < {runs[half][0]} THEN {_halved(column, runs[:half])}"
        f" ELSE {_halved(column, runs[half:])} END"
    )


def bits_sql(index: str, count: int) -> tuple[str, str]:
    """Return which 64 of `count` an index is among, and the bit that stands for it there."""
    if count <= BITS:
        return "0", f"(1::UBIGINT << CAST({index} AS UBIGINT))"
    return f"({index}) // {BITS}", f"(1::UBIGINT << CAST(({index}) % {BITS} AS UBIGINT))"


def counts_sql(mask: str, count: int) -> str:
    """Return a list of how many rows have each bit, of so many that there are."""
    return f"[{', '.join(f'sum(({mask} >> {bit}) & 1)' for bit in range(min(count, BITS)))}]"


def order(asked: Question, tops: Sequence[str], present: set[int]) -> list[tuple[int, Key]]:
    """Return the series of a result in order: values, then other and none where they are `present`."""
    if asked.by is None:
        return [(0, ALL)]
    series = [(number, asked.key(text)) for number, text in enumerate(tops)]
    if asked.series in present:
        series.append((asked.series, OTHER))
    if -1 in present:
        series.append((-1, NONE))
    return series


def tidy(number: float | None) -> int | float | None:
    """Return a number as JSON can hold it: whole ones as int (below 2^53), None for what no double can hold."""
    if number is None or not math.isfinite(number):
        return None
    return int(number) if number == int(number) and abs(number) < _LARGEST else number
