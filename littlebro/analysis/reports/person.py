"""One person: what they did, newest first, since when they are known, and which ids are theirs.

**Who.** The person that `who` resolves to: an anonymous id that was ever seen with a user is that user. Theirs are the
events with that user id, and those without any user id whose anonymous id belongs to that user. An anonymous id belongs
to the first user, by (timestamp, id, collection), that it was seen with, in any collection.

**What is looked at.** Their events that `query` matches; None is all of the alias's collection. The range may be
open. Nothing is left out because it lies in the future.

**Timeline.** By (timestamp, id, collection) backwards, `limit` events a page; `next_cursor` continues it, under the
same query and for the same person only.

**Names.** Each with its number of events, the first and the last, over everything that is looked at and not the page
alone; the most events first, then by name. `first_seen` and `last_seen` bound them all.

**Links.** Every anonymous id that belongs to the person, or that an event that is looked at bears, with the user it
belongs to: another one where several people share a device; None (no user) only for an id never seen with one. In
the order of the anonymous ids' text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from littlebro.analysis import filters
from littlebro.analysis.question import Person, check_limit, in_zone, microseconds, moment_of, zone_of
from littlebro.analysis.reader import Reader, open_reader
from littlebro.analysis.reports.stored import Before, newest, pack, page_range, unpack
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Result, Table
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = ["IdLink", "NameCount", "PersonReport", "aperson", "person"]

_MOST_PARTS: Final = 8


class NameCount(msgspec.Struct, frozen=True):
    """How often a person did something, and when first and last."""

    name: str
    events: int
    first_seen: datetime
    last_seen: datetime


class IdLink(msgspec.Struct, frozen=True):
    """An anonymous id of a person's, and the user it belongs to."""

    anonymous_id: str
    user_id: str | None


class PersonReport(Result, frozen=True, kw_only=True):
    """A person and a page of their timeline; `first_seen` is None where there are no events."""

    person: Person
    tz: str
    events: int
    first_seen: datetime | None
    last_seen: datetime | None
    names: list[NameCount]
    links: list[IdLink]
    timeline: list[Event]
    next_cursor: str | None

    def table(self) -> Table:
        """Return a row for each event of the page, with its time in the report's zone."""
        zone = zone_of(self.tz)
        return Table(
            ["timestamp", "name", "params", "context", "user_id", "anonymous_id", "collection", "id"],
            [
                [
                    in_zone(event.timestamp, zone),
                    event.name,
                    event.params,
                    event.context,
                    event.user_id,
                    event.anonymous_id,
                    event.collection,
                    event.id,
                ]
                for event in self.timeline
            ],
        )


def person(
    who: Person,
    query: EventQuery | None = None,
    *,
    limit: int = 50,
    cursor: str | None = None,
    alias: str = "default",
    tz: str | tzinfo | None = None,
) -> PersonReport:
    """Return what is known of `who` and a page of `limit` events; the rules stand at the head of this module.

    `cursor` is the `next_cursor` of the page before. Raises `InvalidQuery` for a cursor of another person's.
    """
    check_limit(limit)
    zone = zone_of(tz)
    query = EventQuery() if query is None else query
    with open_reader(alias, collections=query.collections) as reader:
        found, owned = _resolve(reader, who)
        before = _before(found, cursor)
        where, parameters = filters.where(query)
        keys = [found.who, *owned.values()]
        reader.rows(
            "CREATE TEMP TABLE mine AS SELECT name, ts, who, anonymous_id FROM events"  # noqa: S608 - ours; values are parameters
            f" WHERE who IN ({', '.join(map(_number, keys))}) AND {where}",
            parameters,
        )
        names = [
            NameCount(name, events, moment_of(first), moment_of(last))
            for name, events, first, last in reader.rows(
                "SELECT name, count(*), min(ts), max(ts) FROM mine GROUP BY name ORDER BY count(*) DESC, name"
            )
        ]
        timeline = _page(reader, where, parameters, limit + 1, before)
        return PersonReport(
            as_of=reader.as_of,
            person=found,
            tz=str(zone),
            events=sum(each.events for each in names),
            first_seen=min((each.first_seen for each in names), default=None),
            last_seen=max((each.last_seen for each in names), default=None),
            names=names,
            links=_links(reader, found, owned),
            timeline=timeline[:limit],
            next_cursor=_cursor(found, timeline[limit - 1]) if len(timeline) > limit else None,
        )


aperson = twin(person)


def _resolve(reader: Reader, who: Person) -> tuple[Person, dict[str, int]]:
    """Return the person, and the anonymous ids that belong to them with the engine's keys of these."""
    if who.user_id is None:
        linked = reader.rows("SELECT user_id FROM links WHERE anon = $who", {"who": who.who})
        if not linked:
            return who, {}
        who = Person(user_id=linked[0][0])
    return who, dict(
        reader.rows("SELECT anonymous_id, anon FROM links WHERE person = $who", {"who": who.who})
    )


def _page(
    reader: Reader, where: str, parameters: Mapping[str, Any], limit: int, before: Before | None
) -> list[Event]:
    page = page_range(reader, "mine", {}, limit, before=before)
    if page is None:
        return []
    keys = reader.rows(f"SELECT DISTINCT who FROM mine WHERE ts >= {page.low} AND ts <= {page.high}")  # noqa: S608 - ours
    tests = [f"who = {_number(key)} AND {where}" for (key,) in keys]
    if len(tests) > _MOST_PARTS:
        tests = [f"who IN ({', '.join(_number(key) for (key,) in keys)}) AND {where}"]
    return newest(reader, tests, parameters, limit, page, before=before)


def _links(reader: Reader, who: Person, owned: Mapping[str, int]) -> list[IdLink]:
    found = dict.fromkeys(owned, who.user_id)
    found.update(
        reader.rows(
            "SELECT anonymous_id, user_id FROM (SELECT DISTINCT anonymous_id FROM mine"
            " WHERE anonymous_id IS NOT NULL) LEFT JOIN links USING (anonymous_id)"
        )
    )
    return [IdLink(anonymous, user) for anonymous, user in sorted(found.items())]


def _number(key: int) -> str:
    return f"CAST({key} AS UBIGINT)"


def _before(who: Person, cursor: str | None) -> Before | None:
    if cursor is None:
        return None
    key, moment, name, collection = unpack(cursor, tuple[str, int, str, str])
    if key != who.key:
        raise InvalidQuery("The cursor belongs to another person; start without it.")
    return Before(moment, name, collection)


def _cursor(who: Person, last: Event) -> str:
    return pack((who.key, microseconds(last.timestamp), last.id, last.collection))
