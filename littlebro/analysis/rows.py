"""The one form of an event as a row: its columns, and how what a backend gives becomes them.

In: events as JSON lines, or rows as CSV from a backend that copies them out. Out: SQL that reads them. Parameters and
context stay JSON text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from littlebro.events.event import Event, encode

__all__ = ["COLUMNS", "DAY", "first_users", "from_csv", "from_lines", "line", "microseconds"]

COLUMNS: Final = (
    "id", "collection", "name", "ts", "received", "user_id", "anonymous_id", "who", "number", "params", "context",
)  # fmt: skip

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Whole days since 1970-01-01, UTC, of the column ts.
DAY: Final = "(make_timestamp(ts)::DATE - DATE '1970-01-01')"

# The columns of links, of a relation that has a first user a row; and such a relation, of events or of links.
_LINKS: Final = (
    "anonymous_id, md5_number_lower('a' || anonymous_id) AS anon, first.user_id AS user_id,"
    " md5_number_lower('u' || first.user_id) AS person, first.ts AS ts, first.id AS id, first.collection AS collection"
)
_FIRST: Final = (
    "SELECT anonymous_id, min({{'ts': ts, 'id': id, 'collection': collection, 'user_id': user_id}}) AS first"
    " FROM {source} WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL GROUP BY anonymous_id"
)

_WHO: Final = (
    "CASE WHEN user_id IS NOT NULL THEN md5_number_lower('u' || user_id)"
    " WHEN anonymous_id IS NOT NULL THEN md5_number_lower('a' || anonymous_id) END AS who"
)
_SELECT: Final = f"""
SELECT id, collection, name, epoch_us("timestamp") AS ts, epoch_us(received_at) AS received, user_id, anonymous_id,
    {_WHO}, params::VARCHAR AS params, context::VARCHAR AS context"""

_LINE: Final = 1024**2


def first_users(source: str) -> str:
    """Return SQL of the links in `source`, a relation of events or of links: for each anonymous id its first user."""
    return f"SELECT {_LINKS} FROM ({_FIRST.format(source=source)})"  # noqa: S608 - ours


def microseconds(moment: datetime) -> int:
    """Return an aware moment as the columns ts and received have it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_lines(path: str, longest: int) -> str:
    """Return SQL that reads a file of `line`s of up to `longest` bytes; one that is no event fails it all."""
    largest = max(_LINE, 2 * longest)  # DuckDB takes as much memory for each thread, twice
    return f"""{_SELECT} FROM read_json('{path}', format = 'newline_delimited', compression = 'none',
        maximum_object_size = {largest}, columns = {{
        id: 'VARCHAR', name: 'VARCHAR', "timestamp": 'TIMESTAMP', received_at: 'TIMESTAMP', params: 'JSON',
        context: 'JSON', user_id: 'VARCHAR', anonymous_id: 'VARCHAR', collection: 'VARCHAR'}})"""


def from_csv(path: str, longest: int) -> str:
    """Return SQL that reads a file of rows, of up to `longest` bytes, as `BaseBackend.copy_stored` writes them."""
    largest = max(_LINE, 2 * longest)
    return f"""{_SELECT} FROM read_csv('{path}', auto_detect = false, header = false, delim = ',', quote = '"',
        escape = '"', nullstr = '', new_line = '\\n', max_line_size = {largest}, columns = {{
        'id': 'VARCHAR', 'collection': 'VARCHAR', 'name': 'VARCHAR', 'timestamp': 'TIMESTAMP',
        'received_at': 'TIMESTAMP', 'user_id': 'VARCHAR', 'anonymous_id': 'VARCHAR', 'params': 'VARCHAR',
        'context': 'VARCHAR'}})"""


def line(event: Event) -> bytes:
    """Return `event` as a line."""
    return encode(event) + b"\n"
