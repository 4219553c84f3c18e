"""The one form of an event as a row: columns, and how JSON lines become them.

In: events. Out: lines, and the SQL that reads them. Parameters and context stay JSON text, character for character.
"""

from __future__ import annotations

from typing import Final

from littlebro.events.event import Event, encode

__all__ = ["COLUMNS", "EVENTS_FROM_LINES", "WHO", "line"]

COLUMNS: Final = (
    "id", "collection", "name", "ts", "received", "user_id", "anonymous_id", "who", "params", "context",
)  # fmt: skip

WHO: Final = (
    "CASE WHEN user_id IS NOT NULL THEN md5_number_lower('u' || user_id)"
    " WHEN anonymous_id IS NOT NULL THEN md5_number_lower('a' || anonymous_id) END"
)

EVENTS_FROM_LINES: Final = f"""
SELECT id, collection, name, epoch_us("timestamp") AS ts, epoch_us(received_at) AS received, user_id, anonymous_id,
    {WHO} AS who, params::VARCHAR AS params, context::VARCHAR AS context
FROM read_json($path, format = 'newline_delimited', compression = 'none', columns = {{
    id: 'VARCHAR', name: 'VARCHAR', "timestamp": 'TIMESTAMP', received_at: 'TIMESTAMP', params: 'JSON',
    context: 'JSON', user_id: 'VARCHAR', anonymous_id: 'VARCHAR', collection: 'VARCHAR'}})"""  # noqa: S608 - ours


def line(event: Event) -> bytes:
    """Return `event` as a line."""
    return encode(event) + b"\n"
