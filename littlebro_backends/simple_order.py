"""The order of storing in `simple`: which rows may be read in it without ever missing one.

Keys are given to rows before their transactions commit, so that a smaller key may appear after a greater
one was read. In: a table and the last key read. Out: rows in the order of their keys, up to the first that
might still be overtaken. SQLite has one writer at a time and nothing to wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from littlebro_backends.simple_reading import Table
from littlebro_backends.simple_writing import ADVISORY_LOCK

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

__all__ = ["rows_as_stored", "rows_in_sight", "writers_ended"]

_CHUNK: Final = 1_000
_WAIT: Final = 1.0  # seconds for writers that were under way when the reading began
_SETTLE: Final = 0.02  # seconds for a MariaDB statement that has taken its keys to write the first of them

OpenCursor = Callable[[], AbstractContextManager["CursorWrapper"]]


def rows_as_stored(open_cursor: OpenCursor, table: Table, after: int, in_transaction: bool) -> Iterator[Any]:
    """Yield the rows behind the key `after` in the order of storing; each chunk has a cursor of its own.

    `in_transaction` says that the caller's transaction is open: MariaDB then shows what that one may see.
    """
    with open_cursor() as cursor:
        last = table.last_key(cursor)
        if last <= after or (table.vendor == "postgresql" and not writers_ended(cursor)):
            return
    look_for_gaps = table.vendor == "mysql" and not in_transaction
    if look_for_gaps:
        time.sleep(_SETTLE)
    while True:
        with open_cursor() as cursor:
            keys = _all_keys(cursor, table, after, last) if look_for_gaps else None
            rows = table.stored(cursor, after, last if keys is None else (keys or [after])[-1], _CHUNK)
        whole = rows if keys is None else _before_gap(rows, keys)
        yield from whole
        if not whole or len(whole) < len(rows if keys is None else keys) or whole[-1][0] >= last:
            return
        after = whole[-1][0]


def rows_in_sight(
    open_cursor: OpenCursor, table: Table, after: int, in_transaction: bool
) -> Iterator[tuple[bool, Any]]:
    """Yield (True, row) for the rows of `rows_as_stored`, and then (False, row) for those that can be seen behind them.

    Whatever could be seen when this began is among them.
    """
    with open_cursor() as cursor:
        last = table.last_key(cursor)
    for row in rows_as_stored(open_cursor, table, after, in_transaction):
        after = row[0]
        yield True, row
    while after < last:
        with open_cursor() as cursor:
            rows = table.stored(cursor, after, last, _CHUNK)
        yield from ((False, row) for row in rows)
        after = rows[-1][0] if rows else last


def writers_ended(cursor: CursorWrapper) -> bool:
    """Wait, on PostgreSQL, for those writers that may hold a key below the greatest one in sight.

    Whoever took such a key and has not ended holds the writers' lock now; those who come later get greater
    keys, and need no waiting for. False means that one of them takes its time: come again.
    """
    waiting = _writers(cursor)
    deadline = time.monotonic() + _WAIT
    while waiting and time.monotonic() < deadline:
        time.sleep(0.005)
        waiting &= _writers(cursor)
    return not waiting


def _writers(cursor: CursorWrapper) -> set[str]:
    cursor.execute(
        "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        " AND objsubid = 2 AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ADVISORY_LOCK,
    )
    return {row[0] for row in cursor.fetchall()}


def _all_keys(cursor: CursorWrapper, table: Table, after: int, last: int) -> list[int]:
    """Return the next keys on MariaDB and MySQL, those of transactions that have not ended among them.

    InnoDB lets one see what others have not committed; a key seen here that has no row yet may still get it.
    """
    cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    cursor.execute(
        f"SELECT id FROM {table.name} WHERE id > %s AND id <= %s ORDER BY id LIMIT %s",  # noqa: S608 - our own table
        [after, last, _CHUNK],
    )
    return [row[0] for row in cursor.fetchall()]


def _before_gap(rows: list[Any], keys: list[int]) -> list[Any]:
    """Return the rows that come before the first of `keys` for which there is no row.

    Among them those that came in between the look at the keys and the look at the rows: nobody reads them later.
    """
    there = {row[0] for row in rows}
    gap = next((key for key in keys if key not in there), None)
    return [row for row in rows if gap is None or row[0] < gap]
