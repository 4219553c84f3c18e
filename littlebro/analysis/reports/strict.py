"""The best attempt of each person at a strict funnel, where nothing lies between two steps.

In: a reader and a `Course`. Out: the table ``attempts``, as `attempts` makes it. Nearly everybody's events follow each
other at different moments, and a look at the next rows tells; people with several events at one moment, where any
order of these may serve, are looked at moment by moment.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from littlebro.analysis.crowds import members_in
from littlebro.analysis.reader import Reader
from littlebro.analysis.reports.attempts import Course, best, seen, used
from littlebro.analysis.reports.ties import furthest, strict_course

__all__ = ["find"]


def find(reader: Reader, course: Course) -> None:
    """Make the table ``attempts``."""
    sql = f"CREATE TEMP TABLE tries AS {_by_rows(course)}"
    reader.rows(sql, used(sql, course.parameters))
    if reader.rows("SELECT 1 FROM tries WHERE tied LIMIT 1"):
        reader.rows("CREATE TEMP TABLE tied AS SELECT DISTINCT person FROM tries WHERE tied")
        _make_moments(reader, course)
        _make_courses(reader, course)
        times = ", ".join(f"times[places[{n}] + 1] AS t{n}" for n in range(1, len(course.steps) + 1))
        untied = ", ".join(f"t{n}" for n in range(1, len(course.steps) + 1))
        tries = (
            f"SELECT person, {untied} FROM tries WHERE person NOT IN (SELECT person FROM tied) UNION ALL"  # noqa: S608 - ours
            f" SELECT person, {times} FROM starts JOIN courses USING (codes)"
        )
    else:
        tries = "SELECT * EXCLUDE (tied) FROM tries"
    reader.rows(f"CREATE TEMP TABLE attempts AS {best(course, tries)}")
    reader.rows("DROP TABLE tries")


def _by_rows(course: Course) -> str:
    """Return the tries of people whose events are all of different moments; `tied` marks that this does not hold.

    A moment and its mask are one number, ``m``: what has to be sorted is then half as wide.
    """
    steps = len(course.steps)
    kind = "BIGINT" if (course.last - course.start) << steps < 1 << 62 else "HUGEINT"
    mark = f"((ts - {course.start})::{kind} << {steps}) | mask"
    leads = "".join(f", lead(m, {n}) OVER nearby AS m{n}" for n in range(1, steps + 1))
    times, go_on = f"{_moment('m', course)} AS t1", "TRUE"
    for n in range(1, steps):
        go_on += f" AND m{n} & {1 << n} <> 0"
        times += f", CASE WHEN {go_on} THEN {_moment(f'm{n}', course)} END AS t{n + 1}"
    near = ["m0", "m", *(f"m{n}" for n in range(1, steps + 1))]
    tied = " OR ".join(f"coalesce({a} >> {steps} = {b} >> {steps}, FALSE)" for a, b in pairwise(near))
    return (
        f"SELECT person, {times}, {tied} AS tied FROM (SELECT person, m, lag(m) OVER nearby AS m0{leads} FROM"  # noqa: S608 - ours; values are parameters
        f" (SELECT person, {mark} AS m FROM ({seen(course)})) WINDOW nearby AS (PARTITION BY person ORDER BY m))"
        f" WHERE m & 1 <> 0 AND {_moment('m', course)} < {course.end}"
    )


def _moment(mark: str, course: Course) -> str:
    return f"(({mark} >> {len(course.steps)})::BIGINT + {course.start})"


def _make_moments(reader: Reader, course: Course) -> None:
    """Make ``starts``: person, codes and times of the moments from each entry on, as far as the window reaches.

    A code is the number of a pattern in the table ``patterns``.
    """
    if course.who == "member":  # else they are all of one person
        course = msgspec.structs.replace(course, events=members_in("tied"))
    sql = (
        f"CREATE TEMP TABLE grouped AS SELECT person, ts, list_sort(list(mask)) AS pattern FROM ({seen(course)})"  # noqa: S608 - ours; values are parameters
        " GROUP BY person, ts"
    )
    reader.rows(sql, used(sql, course.parameters))
    reader.rows(
        "CREATE TEMP TABLE patterns AS SELECT pattern, CAST(row_number() OVER () AS INTEGER) AS code"
        " FROM (SELECT DISTINCT pattern FROM grouped)"
    )
    after = range(1, len(course.steps))
    codes = ", ".join(["code", *(f"lead(code, {n}) OVER later" for n in after)])
    times = ", ".join(["ts", *(f"lead(ts, {n}) OVER later" for n in after)])
    enters = [
        code
        for code, pattern in reader.rows("SELECT code, pattern FROM patterns")
        if furthest(pattern, len(course.steps))[0]
    ]
    reader.rows(
        "CREATE TEMP TABLE starts AS SELECT person, times,"  # noqa: S608 - ours; values are parameters
        " codes[:len(list_filter(times, lambda t: t <= ts + $window))] AS codes FROM"
        f" (SELECT person, ts, code, [{codes}] AS codes, [{times}] AS times FROM grouped JOIN patterns USING (pattern)"
        " WINDOW later AS (PARTITION BY person ORDER BY ts))"
        " WHERE ts < $end AND code IN (SELECT unnest($enters::INTEGER[]))",
        {"window": course.window, "end": course.end, "enters": enters},
    )


def _make_courses(reader: Reader, course: Course) -> None:
    """Make ``courses``: for each sequence of codes that occurs, which of its moments each step falls on."""
    patterns = dict(reader.rows("SELECT code, pattern FROM patterns"))
    sequences = [codes for (codes,) in reader.rows("SELECT DISTINCT codes FROM starts")]
    places = [strict_course([patterns[code] for code in codes], len(course.steps)) for codes in sequences]
    reader.rows(
        "CREATE TEMP TABLE courses AS"
        " SELECT unnest($codes::INTEGER[][]) AS codes, unnest($places::INTEGER[][]) AS places",
        {"codes": sequences, "places": places},
    )
