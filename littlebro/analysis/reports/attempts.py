"""The best attempt of each person at a funnel, as a temporary table; the ordered and the any-order kind.

In: a reader and a `Course`. Out: the table ``attempts``: person (as the course tells them apart), reached (steps done,
from 1), t1, t2, … (the moment of each, NULL beyond `reached`), latest (the moment of the person's latest entry). The
rules stand in `funnel`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final, Literal

import msgspec

from littlebro.analysis.question import Step
from littlebro.analysis.reader import Reader
from littlebro.analysis.reports.ties import packed
from littlebro.exceptions import InvalidQuery

__all__ = ["Course", "Order", "best", "find", "seen", "used"]

Order = Literal["ordered", "strict", "any"]

_NEVER: Final = 1 << 62
_MOST_TERMS: Final = 200


class Course(msgspec.Struct, frozen=True):
    """A funnel's question in SQL; times in microseconds.

    Entries lie in [start, end), nothing is read from after `last`. `events` is the relation that is looked at, and
    `who` its column of people: their numbers, which are quicker, or the key where it is about one person. `where`
    holds for every event that is looked at, with `parameters`; `conditions` are the steps', `gaps` maps a step's
    index to what must not follow it.
    """

    steps: tuple[Step, ...]
    start: int
    end: int
    last: int
    window: int
    events: str
    who: str
    where: str
    conditions: tuple[str, ...]
    gaps: dict[int, str]
    parameters: dict[str, Any]

    @property
    def shared(self) -> bool:
        """Return whether one event might satisfy two steps."""
        names = [step.name for step in self.steps]
        return len(set(names)) < len(names) or (None in names and len(names) > 1)


def find(reader: Reader, course: Course, order: Literal["ordered", "any"]) -> None:
    """Make the table ``attempts``."""
    tests = " OR ".join([*course.conditions, *course.gaps.values()])
    sql = f"CREATE TEMP TABLE marked AS {seen(course, tests)}"
    reader.rows(sql, used(sql, course.parameters))
    if order == "any":
        tries = _any_order(course)
    elif course.shared:
        _make_moments(reader, len(course.steps))
        tries = _ordered(course, shared=True)
    else:
        tries = _ordered(course, shared=False)
    reader.rows(f"CREATE TEMP TABLE attempts AS {best(course, tries)}")
    reader.rows("DROP TABLE marked")


def seen(course: Course, tests: str = "TRUE") -> str:
    """Return the SQL of people's events within reach: person, ts, mask (steps as bits), barred (gaps as bits)."""
    mask, barred = _bits(enumerate(course.conditions)), _bits(course.gaps.items())
    return (
        f"SELECT {course.who} AS person, ts, {mask} AS mask, {barred} AS barred FROM {course.events}"  # noqa: S608 - ours; values are parameters
        f" WHERE {course.who} IS NOT NULL AND ts >= {course.start} AND ts <= {course.last}"
        f" AND {course.where} AND ({tests})"
    )


