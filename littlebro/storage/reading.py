"""Reading through any backend alike: filters, pages and counts, whatever the backend has done of them.

In: a backend, a query, perhaps a cursor. Out: matching events in order. Knows no database; never writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery, Page, decode_cursor, encode_cursor
from littlebro.exceptions import InvalidQuery
from littlebro.storage.base import BaseBackend

__all__ = ["MAX_LIMIT", "count", "iterate", "read_page"]

MAX_LIMIT: Final = 10_000


def iterate(backend: BaseBackend, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
    """Yield the events that `query` matches, in order; `after` is a position to start behind."""
    for event in backend.scan(query, after):
        if after is not None and not _behind(event.position, after, query.newest_first):
            continue
        if query.matches(event):
            yield event


def read_page(
    backend: BaseBackend, query: EventQuery | None = None, limit: int = 100, cursor: str | None = None
) -> Page:
    """Return up to `limit` events, and the cursor of the next page if there is one.

    A cursor carries its query, so that either is enough; giving both is allowed where they agree. Raises
    `InvalidQuery` for a limit that is not 1 to 10,000, for a cursor that is none of ours, and for one that
    belongs to another query.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit!r}.")
    after: Position | None = None
    if cursor is not None:
        asked, after = decode_cursor(cursor)
        if query is not None and query != asked:
            raise InvalidQuery(
                "The cursor belongs to another query; give the cursor alone, or start without it."
            )
        query = asked
    query = EventQuery() if query is None else query
    events = list(islice(iterate(backend, query, after), limit + 1))
    if len(events) <= limit:
        return Page(events)
    del events[limit:]
    return Page(events, encode_cursor(query, events[-1].position))


def count(backend: BaseBackend, query: EventQuery) -> int:
    """Return how many events `query` matches: by the backend where it can, else by reading them."""
    if backend.supports_count:
        return backend.count(query)
    return sum(1 for _ in iterate(backend, query))


def _behind(position: Position, after: Position, newest_first: bool) -> bool:
    return position < after if newest_first else position > after
