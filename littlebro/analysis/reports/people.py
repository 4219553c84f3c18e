"""People: who was here, the last seen first, and who has a certain id.

**Who.** Everybody with an event that `query` matches (its range may be open); an anonymous id that was ever seen
with a user is that user. `events`, `first_seen` and `last_seen` are of the events that `query` matches. Whoever has
neither a user nor an anonymous id is nobody.

**Search.** Those with an id that contains `search`, upper and lower case alike: their user id, an anonymous id that
belongs to that user, or one that an event of theirs (in the query's or the alias's collections, at any time) bears.

**Order.** By `last_seen`, the latest first, then by the engine's key of the person. `limit` people a page;
`next_cursor` continues, under the same query and search. `total` counts them all.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

import msgspec

from littlebro.analysis import filters
from littlebro.analysis.question import Person, check_limit, in_zone, moment_of, zone_of
from littlebro.analysis.reader import open_reader
from littlebro.analysis.reports.identity import people_of
from littlebro.analysis.reports.stored import pack, unpack
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Result, Table
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = ["People", "PersonRow", "apeople", "people"]

_SEARCH = (
    "person IN (SELECT person FROM links WHERE contains(lower(user_id), lower($search))"
    " OR contains(lower(anonymous_id), lower($search)) UNION ALL SELECT person FROM people"
    " WHERE contains(lower(user_id), lower($search)) OR contains(lower(anonymous_id), lower($search)))"
)


class PersonRow(msgspec.Struct, frozen=True):
    """One of the people, with the number and the bounds of the events that the query matches."""

    person: Person
    events: int
    first_seen: datetime
    last_seen: datetime


class People(Result, frozen=True, kw_only=True):
    """A page of people, and how many there are altogether."""

    tz: str
    total: int
    rows: list[PersonRow]
    next_cursor: str | None

    def table(self) -> Table:
        """Return a row for each person, with times in the report's zone."""
        zone = zone_of(self.tz)
        return Table(
            ["user_id", "anonymous_id", "events", "first seen", "last seen"],
            [
                [
                    row.person.user_id,
                    row.person.anonymous_id,
                    row.events,
                    in_zone(row.first_seen, zone),
                    in_zone(row.last_seen, zone),
                ]
                for row in self.rows
            ],
        )


def people(
    query: EventQuery | None = None,
    *,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    person: Person | None = None,
) -> People:
    """Return a page of the people that `query` sees; the rules stand at the head of this module.

    `cursor` is the `next_cursor` of the page before; raises `InvalidQuery` for other text.
    """
    check_limit(limit)
    zone = zone_of(tz)
    query = EventQuery() if query is None else query
    if search is not None and not isinstance(search, str):
        raise InvalidQuery("search is text, a part of an id.")
    where, parameters = filters.where(query, person)
    if search and not filters.encodable(search):
        where, parameters = "FALSE", {}  # half a surrogate pair is in no id
    elif search:
        where = f"{where} AND {_SEARCH}"
        parameters["search"] = search
    after = ""
    if cursor is not None:
        ts, key = unpack(cursor, tuple[int, int])
        after = f"WHERE last < {ts} OR (last = {ts} AND person > CAST({key} AS UBIGINT))"
    with open_reader(alias, collections=query.collections) as reader:
        rows: list[tuple[Any, ...]] = reader.rows(
            "WITH found AS MATERIALIZED (SELECT person, count(*) AS events, min(ts) AS first, max(ts) AS last"  # noqa: S608 - ours; values are parameters
            f" FROM people WHERE person IS NOT NULL AND {where} GROUP BY person)"
            f" SELECT person, events, first, last, (SELECT count(*) FROM found) FROM found {after}"
            f" ORDER BY last DESC, person LIMIT {limit + 1}",
            parameters,
        )
        page = rows[:limit]
        return People(
            as_of=reader.as_of,
            tz=str(zone),
            total=rows[0][4] if rows else 0,
            rows=[
                PersonRow(who, events, moment_of(first), moment_of(last))
                for who, (_, events, first, last, _) in zip(
                    people_of(reader, [row[0] for row in page]), page, strict=True
                )
            ],
            next_cursor=pack((page[-1][3], page[-1][0])) if len(rows) > limit else None,
        )


apeople = twin(people)
