"""How `simple` writes a batch: for each database the one statement that is its fastest idempotent write.

In: an open cursor and events sorted by (collection, id). Out: how many were stored and how many were there.
Times go out in UTC, as `littlebro.fields.UTCDateTimeField` keeps them.
"""

# ruff: noqa: S608 - the table's name is Django's, everything else is a parameter

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from littlebro.events.event import Event

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

__all__ = ["ADVISORY_LOCK", "COLUMNS", "WRITERS", "chunks", "loses_floats", "writing_cursor"]

Outcome = tuple[int, int | None]

CHUNK_EVENTS: Final = 2_000
CHUNK_BYTES: Final = 4 * 1024 * 1024

# Held, shared, by every writer until its transaction ends, so that the reader in order of storing can tell
# whether a smaller key may still appear. "lbro" and "evnt" as ASCII; no application will use this pair.
ADVISORY_LOCK: Final = (0x6C62726F, 0x65766E74)

COLUMNS: Final = (
    "collection", "event_id", "name", '"timestamp"', "received_at", "params", "context", "user_id",
    "anonymous_id", "v",
)  # fmt: skip

_POSTGRESQL: Final = f"""
WITH writing AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({ADVISORY_LOCK[0]}, {ADVISORY_LOCK[1]}))
INSERT INTO {{table}} ({", ".join(COLUMNS)})
SELECT e.collection, e.id, e.name, e."timestamp", e.received_at, e.params, e.context,
    e.user_id, e.anonymous_id, e.v
FROM writing, jsonb_to_recordset(%s::jsonb) AS e(
    collection text, id text, name text, "timestamp" timestamptz, received_at timestamptz,
    params jsonb, context jsonb, user_id text, anonymous_id text, v smallint)
ON CONFLICT (collection, event_id) DO NOTHING"""

_SQLITE: Final = f"""
INSERT INTO {{table}} ({", ".join(COLUMNS)}) VALUES ({", ".join(["%s"] * len(COLUMNS))})
ON CONFLICT (collection, event_id) DO NOTHING"""

# INSERT IGNORE would cut and coerce what does not fit; this touches nothing of a row that is there.
_MYSQL: Final = (
    f"INSERT INTO {{table}} ({', '.join(COLUMNS).replace(chr(34), '`')})"
    f" VALUES ({', '.join(['%s'] * len(COLUMNS))}) ON DUPLICATE KEY UPDATE id = "
)

# jsonb keeps numbers as decimals: 1e23 would come back as an integer. msgspec writes an exponent from 1e16
# on, right before a comma or a bracket; a text that looks like it costs a little time and no more.
_EXPONENT: Final = re.compile(rb"e[1-9]\d{1,2}[,\]}]")
_LARGE: Final = 1e16

_encode: Final = msgspec.json.encode


def loses_floats(encoded: bytes) -> bool:
    """Return whether JSON may hold a float that jsonb would give back as an integer."""
    return _EXPONENT.search(encoded) is not None


def writing_cursor(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Open the cursor to write with: on PostgreSQL one that hands the batch over as a parameter.

    Django's own quotes parameters into the statement, unless a setting says otherwise: another sixth of the time.
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415 - PostgreSQL alone has it

    if not is_psycopg3:
        return connection.cursor()
    from psycopg import Cursor  # noqa: PLC0415 - an extra

    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_thread_sharing()
    make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return make(Cursor(connection.connection))  # type: ignore[arg-type]


def chunks(events: Sequence[Event]) -> list[Sequence[Event]]:
    """Cut a batch so that no statement grows without bound; most batches are one chunk."""
    if len(events) <= CHUNK_EVENTS:
        return [events]
    return [events[start : start + CHUNK_EVENTS] for start in range(0, len(events), CHUNK_EVENTS)]


def _write_postgresql(cursor: CursorWrapper, table: str, events: Sequence[Event]) -> Outcome:
    """Send the batch as one JSON text, which is as fast as COPY and can skip what is there."""
    encoded = _encode(events)
    if len(encoded) > CHUNK_BYTES and len(events) > 1:
        half = len(events) // 2
        stored, known = _write_postgresql(cursor, table, events[:half])
        more, more_known = _write_postgresql(cursor, table, events[half:])
        return stored + more, (known or 0) + (more_known or 0)
    if loses_floats(encoded):
        encoded = _encode([_spelt_out(event) for event in events])
    cursor.execute(_POSTGRESQL.format(table=table), [encoded.decode()])
    return cursor.rowcount, len(events) - cursor.rowcount


def _write_sqlite(cursor: CursorWrapper, table: str, events: Sequence[Event]) -> Outcome:
    cursor.executemany(_SQLITE.format(table=table), _rows(events))
    return cursor.rowcount, len(events) - cursor.rowcount


def _write_mysql(cursor: CursorWrapper, table: str, events: Sequence[Event]) -> Outcome:
    """Write through the driver's many-row INSERT.

    Django sets FOUND_ROWS, under which a row that was there counts as much as a new one. MariaDB counts them in a
    variable; MySQL is about to forbid that, and cannot tell.
    """
    statement = _MYSQL.format(table=table)
    if not cursor.db.mysql_is_mariadb:
        cursor.executemany(statement + "id", _rows(events))
        return len(events), None
    cursor.execute("SET @littlebro_known := 0")
    cursor.executemany(
        statement + "IF((@littlebro_known := @littlebro_known + 1) > 0, id, id)", _rows(events)
    )
    cursor.execute("SELECT @littlebro_known")
    known = int(cursor.fetchone()[0])
    return len(events) - known, known


WRITERS: Final[Mapping[str, Callable[[CursorWrapper, str, Sequence[Event]], Outcome]]] = {
    "postgresql": _write_postgresql,
    "sqlite": _write_sqlite,
    "mysql": _write_mysql,
}


def _rows(events: Sequence[Event]) -> list[Sequence[Any]]:
    times = _times([event.timestamp for event in events])
    received = _times([event.received_at for event in events])
    return [
        (
            event.collection, event.id, event.name, time, at, _encode(event.params).decode(),
            _encode(event.context).decode(), event.user_id, event.anonymous_id, event.v,
        )
        for event, time, at in zip(events, times, received, strict=True)
    ]  # fmt: skip


def _times(moments: list[datetime]) -> list[str]:
    """Return moments as Django's text of them in UTC; msgspec is ten times faster than isoformat()."""
    encoded = _encode(moments)
    if encoded.count(b"Z") != len(moments):
        encoded = _encode([moment.astimezone(UTC) for moment in moments])
    return encoded.decode()[2:-2].replace("T", " ").replace("Z", "").split('","')


def _spelt_out(event: Event) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {
        **fields,
        "params": _without_exponents(event.params),
        "context": _without_exponents(event.context),
    }


def _without_exponents(value: Any) -> Any:
    """Return `value` with large floats as digits and ``.0``, which jsonb gives back as floats."""
    if type(value) is float and abs(value) >= _LARGE:
        return msgspec.Raw(f"{Decimal(repr(value)):f}.0".encode())
    if isinstance(value, dict):
        return {key: _without_exponents(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_exponents(item) for item in value]
    return value
