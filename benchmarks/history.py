"""A month of a made-up shop, as many events as asked for, the same every time: the reading side's benchmark data.

200,000 people for ten million events, fewer for less. They come for visits of five events, some four minutes
apart. A fifth of them start anonymous, on up to four devices,
and log in at some moment: from then on their events carry both ids. Another fifth never logs in. The fifty
names are zipfian. DuckDB makes the rows and writes them as CSV, chunk by chunk, in the order of storing; COPY
takes them into the table of `simple`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["DAYS", "END", "NAMES", "START", "fill", "people_of"]

DAYS = 30
START = datetime(2026, 9, 1, tzinfo=UTC)
END = START + timedelta(days=DAYS)
NAMES = (
    "page-viewed", "product-viewed", "search-made", "basket-filled", "checkout-started", "order-paid",
    *(f"feature-{number:02}-used" for number in range(44)),
)  # fmt: skip
CHUNK = 500_000
PER_PERSON = 50
COLUMNS = "collection, event_id, name, timestamp, received_at, params, context, user_id, anonymous_id, v"

# hash(number, salt) is one of 2^64; hence the divisions.
_ROWS = """
SELECT 'littlebro' AS collection,
       printf('%08x-%016x', n, hash(n, 9)) AS event_id,
       names[1 + least(49, CAST(floor(pow(50.0, hash(n, 3) / 18446744073709551616.0)) - 1 AS BIGINT))] AS name,
       strftime(moment, '%Y-%m-%d %H:%M:%S.%f+00') AS timestamp,
       strftime(moment, '%Y-%m-%d %H:%M:%S.%f+00') AS received_at,
       printf('{"path": "/products/%d/", "total": %.2f, "plan": "%s", "quantity": %d, "tags": ["%s", "web"]}',
              hash(n, 5) % 977, (hash(n, 6) % 20000) / 100.0,
              ['free', 'pro', 'team', 'trial', 'school'][CAST(1 + hash(person, 7) % 5 AS BIGINT)], hash(n, 8) % 9,
              ['new', 'old', 'sale'][CAST(1 + hash(n, 10) % 3 AS BIGINT)]) AS params,
       '{"ip": "192.0.2.0", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "method": "GET"}' AS context,
       CASE WHEN kind = 1 OR (kind = 0 AND part < login) THEN NULL
            ELSE printf('%d', person) END AS user_id,
       CASE WHEN kind IN (0, 1) THEN printf('device-%d-%d', person, hash(n, 11) % 4) END AS anonymous_id,
       1 AS v
FROM (
  SELECT n, person, person % 5 AS kind, names, n / $events AS part,
         hash(person, 4) / 18446744073709551616.0 AS login,
         make_timestamp(
           $start + CAST((n + hash(n, 2) % $visits) * ($span / ($events + $visits + 0.0)) AS BIGINT)) AS moment
  FROM (SELECT range AS n, hash(range // (5 * $visits) * $visits + range % $visits, 1) % $people AS person,
               $names AS names FROM range($first, $last))
)
"""


def people_of(events: int) -> int:
    """Return how many people there are behind so many events."""
    return max(events // PER_PERSON, 10)


def _chunks(events: int, folder: Path) -> Iterator[Path]:
    import duckdb

    path = folder / "chunk.csv"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        for first in range(0, events, CHUNK):
            values: dict[str, Any] = {
                "events": events, "people": people_of(events), "visits": max(events // 10_000, 1), "names": list(NAMES),
                "start": int(START.timestamp()) * 1_000_000, "span": DAYS * 86_400 * 1_000_000,
                "first": first, "last": min(first + CHUNK, events),
            }  # fmt: skip
            connection.execute(f"COPY ({_ROWS}) TO '{path}' (FORMAT csv, HEADER false)", values)
            yield path


def fill(connection: Any, events: int, folder: Path) -> None:
    """Put so many events into the empty table of `simple` on PostgreSQL; its indexes are built at the end."""
    table = "littlebro_storedevent"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT IN"
            " (SELECT conname FROM pg_constraint)",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        for path in _chunks(events, folder):
            with (
                path.open("rb") as source,
                cursor.copy(f"COPY {table} ({COLUMNS}) FROM STDIN (FORMAT csv)") as copy,
            ):
                while block := source.read(1 << 20):
                    copy.write(block)
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute(f"VACUUM ANALYZE {table}")
