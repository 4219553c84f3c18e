"""The fast lane of `simple` into PostgreSQL: a batch of new events goes in by COPY.

COPY cannot skip what is there already, so it is tried first and given up at the first sign of trouble: the
statement of `littlebro_backends.simple_writing` then does it all over, and says what is wrong in words that hold
no row (COPY's own errors quote the line they stumbled over).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from django.db import Error, transaction

from littlebro_backends.simple_writing import ADVISORY_LOCK, COLUMNS, loses_floats

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from littlebro.events.event import Event

__all__ = ["copied", "has_copy"]

# Below so many events the round trips of a transaction cost more than COPY saves.
_WORTH_IT: Final = 20
_NULL: Final = "\0"  # no text that PostgreSQL can keep holds it
_LOCK: Final = f"SELECT pg_advisory_xact_lock_shared({ADVISORY_LOCK[0]}, {ADVISORY_LOCK[1]})"

_encode: Final = msgspec.json.encode


def copied(connection: BaseDatabaseWrapper, table: str, events: Sequence[Event]) -> bool:
    """Store `events`, none of which is there yet; return False, with nothing stored, where that did not work.

    Raises what the driver raises where the connection is gone. `table` is the quoted name.
    """
    if len(events) < _WORTH_IT or not has_copy(connection):
        return False
    text = _rows(events)
    if text is None:
        return False
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(_LOCK)
            statement = f"COPY {table} ({', '.join(COLUMNS)}) FROM STDIN"
            with connection.wrap_database_errors, cursor.copy(statement) as copy:
                copy.write(text)
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) is None:
            raise
        return False
    return True


def has_copy(connection: BaseDatabaseWrapper) -> bool:
    """Return whether this is PostgreSQL, through a driver that can COPY."""
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415 - needs the driver

    return is_psycopg3


def _rows(events: Sequence[Event]) -> str | None:
    """Return the rows in COPY's text format, or None for what it would not carry exactly.

    https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
    """
    try:
        moments = (
            _encode([(event.timestamp, event.received_at) for event in events]).decode()[3:-3].split("],[")
        )
        lines = [
            "\t".join(
                (
                    event.collection, event.id, event.name, moment.replace('","', "\t").strip('"'),
                    _encode(event.params).decode(), _encode(event.context).decode(),
                    _NULL if event.user_id is None else event.user_id,
                    _NULL if event.anonymous_id is None else event.anonymous_id,
                    str(event.v),
                )
            )
            for event, moment in zip(events, moments, strict=True)
        ]  # fmt: skip
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return None  # the other way says which event it is
    text = "\n".join(lines)
    nulls = sum((event.user_id is None) + (event.anonymous_id is None) for event in events)
    tabs, breaks = (len(COLUMNS) - 1) * len(events), len(events) - 1
    if (text.count("\t"), text.count("\n"), text.count(_NULL)) != (tabs, breaks, nulls):
        return None
    if "\r" in text or loses_floats(text.encode()):
        return None
    return text.replace("\\", "\\\\").replace(_NULL, "\\N") + "\n"