def used(sql: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return those parameters that `sql` names: DuckDB refuses any others."""
    return {name: parameters[name] for name in set(re.findall(r"\$(\w+)", sql)) & parameters.keys()}


def best(course: Course, tries: str) -> str:
    """Return the SQL of each person's best attempt among `tries` (person, t1, t2, …, each NULL if never).

    Later steps are never earlier for a later start, so that the most steps and then the earliest start decide.
    """
    numbers = range(1, len(course.steps) + 1)
    reached = " ".join(f"WHEN t{n} <= t1 + {course.window} THEN {n}" for n in reversed(numbers) if n > 1)
    order = f"(reached << 58) - (t1 - {course.start})"
    times = ", ".join(f"arg_max(t{n}, {order}) AS t{n}" for n in numbers)
    kept = ", ".join(f"CASE WHEN reached >= {n} THEN t{n} END AS t{n}" for n in numbers)
    return (
        f"WITH tries AS ({tries}),"  # noqa: S608 - ours
        f" rated AS (SELECT *, CAST(CASE {reached or 'WHEN FALSE THEN 1'} ELSE 1 END AS BIGINT) AS reached FROM tries),"
        f" found AS (SELECT person, max(reached) AS reached, max(t1) AS latest, {times} FROM rated GROUP BY person)"
        f" SELECT person, reached, latest, {kept} FROM found"
    )


def _bits(conditions: Any) -> str:
    parts = [f"CASE WHEN {test} THEN {1 << bit} ELSE 0 END" for bit, test in conditions]
    return f"CAST({' | '.join(parts) or '0'} AS USMALLINT)"


def _ordered(course: Course, *, shared: bool) -> str:
    """Return the tries of the ordered kind: one ASOF join a step, for each entry the earliest next.

    Where steps share no event, that is the step's next event, at the same moment or later. Where they do, whole
    moments are joined: `far` says how many steps are done when the last joined moment is over.
    """
    first = "marked WHERE mask & 1 <> 0" if not shared else "moments WHERE far & 15 <> 0"
    far = ", far & 15 AS far" if shared else ""
    parts = [f"s1 AS (SELECT person, ts AS t1{far} FROM {first} AND ts < {course.end})"]  # noqa: S608 - ours; values are parameters
    for n in range(1, len(course.steps)):
        times = "".join(f", s.t{m}" for m in range(1, n + 1))
        following, next_far = "b.ts", ""
        if shared:
            following = f"CASE WHEN s.far > {n} THEN s.t{n} ELSE b.ts END"
            next_far = f", CASE WHEN s.far > {n} THEN s.far ELSE (b.far >> {4 * n}) & 15 END AS far"
            right = f"SELECT person, ts, far FROM moments WHERE (far >> {4 * n}) & 15 <> 0"  # noqa: S608 - ours; values are parameters
        else:
            right = f"SELECT person, ts FROM marked WHERE mask & {1 << n} <> 0"  # noqa: S608 - ours; values are parameters
        parts.append(
            f"j{n} AS (SELECT s.person{times}, {following} AS t{n + 1}{next_far} FROM s{n} s"  # noqa: S608 - ours; values are parameters
            f" ASOF LEFT JOIN ({right}) b ON s.person = b.person AND s.t{n} {'<' if shared else '<='} b.ts)"
        )
        parts.append(f"s{n + 1} AS ({_barred(course, n, shared=shared)})")
    return f"WITH {', '.join(parts)} SELECT * FROM s{len(course.steps)}"  # noqa: S608 - ours


def _barred(course: Course, n: int, *, shared: bool) -> str:
    """Return the SQL that ends attempts where an excluded event lies between step `n` and the one after it."""
    if n - 1 not in course.gaps:
        return f"SELECT * FROM j{n}"  # noqa: S608 - ours
    times = "".join(f", s.t{m}" for m in range(1, n + 1))
    free = f"coalesce(x.ts >= s.t{n + 1}, TRUE)"
    far = f", CASE WHEN {free} THEN s.far END AS far" if shared else ""
    return (
        f"SELECT s.person{times}, CASE WHEN {free} THEN s.t{n + 1} END AS t{n + 1}{far} FROM j{n} s ASOF LEFT JOIN"  # noqa: S608 - ours
        f" (SELECT person, ts FROM marked WHERE barred & {1 << (n - 1)} <> 0) x"
        f" ON s.person = x.person AND s.t{n} < x.ts"
    )


def _make_moments(reader: Reader, steps: int) -> None:
    """Make the table ``moments``: person, ts, far (see `ties.packed`), for funnels whose steps share events."""
    reader.rows(
        "CREATE TEMP TABLE grouped AS SELECT person, ts, list_sort(list(mask)) AS pattern FROM marked"
        " WHERE mask <> 0 GROUP BY person, ts"
    )
    patterns = [pattern for (pattern,) in reader.rows("SELECT DISTINCT pattern FROM grouped")]
    reader.rows(
        "CREATE TEMP TABLE moments AS SELECT person, ts, far FROM grouped JOIN"
        " (SELECT unnest($patterns::USMALLINT[][]) AS pattern, unnest($far::BIGINT[]) AS far) USING (pattern)",
        {"patterns": patterns, "far": [packed(pattern, steps) for pattern in patterns]},
    )
    reader.rows("DROP TABLE grouped")


def _any_order(course: Course) -> str:
    """Return the tries of the any-order kind.

    By Hall's theorem j of a set of k steps have events of their own as soon as every subset of s steps has met
    j - k + s events that satisfy one of its steps. Steps that can share no event are counted apart, and what
    is reached first is the first step, whichever it is.
    """
    window = "OVER (PARTITION BY person ORDER BY ts RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)"
    columns: dict[tuple[int, int], str] = {}
    moments = []
    for family in _families(course.steps):
        subsets = _subsets(family, course.steps)
        for j in range(1, len(family) + 1):
            terms = []
            for subset in subsets:
                nth = j - len(family) + len(subset)
                if nth >= 1:
                    mask = sum(1 << step for step in subset)
                    terms.append(columns.setdefault((mask, nth), f"c{len(columns)}"))
            moments.append(f"greatest({', '.join(f'coalesce({term}, {_NEVER})' for term in terms)})")
    if len(columns) > _MOST_TERMS:
        raise InvalidQuery(
            "In any order, fewer steps may be of the same name; ask for at most five of one name."
        )
    made = ", ".join(f"{_nth(mask, nth)} {window} AS {column}" for (mask, nth), column in columns.items())
    times = ", ".join(
        f"CASE WHEN times[{n}] < {_NEVER} THEN times[{n}] END AS t{n}"
        for n in range(2, len(course.steps) + 1)
    )
    return (
        f"SELECT person, ts AS t1{', ' + times if times else ''} FROM"  # noqa: S608 - ours
        f" (SELECT person, ts, list_sort([{', '.join(moments)}]) AS times FROM"
        f" (SELECT person, ts, {made} FROM marked) WHERE ts < {course.end})"
    )


def _nth(mask: int, nth: int) -> str:
    moment = f"CASE WHEN mask & {mask} <> 0 THEN ts END"
    return f"min({moment})" if nth == 1 else f"nth_value({moment}, {nth} IGNORE NULLS)"


def _families(steps: Sequence[Step]) -> list[list[int]]:
    """Return the steps, by index, in groups of those that might share events."""
    if any(step.name is None for step in steps):
        return [list(range(len(steps)))]
    families: dict[str | None, list[int]] = {}
    for index, step in enumerate(steps):
        families.setdefault(step.name, []).append(index)
    return list(families.values())


def _subsets(family: Sequence[int], steps: Sequence[Step]) -> list[list[int]]:
    """Return the subsets of a family; steps that are the same go together, as the larger set binds harder."""
    classes: list[list[int]] = []
    for index in family:
        twin = next((found for found in classes if steps[found[0]] == steps[index]), None)
        if twin is None:
            classes.append([index])
        else:
            twin.append(index)
    if len(classes) > 7:
        raise InvalidQuery(
            "In any order, fewer steps may be of the same name; ask for at most five of one name."
        )
    return [
        [index for group in chosen for index in group]
        for size in range(1, len(classes) + 1)
        for chosen in combinations(classes, size)
    ]
