"""Live: what came in last, and how many people are there now.

**Events.** The newest as they were received, wherever their own timestamps lie: by (received_at, id, collection)
backwards, the first `limit` of those that `query` matches (None: all of the alias's collection; its range is of the
timestamps).

**People.** `people_5` and `people_30` count the different people, anonymous ids followed to their users, with an event
that `query` matches whose timestamp lies in the 5 or 30 minutes up to `now`, both ends included. Old events that
arrive late make nobody active, nor do those of the future.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final, Literal

from littlebro.analysis import filters
from littlebro.analysis.question import Person, at_or_now, check_limit, in_zone, microseconds, zone_of
from littlebro.analysis.reader import open_reader
from littlebro.analysis.reports.stored import newest, page_range
from littlebro.analysis.reports.twins import twin
from littlebro.analysis.result import Result, Table
from littlebro.events.event import Event
from littlebro.events.query import EventQuery

__all__ = ["Live", "alive", "live"]

_MINUTE: Final = 60_000_000  # microseconds


class Live(Result, frozen=True, kw_only=True):
    """The newest events, the last received first, and the people of the last minutes up to `now`."""

    now: datetime
    tz: str
    people_5: int
    people_30: int
    events: list[Event]

    def table(self) -> Table:
        """Return a row for each event, with times in the report's zone."""
        zone = zone_of(self.tz)
        return Table(
            [
                "received",
                "timestamp",
                "name",
                "user_id",
                "anonymous_id",
                "params",
                "context",
                "collection",
                "id",
            ],
            [
                [
                    in_zone(event.received_at, zone),
                    in_zone(event.timestamp, zone),
                    event.name,
                    event.user_id,
                    event.anonymous_id,
                    event.params,
                    event.context,
                    event.collection,
                    event.id,
                ]
                for event in self.events
            ],
        )


def live(
    query: EventQuery | None = None,
    *,
    limit: int = 50,
    alias: str = "default",
    tz: str | tzinfo | None = None,
    now: datetime | None = None,
    person: Person | None = None,
) -> Live:
    """Return the `limit` newest events and who is active; the rules stand at the head of this module."""
    check_limit(limit)
    zone, moment = zone_of(tz), at_or_now(now)
    query = EventQuery() if query is None else query
    where, parameters = filters.where(query, person)
    last = microseconds(moment)  # numbers reach back further than the calendar
    half, five = (last - minutes * _MINUTE for minutes in (30, 5))
    with open_reader(alias, collections=query.collections) as reader:
        people_30, people_5 = reader.rows(
            "SELECT count(DISTINCT person), count(DISTINCT person) FILTER (ts >= "  # noqa: S608 - ours; values are parameters
            f"{five}) FROM people WHERE ts >= {half} AND ts <= {last} AND {where}",
            parameters,
        )[0]
        table: Literal["events", "people"] = "events" if person is None else "people"
        source = f"(SELECT received FROM {table} WHERE {where})"  # noqa: S608 - ours; values are parameters
        page = page_range(reader, source, parameters, limit, by="received")
        return Live(
            as_of=reader.as_of,
            now=moment,
            tz=str(zone),
            people_5=people_5,
            people_30=people_30,
            events=[]
            if page is None
            else newest(reader, [where], parameters, limit, page, table=table, by="received"),
        )


alive = twin(live)
