"""The funnel: how many people go from step to step, in how much time, and who they are.

**What is looked at.** The events of people (those with a user or an anonymous id) that `query` and `person` match,
its range aside; none later than `now`. Everything below knows these events only.

**Attempts, ordered.** An entry is a moment (a timestamp) in [start, end) at which the person has an event of the
first step. The attempt of an entry reaches step 1 at that moment, and step n at the earliest moment by which
steps 1 to n can each be given an event of its own, the first step's at the entry's moment, none at an earlier
moment than the step before it; events of one moment may serve in any order. A step counts if it is reached no
later than `window` after the entry (that instant included). So an event that satisfies several steps serves one
of them, and which one is chosen so that the attempt gets furthest.

**Exclusions** (ordered only). ``Exclusion(step, after=0)`` ends an attempt at its first step if an event that
satisfies `step` lies strictly between the moments at which it reached its first and second step; the person counts
up to there, and a later entry may do better.

**Strict.** Nothing lies between: there is an order of the person's events (those that are looked at, from `start`
on) by timestamp, with events of one moment in any order, in which the events of the attempt stand side by side.
The attempt of an entry is the one with the most steps within the window, then with the earliest second step,
third, and so on. Exclusions add nothing.

**Any order.** An entry is a moment in [start, end) at which the person has an event of any step. The attempt
reaches its n-th step at the earliest moment by which n different steps can each be given an event of its own, none
before the entry, within the window. Number n then means "n of the steps". Exclusions are refused.

**Best.** Each person counts once, with the attempt of the most steps; of several, the one of the earliest entry.
Any entry may be the best one's, not only the first.

**Numbers of a step.** `people` reached it. `from_start` and `from_previous` are shares (0 to 1) of those who
reached the first step and the step before; None where nobody did, or there is no step before. `median_seconds` is
the median, over those who reached the step, of the time since the step before; None without any. `open` people went
no further than this step and still may: it is not the last, and `window` after their latest entry is not over
(`now` not later than that instant).

**Groups.** `by` parts the people by the value at that path of the event at step number `by_step` (from 0) of their
best attempt: of the person's events at that moment that satisfy that step (any order: any step), the first by
(id, collection). Kind "none": missing, null, ``""``, or the step was not reached. The `limit` values of the most
people at the first step (ties: by value text) stand alone, others are "other". Groups add up to the whole at each
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import msgspec

from littlebro.analysis import filters
from littlebro.analysis.crowds import members
from littlebro.analysis.question import (
    Path,
    Person,
    Span,
    Step,
    check_choice,
    check_limit,
    check_path,
    microseconds,
    span_of,
)
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports import attempts, strict
from littlebro.analysis.reports.attempts import Course, Order, used
from littlebro.analysis.reports.identity import people_of
from littlebro.analysis.reports.ties import MOST_STEPS
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import ALL, NONE, OTHER, Key, Result, Table
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = [
    "ORDERS",
    "Exclusion",
    "Funnel",
    "FunnelGroup",
    "FunnelStep",
    "afunnel",
    "afunnel_people",
    "funnel",
    "funnel_people",
]

ORDERS: Final = ("ordered", "strict", "any")
_MICROSECOND: Final = timedelta(microseconds=1)


class Exclusion(msgspec.Struct, frozen=True):
    """What must not happen between step number `after` (from 0) and the one that follows it."""

    step: Step
    after: int


class FunnelStep(msgspec.Struct, frozen=True):
    """The people at one step; `label` is the step's, or in any order "2 of 3 steps". See the module for the rest."""

    step: Step
    label: str
    people: int
    from_start: float | None
    from_previous: float | None
    median_seconds: float | None
    open: int


class FunnelGroup(msgspec.Struct, frozen=True):
    """The funnel of those who have one value in common."""

    key: Key
    steps: list[FunnelStep]


class Funnel(Result, frozen=True, kw_only=True):
    """A funnel over all people in `steps`, and, where it was asked `by` a path, by group in `groups`."""

    start: datetime
    end: datetime
    tz: str
    order: Order
    window: timedelta
    steps: list[FunnelStep]
    by: Path | None = None
    by_step: int = 0
    groups: list[FunnelGroup] = msgspec.field(default_factory=list)

    def table(self) -> Table:
        """Return a row for each step, or for each group and step."""
        columns = ["step", "people", "from start", "from previous", "median seconds", "open"]
        if self.by is None:
            return Table(columns, [_row(step) for step in self.steps])
        parts = [FunnelGroup(ALL, self.steps), *self.groups]
        return Table(
            [".".join(self.by), *columns],
            [[part.key.label, *_row(step)] for part in parts for step in part.steps],
        )


