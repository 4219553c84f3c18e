"""How `simple` asks its database: conditions, pages by key, rows back into events.

In: an `EventQuery` and where to start. Out: SQL with parameters, and events. Pages go by key, never by
OFFSET and without an open cursor, so that memory stays flat and no transaction is held while the caller
thinks.
"""

# ruff: noqa: S608 - the table's name is Django's, everything else is a parameter

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

__all__ = ["Table"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# What comes back must not pass through the driver's or Django's idea of a time zone.
_MOMENT: Final = {
    "postgresql": "(extract(epoch from {0}) * 1000000)::bigint",
    "sqlite": "{0} || '+00:00'",
    "mysql": "{0}",
}
_JSON: Final = {"postgresql": "{0}::text", "sqlite": "{0}", "mysql": "{0}"}

# The same text, of which no planner knows an index.
_HIDE: Final = {"postgresql": "({0} || '')", "sqlite": "+{0}", "mysql": "concat({0}, '')"}

_object: Final = msgspec.json.Decoder(dict[str, Any])


class Table:
    """The table of events in one database: SQL for its vendor, and events from its rows."""

    def __init__(self, connection: BaseDatabaseWrapper, name: str) -> None:
        self.vendor = connection.vendor
        self.name = connection.ops.quote_name(name)
        self._quote = connection.ops.quote_name
        moment, json = _MOMENT[self.vendor], _JSON[self.vendor]
        self._select = (
            f"SELECT id, event_id, name, {moment.format(self._quote('timestamp'))},"
            f" {moment.format('received_at')}, {json.format('params')}, {json.format('context')}, user_id,"
            f" anonymous_id, collection, v FROM {self.name}"
        )

    def conditions(
        self, query: EventQuery, hidden: frozenset[str] = frozenset()
    ) -> tuple[list[str], list[Any]]:
        """Return the conditions that the database can judge, and their parameters; `where` is the core's.

        No index is looked for that starts with one of the `hidden` columns.
        """
        time_column = self._quote("timestamp")
        sql: list[str] = []
        params: list[Any] = []
        for name, values in (("name", query.names), ("collection", query.collections)):
            column = _HIDE[self.vendor].format(name) if name in hidden else name
            if values is not None:
                known = [value for value in values if _storable(value)]
                sql.append(f"{column} IN ({', '.join(['%s'] * len(known))})" if known else "1 = 0")
                params += known
        for column, text in (("user_id", query.user_id), ("anonymous_id", query.anonymous_id)):
            if text is not None:
                sql.append(f"{column} = %s" if _storable(text) else "1 = 0")
                params += [text] if _storable(text) else []
        for operator, moment in ((">=", query.start), ("<", query.end)):
            if moment is not None:
                sql.append(f"{time_column} {operator} %s")
                params.append(self._moment(moment))
        return sql, params

    def page(self, cursor: CursorWrapper, query: EventQuery, after: Position | None, limit: int) -> list[Any]:
        """Return the next `limit` rows behind `after`, in the order of reading."""
        hint, hidden = self._guidance(query)
        sql, params = self.conditions(query, hidden)
        if after is not None:
            more, values = self._behind(after, query.newest_first)
            sql.append(more)
            params += values
        way = "DESC" if query.newest_first else "ASC"
        order = ", ".join(
            f"{column} {way}" for column in (self._quote("timestamp"), "event_id", "collection")
        )
        cursor.execute(f"{self._select}{hint}{_where(sql)} ORDER BY {order} LIMIT %s", [*params, limit])
        return list(cursor.fetchall())

    def _guidance(self, query: EventQuery) -> tuple[str, frozenset[str]]:
        """Return what makes the planner read a page as one range of an index: a hint, and columns to hide.

        Left alone, SQLite and MariaDB take the unique index for any collection, and every database the name's for
        several names: each page would then sort all that is left of the table.
        """
        if query.user_id is not None or query.anonymous_id is not None:
            return "", frozenset()
        several = query.names is not None and len(query.names) > 1
        hidden = {"name"} if several else set()
        if self.vendor != "postgresql":  # PostgreSQL counts: a rare collection is found by its index there
            hidden.add("collection")
        if self.vendor != "mysql":
            return "", frozenset(hidden)
        index = "littlebro_event_name" if query.names and not several else "littlebro_event_order"
        return f" FORCE INDEX ({index})", frozenset(hidden)

    def stored(self, cursor: CursorWrapper, after: int, last: int, limit: int) -> list[Any]:
        """Return the next `limit` rows in the order of storing, keys in (after, last]."""
        cursor.execute(
            f"{self._select} WHERE id > %s AND id <= %s ORDER BY id LIMIT %s", [after, last, limit]
        )
        return list(cursor.fetchall())

    def count(self, cursor: CursorWrapper, query: EventQuery) -> int:
        """Return how many rows fulfil the conditions that the database can judge."""
        sql, params = self.conditions(query)
        cursor.execute(f"SELECT count(*) FROM {self.name}{_where(sql)}", params)
        return int(cursor.fetchone()[0])

    def last_key(self, cursor: CursorWrapper) -> int:
        """Return the greatest key in sight, 0 in an empty table."""
        cursor.execute(f"SELECT max(id) FROM {self.name}")
        return int(cursor.fetchone()[0] or 0)

    def keys(self, cursor: CursorWrapper, query: EventQuery, last: int, limit: int) -> list[int]:
        """Return some keys up to `last` of rows that fulfil the query, in whatever order is cheapest."""
        sql, params = self.conditions(query)
        sign = "+" if self.vendor == "sqlite" else ""  # or SQLite walks the whole table by key
        sql.append(f"{sign}id <= %s")
        cursor.execute(f"SELECT id FROM {self.name}{_where(sql)} LIMIT %s", [*params, last, limit])
        return [row[0] for row in cursor.fetchall()]

    def delete(self, cursor: CursorWrapper, keys: Sequence[int]) -> int:
        """Delete the rows of these keys; return how many there still were."""
        cursor.execute(f"DELETE FROM {self.name} WHERE id IN ({', '.join(['%s'] * len(keys))})", keys)
        return int(cursor.rowcount)

    def event(self, row: Sequence[Any]) -> Event:
        """Return the event that a row of `page` or `stored` holds."""
        return Event(
            id=row[1], name=row[2], timestamp=self._aware(row[3]), received_at=self._aware(row[4]),
            params=_object.decode(row[5]), context=_object.decode(row[6]),
            user_id=row[7], anonymous_id=row[8], collection=row[9], v=row[10],
        )  # fmt: skip

    def _behind(self, after: Position, newest_first: bool) -> tuple[str, list[Any]]:
        moment, event_id, collection = after
        if not (_storable(event_id) and _storable(collection)):
            raise InvalidQuery("This is no cursor of ours; ask again without one, from the start.")
        at, sign, stamp = self._moment(moment), "<" if newest_first else ">", self._quote("timestamp")
        if self.vendor != "mysql":
            return f"({stamp}, event_id, collection) {sign} (%s, %s, %s)", [at, event_id, collection]
        # MariaDB and MySQL find no range in a comparison of rows.
        sql = (
            f"{stamp} {sign}= %s AND ({stamp} {sign} %s OR event_id {sign} %s"
            f" OR (event_id = %s AND collection {sign} %s))"
        )
        return sql, [at, at, event_id, event_id, collection]

    def _moment(self, moment: datetime) -> Any:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:  # the first or last day of the calendar, seen from another time zone
            moment = moment.replace(tzinfo=UTC)
        return moment if self.vendor == "postgresql" else str(moment.replace(tzinfo=None))

    def _aware(self, value: Any) -> datetime:
        if self.vendor == "postgresql":
            return _EPOCH + timedelta(microseconds=value)
        if self.vendor == "sqlite":
            return datetime.fromisoformat(value)
        moment: datetime = value.replace(tzinfo=UTC)
        return moment


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _storable(text: str) -> bool:
    """Return whether any row could hold `text`; the drivers raise for what none could."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
