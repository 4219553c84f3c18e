"""Paths: what people do one after the other, forward from an event, backward to one, or from a session's start.

**What is looked at.** The events of people (those with a user or an anonymous id) that `query` and `person` match;
none later than `now`. Order is (timestamp, id, collection).

**Sessions.** A person's events, cut wherever `gap` (30 minutes) or more passes without any: silence is that between
two events, repeats among them. What lies outside the range is not there: a session that the range cuts begins or
ends with it.

**Repeats.** Within a session, events of the same name that follow each other are one; this is done before anything
below, so that no step of a path and no number is spent on them.

**Paths.** One a session. Without `start` and `end`, from the session's first event on. With `start`, from the session's
first event of that name on; with `end`, from the session's first event of that name backwards, so that step 0 is that
event and step 1 the one before it. Sessions without it have no path. A path is cut after `steps` events.

**Numbers.** A node is an event name at a step (from 0): the `sessions` whose path has it there, and the `people` of
those. `ended` counts the sessions that have nothing further in that direction (at the last step too: what follows is
looked at although it is not shown), `dropped` the people none of whose sessions at this node goes on from it. A link
leads from a node to one at the next step. Sessions add up: a node's are those of its links and `ended` (the
last step has no links). People need not, since one person has several sessions. At each step the `limit` names of the
most sessions (ties: by name) are nodes of their own, the others together are one, of kind "other".
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import reduce
from operator import or_
from typing import Any, Final, Literal

import msgspec

from littlebro.analysis import filters
from littlebro.analysis.cache import answered
from littlebro.analysis.crowds import Crowd, gathered, members, members_in, most_cells
from littlebro.analysis.question import Person, Span, check_limit, microseconds, span_of
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import OTHER, Key, Result, Table
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = ["PathLink", "PathNode", "Paths", "apaths", "paths"]

Direction = Literal["forward", "backward"]

_MOST_STEPS: Final = 20
_MOST_NODES: Final = 100
_MICROSECOND: Final = timedelta(microseconds=1)
_OTHER: Final = 0  # names are numbered from 1
_END: Final = 255  # no slot
_FEW: Final = 32_000  # names whose codes fit into two bytes


class _Asked(msgspec.Struct, frozen=True):
    """What is asked of the range."""

    query: EventQuery
    person: Person | None
    direction: Direction
    anchor: str | None
    steps: int
    limit: int
    gap: timedelta


class PathNode(msgspec.Struct, frozen=True):
    """A name (kind "value") or all others (kind "other") at one step; see the module for the numbers."""

    step: int
    key: Key
    people: int
    sessions: int
    dropped: int
    ended: int


class PathLink(msgspec.Struct, frozen=True):
    """From `source` at `step` to `target` at the next one."""

    step: int
    source: Key
    target: Key
    people: int
    sessions: int


class Paths(Result, frozen=True, kw_only=True):
    """Nodes and links, both by step and then by sessions, others last; `people` and `sessions` have a path."""

    start: datetime
    end: datetime
    tz: str
    direction: Direction
    anchor: str | None
    steps: int
    gap: timedelta
    people: int
    sessions: int
    nodes: list[PathNode]
    links: list[PathLink]

    def table(self) -> Table:
        """Return a row for each link, and one without "to" for what ends at a node."""
        rows: list[list[Any]] = []
        for node in self.nodes:
            rows += [
                [link.step, link.source.label, link.target.label, link.people, link.sessions]
                for link in self.links
                if link.step == node.step and link.source == node.key
            ]
            if node.ended:
                rows.append([node.step, node.key.label, None, node.dropped, node.ended])
        return Table(["step", "from", "to", "people", "sessions"], rows)


def paths(
    query: EventQuery,
    *,
    start: str | None = None,
    end: str | None = None,
    steps: int = 5,
    limit: int = 10,
    gap: timedelta = timedelta(minutes=30),
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Paths:
    """Return the paths of sessions within the query's range; the rules stand at the head of this module.

    `start` or `end` is the name of an event. Raises `InvalidQuery` for what makes no sense.
    """
    span = span_of(query, tz, now)
    check_limit(steps, "steps", _MOST_STEPS)
    check_limit(limit, "limit", _MOST_NODES)
    if start is not None and end is not None:
        raise InvalidQuery("Paths lead forward from start or backward to end, not both.")
    if not isinstance(gap, timedelta) or gap <= timedelta(0):
        raise InvalidQuery("gap is a timedelta of more than nothing.")
    direction: Direction = "forward" if end is None else "backward"
    asked = _Asked(query, person, direction, end if start is None else start, steps, limit, gap)
    with open_reader(alias, collections=query.collections, start=span.start, end=span.end) as reader:
        return answered(reader, span, ("paths", asked), lambda: _answer(reader, asked, span))


apaths = twin(paths)


def _answer(reader: Reader, asked: _Asked, span: Span) -> Paths:
    names = _number_names(reader, asked.query)
    source = _collapse(reader, asked, span, "USMALLINT" if len(names) <= _FEW else "UINTEGER")
    anchor = None if asked.anchor is None else names.get(asked.anchor, -1)
    walks = _walks(source, anchor, asked.steps, backward=asked.direction == "backward")
    reader.rows(f"CREATE TEMP TABLE walks AS {walks}")
    people, sessions = reader.rows("SELECT count(DISTINCT person), count(*) FROM walks")[0]
    nodes, links = _counted(reader, {n: name for name, n in names.items()}, asked.steps, asked.limit)
    return Paths(
        as_of=reader.as_of,
        start=span.start,
        end=span.end,
        tz=span.tz,
        direction=asked.direction,
        anchor=asked.anchor,
        steps=asked.steps,
        gap=asked.gap,
        people=people,
        sessions=sessions,
        nodes=nodes,
        links=links,
    )


def _number_names(reader: Reader, query: EventQuery) -> dict[str, int]:
    """Make the table ``names`` (name, n from 1) and return it: numbers sort and move quicker than text."""
    where, parameters = filters.where(EventQuery(names=query.names))
    reader.rows(
        "CREATE TEMP TABLE names AS SELECT name, CAST(row_number() OVER () AS UINTEGER) AS n"
        f" FROM (SELECT DISTINCT name FROM events WHERE {where})",
        parameters,
    )
    return dict(reader.rows("SELECT name, n FROM names"))


def _collapse(reader: Reader, asked: _Asked, span: Span, kind: str) -> str:
    """Return the SQL of events without repeats: person (a number), place (their order), code.

    A code is twice a name's number, and one more for the first event of a session. Ids are long, and decide only
    between events of one moment: nearly everybody is put in order by time alone, and those for whom that
    leaves a choice once more, whole. Codes are of the type `kind`.
    """
    test, parameters = filters.where(asked.query, asked.person)
    test = f"member IS NOT NULL AND ts <= {microseconds(span.now)} AND {test}"
    fresh = f"coalesce(ts - earlier >= {asked.gap // _MICROSECOND}, TRUE)"
    code = f"CAST(2 * n + CAST({fresh} AS {kind}) AS {kind}) AS code"
    everybody = asked.person is None
    one = f"(SELECT *, {reader.numbers[0]} AS member FROM people)"  # theirs alone: any number will do
    events = members() if everybody else one
    reader.rows(
        f"CREATE TEMP TABLE collapsed AS SELECT person, ts AS place, {code}, coalesce(ts = earlier, FALSE) AS tied FROM"
        f" (SELECT person, ts, n, lag(ts) OVER o AS earlier, lag(n) OVER o AS before"
        f" FROM (SELECT member AS person, ts, CAST(n AS {kind}) AS n FROM {events} JOIN names USING (name)"
        f" WHERE {test})"
        f" WINDOW o AS (PARTITION BY person ORDER BY ts)) WHERE {fresh} OR n <> before OR ts = earlier",
        parameters,
    )
    reader.rows("CREATE TEMP TABLE tied AS SELECT DISTINCT person FROM collapsed WHERE tied")
    if not reader.rows("SELECT 1 FROM tied LIMIT 1"):
        return "SELECT person, place, code FROM collapsed"
    theirs = members_in("tied") if everybody else one
    reader.rows(
        f"CREATE TEMP TABLE ordered AS SELECT person, place, {code} FROM"
        f" (SELECT person, ts, n, lag(ts) OVER o AS earlier, lag(n) OVER o AS before, row_number() OVER o AS place"
        f" FROM (SELECT member AS person, ts, id, collection, CAST(n AS {kind}) AS n FROM {theirs} JOIN names"
        f" USING (name) WHERE {test})"
        f" WINDOW o AS (PARTITION BY person ORDER BY ts, id, collection)) WHERE {fresh} OR n <> before",
        parameters,
    )
    return (
        "SELECT person, place, code FROM collapsed WHERE person NOT IN (FROM tied)"
        " UNION ALL SELECT person, place, code FROM ordered"
    )


def _walks(source: str, anchor: int | None, steps: int, *, backward: bool) -> str:
    """Return the SQL of one row a session: person, n1, n2, … and one name more than is asked for, NULL past its end."""
    move = "lag" if backward else "lead"
    after = range(1, steps + 1)
    moved = "".join(f", {move}(code, {i}) OVER o AS c{i}" for i in after)
    columns = "c0 // 2 AS n1"
    for i in after:
        # Going back, what is before a session's first event is of another one; going on, that first event itself.
        first = range(i) if backward else range(1, i + 1)
        columns += (
            f", CASE WHEN NOT ({' OR '.join(f'c{j} & 1 = 1' for j in first)}) THEN c{i} // 2 END AS n{i + 1}"
        )
    visit, chosen = "", "c0 & 1 = 1"
    if anchor is not None:
        visit = ", place, sum(code & 1) OVER (o ROWS UNBOUNDED PRECEDING) AS visit"
        chosen = (
            f"c0 // 2 = {anchor} QUALIFY row_number() OVER (PARTITION BY person, visit ORDER BY place) = 1"
        )
    return (
        f"SELECT person, {columns} FROM (SELECT person, code AS c0{moved}{visit} FROM ({source})"
        f" WINDOW o AS (PARTITION BY person ORDER BY place)) WHERE {chosen}"
    )


def _counted(
    reader: Reader, names: Mapping[int, str], steps: int, limit: int
) -> tuple[list[PathNode], list[PathLink]]:
    tops = _tops(reader, names, steps, limit)
    nodes, links = [], []
    for step in range(steps):
        sources, targets = [_key(names, n) for n in (*tops[step], _OTHER)], tops[step + 1]
        reader.rows(
            f"CREATE OR REPLACE TEMP TABLE moves AS SELECT person, {_slot(step + 1, tops[step])} AS source,"
            f" {_slot(step + 2, targets)} AS target FROM walks WHERE n{step + 1} IS NOT NULL"
        )
        for source, went in _moves(reader, len(sources), len(targets) + 2).items():
            count, ended = sum(crowd.events for crowd in went.values()), went.get(_END, Crowd())
            on = reduce(or_, (crowd for slot, crowd in went.items() if slot != _END), Crowd())
            people = (on | ended).size
            nodes.append(PathNode(step, sources[source], people, count, people - on.size, ended.events))
            links += [
                PathLink(step, sources[source], _key(names, n), went[slot].size, went[slot].events)
                for slot, n in enumerate((*targets, _OTHER))
                if step + 1 < steps and slot in went
            ]
    return (
        sorted(nodes, key=lambda node: (node.step, *_rank(node.key, node))),
        sorted(links, key=lambda link: (link.step, *_rank(link.target, link), _last(link.source))),
    )


def _moves(reader: Reader, sources: int, targets: int) -> dict[int, dict[int, Crowd]]:
    """Return who went from each source to each target in ``moves``, some sources at a time."""
    found: dict[int, dict[int, Crowd]] = defaultdict(dict)
    some = max(1, most_cells(reader) // targets)
    for first in range(0, sources, some):
        test = f"source >= {first} AND source < {first + some}"
        moves = f"SELECT source * 256 + target AS cell, person FROM moves WHERE {test}"
        for cell, crowd in gathered(reader, moves).items():
            found[cell // 256][cell % 256] = crowd
    return found


def _tops(reader: Reader, names: Mapping[int, str], steps: int, limit: int) -> list[list[int]]:
    """Return for each step the numbers of the names that are nodes of their own; for the one beyond, none."""
    parts = [
        f"SELECT {i} AS step, n{i} AS n, count(*) AS sessions FROM walks WHERE n{i} IS NOT NULL GROUP BY n{i}"
        for i in range(1, steps + 1)
    ]
    found: list[list[int]] = [[] for _ in range(steps + 1)]
    rows = reader.rows(" UNION ALL ".join(parts))
    for step, number, _ in sorted(rows, key=lambda row: (-row[2], names[row[1]])):
        if len(found[step - 1]) < limit:
            found[step - 1].append(number)
    return found


def _slot(number: int, tops: Sequence[int]) -> str:
    """Return the SQL of a node's slot: its place in `tops`, the one behind them for all others, `_END` past the end."""
    named = " ".join(f"WHEN n{number} = {n} THEN {slot}" for slot, n in enumerate(tops))
    return f"CAST(CASE {named} WHEN n{number} IS NULL THEN {_END} ELSE {len(tops)} END AS UTINYINT)"


def _key(names: Mapping[int, str], number: int) -> Key:
    return OTHER if number == _OTHER else Key("value", names[number])


def _last(key: Key) -> tuple[bool, str]:
    return key.kind == "other", key.value or ""


def _rank(key: Key, counted: PathNode | PathLink) -> tuple[bool, int, int, str]:
    return key.kind == "other", -counted.sessions, -counted.people, key.value or ""
