"""The fast lane of `simple` out of PostgreSQL: rows leave by COPY, as CSV, without becoming events on the way.

In: the key to start behind. Out: bytes, and the last keys. The order of storing is that of
`littlebro_backends.simple_order`, and ends where that ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from littlebro_backends.simple_order import writers_ended
from littlebro_backends.simple_reading import Table

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

__all__ = ["copy_rows"]

_COLUMNS: Final = (
    "event_id, collection, name, \"timestamp\" AT TIME ZONE 'UTC', received_at AT TIME ZONE 'UTC', user_id,"
    " anonymous_id, params, context"
)

OpenCursor = Callable[[], AbstractContextManager["CursorWrapper"]]


def copy_rows(
    open_cursor: OpenCursor,
    table: Table,
    after: int,
    limit: int,
    recent: int,
    write: Callable[[bytes], object],
) -> Sequence[str]:
    """Write up to `limit` rows behind the key `after`; return the last `recent` keys as positions."""
    with open_cursor() as cursor:
        last = table.last_key(cursor)
        if last <= after or not writers_ended(cursor):
            return ()
        behind = f"FROM {table.name} WHERE id > {after:d} AND id <= {last:d}"
        cursor.execute(f"SELECT id {behind} ORDER BY id OFFSET {limit - 1:d} LIMIT 1")
        if (row := cursor.fetchone()) is not None:
            last = int(row[0])
        behind = f"FROM {table.name} WHERE id > {after:d} AND id <= {last:d}"
        statement = f"COPY (SELECT {_COLUMNS} {behind} ORDER BY id) TO STDOUT (FORMAT csv)"
        with cursor.connection.cursor() as raw, cursor.db.wrap_database_errors, raw.copy(statement) as rows:
            for block in rows:
                write(block)
        cursor.execute(f"SELECT id {behind} ORDER BY id DESC LIMIT {recent:d}")
        return tuple(str(key) for (key,) in reversed(cursor.fetchall()))