def funnel(
    query: EventQuery,
    steps: Sequence[Step],
    *,
    order: Order = "ordered",
    window: timedelta = timedelta(days=14),
    exclude: Sequence[Exclusion] = (),
    by: Path | None = None,
    by_step: int = 0,
    limit: int = 10,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Funnel:
    """Return how many people get how far through `steps` (1 to 15); the rules stand at the head of this module.

    `query` bounds the entries by its range; its other conditions hold for every event. Raises `InvalidQuery`
    for what makes no sense.
    """
    span = span_of(query, tz, now)
    _check(steps, order, window, exclude)
    check_limit(limit)
    if by is not None:
        by = check_path(by)
        _check_number(by_step, len(steps), "by_step")
    with open_reader(alias, collections=query.collections) as reader:
        course = _find(reader, query, steps, order, window, exclude, span, person)
        _group(reader, course, order, by, by_step)
        return Funnel(
            as_of=reader.as_of,
            start=span.start,
            end=span.end,
            tz=span.tz,
            order=order,
            window=window,
            steps=_counted(reader, course, order, span, "'all'")["all", None],
            by=by,
            by_step=by_step,
            groups=_groups(reader, course, order, span, by, limit) if by is not None else [],
        )


def funnel_people(
    query: EventQuery,
    steps: Sequence[Step],
    *,
    step: int,
    dropped: bool = False,
    key: Key | None = None,
    order: Order = "ordered",
    window: timedelta = timedelta(days=14),
    exclude: Sequence[Exclusion] = (),
    by: Path | None = None,
    by_step: int = 0,
    limit: int = 1000,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> list[Person]:
    """Return the people behind a number of a funnel: up to `limit` of those who reached step number `step` (from 0).

    With `dropped`, only those who went no further. With `by` and a `key` of kind "value" or "none", only those of
    that group. The latest entry of best attempts comes first, then the order is that of the engine's keys.
    """
    span = span_of(query, tz, now)
    _check(steps, order, window, exclude)
    _check_number(step, len(steps), "step")
    check_limit(limit)
    if key is not None and (by is None or key.kind not in {"value", "none"}):
        raise InvalidQuery("For the people of a group give by and its key, of kind 'value' or 'none'.")
    if by is not None:
        by = check_path(by)
        _check_number(by_step, len(steps), "by_step")
    with open_reader(alias, collections=query.collections) as reader:
        course = _find(reader, query, steps, order, window, exclude, span, person)
        _group(reader, course, order, by, by_step)
        test = f"reached {'=' if dropped else '>='} {step + 1}"
        keyed = "(SELECT who AS person, text, reached, t1 FROM parted JOIN numbers ON number = person)"
        relation = keyed if person is None else "parted"
        rows = reader.rows(f"SELECT person, text FROM {relation} WHERE {test} ORDER BY t1 DESC, person")  # noqa: S608 - ours
        chosen = [who for who, text in rows if key is None or by is None or filters.key_of(by, text) == key]
        return people_of(reader, chosen[:limit])


afunnel = twin(funnel)
afunnel_people = twin(funnel_people)


def _check(steps: Sequence[Step], order: str, window: timedelta, exclude: Sequence[Exclusion]) -> None:
    if not 1 <= len(steps) <= MOST_STEPS or not all(isinstance(step, Step) for step in steps):
        raise InvalidQuery(f"A funnel has 1 to {MOST_STEPS} steps, each a Step, not {len(steps)}.")
    check_choice(order, ORDERS, "order")
    if not isinstance(window, timedelta) or window <= timedelta(0):
        raise InvalidQuery("window is a timedelta of more than nothing.")
    for exclusion in exclude:
        _check_number(exclusion.after, len(steps) - 1, "The step that an exclusion comes after")
    if exclude and order == "any":
        raise InvalidQuery("Exclusions lie between two steps; in any order there is no between.")


def _check_number(number: object, length: int, label: str) -> None:
    if type(number) is not int or not 0 <= number < length:
        raise InvalidQuery(f"{label} is a number from 0 to {length - 1}, not {number!r:.80}.")


def _find(
    reader: Reader,
    query: EventQuery,
    steps: Sequence[Step],
    order: Order,
    window: timedelta,
    exclude: Sequence[Exclusion],
    span: Span,
    person: Person | None,
) -> Course:
    """Make the table ``attempts``, and return the question as it was put."""
    where, parameters = filters.where(msgspec.structs.replace(query, start=None, end=None), person)
    conditions = []
    for index, step in enumerate(steps):
        condition, values = filters.step(step, prefix=f"s{index}")
        conditions.append(condition)
        parameters.update(values)
    gaps: dict[int, str] = {}
    for index, exclusion in enumerate(exclude):
        condition, values = filters.step(exclusion.step, prefix=f"x{index}")
        gaps[exclusion.after] = (
            f"({gaps[exclusion.after]} OR {condition})" if exclusion.after in gaps else condition
        )
        parameters.update(values)
    end, length = microseconds(span.end), window // _MICROSECOND
    course = Course(
        steps=tuple(steps),
        start=microseconds(span.start),
        end=end,
        last=min(end - 1 + length, microseconds(span.now)),
        window=length,
        events=members() if person is None else "people",
        who="member" if person is None else "person",
        where=where,
        conditions=tuple(conditions),
        gaps=gaps if order == "ordered" else {},
        parameters=parameters,
    )
    if order == "strict":
        strict.find(reader, course)
    else:
        attempts.find(reader, course, order)
    return course


def _group(reader: Reader, course: Course, order: Order, by: Path | None, by_step: int) -> None:
    """Make the table ``parted``: the attempts with the text of their group's value."""
    if by is None:
        reader.rows("CREATE TEMP VIEW parted AS SELECT *, CAST(NULL AS VARCHAR) AS text FROM attempts")
        return
    made = filters.Parameters("by")
    text = filters.key_sql(by, made, table="p")
    test = " OR ".join(course.conditions) if order == "any" else course.conditions[by_step]
    sql = (
        f"CREATE TEMP TABLE parted AS WITH near AS (SELECT * FROM {course.events}"  # noqa: S608 - ours; values are parameters
        f" WHERE ts >= {course.start} AND ts <= {course.last} AND {course.where} AND ({test})),"
        f" first AS (SELECT a.person, arg_min({{'text': {text}}}, (p.id, p.collection)).text AS text FROM near p"
        f" JOIN attempts a ON a.person = p.{course.who} AND a.t{by_step + 1} = p.ts GROUP BY a.person)"
        " SELECT a.*, first.text FROM attempts a LEFT JOIN first USING (person)"
    )
    reader.rows(sql, used(sql, {**course.parameters, **made.values}))


def _groups(
    reader: Reader, course: Course, order: Order, span: Span, by: Path, limit: int
) -> list[FunnelGroup]:
    reader.rows(
        "CREATE TEMP TABLE top AS SELECT text FROM parted WHERE text IS NOT NULL"
        " GROUP BY text ORDER BY count(*) DESC, text LIMIT $limit",
        {"limit": limit},
    )
    kind = (
        "CASE WHEN text IS NULL THEN 'none' WHEN text IN (SELECT text FROM top) THEN 'value' ELSE 'other' END"
    )
    counted = _counted(reader, course, order, span, kind)
    return [
        FunnelGroup(
            filters.key_of(by, text) if kind == "value" else OTHER if kind == "other" else NONE, steps
        )
        for (kind, text), steps in sorted(counted.items(), key=_rank)
    ]


def _rank(item: tuple[tuple[str, str | None], list[FunnelStep]]) -> tuple[int, int, str]:
    (kind, text), steps = item
    return ("value", "other", "none").index(kind), -steps[0].people, text or ""


def _counted(
    reader: Reader, course: Course, order: Order, span: Span, kind: str
) -> dict[tuple[str, str | None], list[FunnelStep]]:
    """Return the steps of each group by kind and text; the kind "all" is there even if nobody is."""
    columns = []
    for n in range(1, len(course.steps) + 1):
        since = f"median(t{n} - t{n - 1}) FILTER (reached >= {n})" if n > 1 else "NULL"
        still = (
            f"reached = {n} AND latest + {course.window} >= {microseconds(span.now)}"
            if n < len(course.steps)
            else "FALSE"
        )
        columns.append(f"count(*) FILTER (reached >= {n}), {since}, count(*) FILTER ({still})")
    rows = reader.rows(
        f"WITH kinds AS (SELECT *, {kind} AS kind FROM parted)"  # noqa: S608 - ours
        f" SELECT kind, CASE kind WHEN 'value' THEN text END AS value, {', '.join(columns)} FROM kinds GROUP BY ALL"
    )
    counted = {(row[0], row[1]): _steps(course, order, row[2:]) for row in rows}
    if kind == "'all'" and not counted:
        counted["all", None] = _steps(course, order, (0, None, 0) * len(course.steps))
    return counted


def _steps(course: Course, order: Order, numbers: Sequence[Any]) -> list[FunnelStep]:
    found: list[FunnelStep] = []
    for index, step in enumerate(course.steps):
        people, median, still = numbers[3 * index : 3 * index + 3]
        first = found[0].people if found else people
        before = found[-1].people if found else None
        label = f"{index + 1} of {len(course.steps)} steps" if order == "any" else step.label
        found.append(
            FunnelStep(
                step=step,
                label=label,
                people=people,
                from_start=people / first if first else None,
                from_previous=people / before if before else None,
                median_seconds=None if median is None else median / 1e6,
                open=still,
            )
        )
    return found


def _row(step: FunnelStep) -> list[Any]:
    return [
        step.label,
        step.people,
        step.from_start,
        step.from_previous,
        step.median_seconds,
        step.open,
    ]
