"""How `mongo` reads: the conditions it can judge, pages by key, several streams merged into one order.

In: an `EventQuery` and where to start. Out: lists of events, counts, deletions. Pages go by key, so that no cursor
is open and no session ages while the caller thinks. `where` is the core's, so that no key of a user's ever stands in
a query; ids and names stand there as values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, ReadPreference

from littlebro.conf import COLLECTION
from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro_backends.mongo_documents import BATCH, EVENT_FIELDS, documents, event, microseconds, storable
from littlebro_backends.mongo_layout import Layout
from littlebro_backends.mongo_order import Log
from littlebro_backends.mongo_steps import Call, Reading, Steps

__all__ = ["count", "delete", "scan"]

_PAGES: Final = (128, 1_000)  # events of the first page and of those that follow
_WHOLE: Final[Mapping[str, int]] = {**EVENT_FIELDS, BATCH: 0}
_KEYS: Final[Mapping[str, int]] = {"timestamp_us": 1}
# Always asked for: it is the index's beginning, and no document that is none of ours has it.
_BEGINNING: Final = microseconds(datetime.min.replace(tzinfo=UTC))

Condition = dict[str, Any]


def scan(layout: Layout, query: EventQuery, after: Position | None) -> Reading[Event]:
    """See BaseBackend.scan()."""
    condition = _condition(query)
    if after is not None and not (storable(after[1]) and storable(after[2])):
        raise InvalidQuery("This is no cursor of ours; ask again without one, from the start.")
    if condition is None:
        return
    streams = yield from _streams(layout, query)
    sources = [_Source(layout, stream, condition, after, query.newest_first) for stream in streams]
    if len(sources) == 1:
        while page := (yield from sources[0].page()):
            yield page
        return
    for source in sources:
        yield from source.fill()
    choose = max if query.newest_first else min
    while sources := [source for source in sources if source.events]:
        source = choose(sources, key=_head)
        yield [source.events.pop()]
        if not source.events:
            yield from source.fill()


def count(layout: Layout, query: EventQuery) -> Steps[int]:
    """Return how many events fulfil the conditions that the server can judge."""
    condition = _condition(query)
    if condition is None:
        return 0
    total = 0
    for stream in (yield from _streams(layout, query)):
        total += yield _counting(layout.name(stream), condition)
    return total


def delete(layout: Layout, query: EventQuery) -> Steps[int]:
    """See BaseBackend.delete_many(); page by page, so that no command takes long."""
    condition = _condition(query)
    if condition is None:
        return 0
    deleted = 0
    is_purge = query == EventQuery(end=query.end, collections=query.collections)
    for stream in (yield from _streams(layout, query)):
        # Another than the primary may not have yet what was stored a moment ago, and it would stay.
        source = _Source(layout, stream, condition, None, False, ReadPreference.PRIMARY)
        while (ids := (yield from source.doomed(query))) is not None:
            if ids:
                deleted += (yield _deleting(layout.name(stream), ids)).deleted_count
        if is_purge and query.end is not None:
            yield from Log(layout).tidy(stream, query.end)
    return deleted


class _Source:
    """One stream's events in order, a page at a time; `events` has the next one last."""

    def __init__(
        self,
        layout: Layout,
        stream: str,
        condition: Condition,
        after: Position | None,
        newest_first: bool,
        preference: Any = None,
    ) -> None:
        self.events: list[Event] = []
        self._name = layout.name(stream)
        self._stream = stream
        self._condition = condition
        self._down = newest_first
        self._from = None if after is None else _behind(stream, after, newest_first)
        self._size = _PAGES[0]
        self._ended = False
        self._preference = preference  # None: the client's

    def page(self) -> Steps[list[Event]]:
        """Return the next events, none if there are no more."""
        fields = yield from self._next(_WHOLE)
        return [event(each, self._stream) for each in fields]

    def fill(self) -> Steps[None]:
        """Put the next page into `events`."""
        page = yield from self.page()
        self.events = page[::-1]

    def doomed(self, query: EventQuery) -> Steps[list[str] | None]:
        """Return those ids of the next page whose events match `query`; None if there are no more pages."""
        if not query.where:
            return [fields["_id"] for fields in (yield from self._next(_KEYS))] or None
        page = yield from self.page()
        return [event.id for event in page if query.matches(event)] if page else None

    def _next(self, projection: Mapping[str, int]) -> Steps[Sequence[Mapping[str, Any]]]:
        if self._ended:
            return []
        found = list(documents((yield self._ask(projection))))
        self._ended = len(found) < self._size
        self._size = _PAGES[1]
        if found:
            last = found[-1]
            self._from = _past(last["timestamp_us"], last["_id"], self._down, inclusive=False)
        return found

    def _ask(self, projection: Mapping[str, int]) -> Call:
        condition = self._condition if self._from is None else {"$and": [self._condition, self._from]}
        way = DESCENDING if self._down else ASCENDING
        order, size, name = [("timestamp_us", way), ("_id", way)], self._size, self._name
        preference = self._preference
        return lambda database: (
            database.get_collection(name, read_preference=preference)
            .find_raw_batches(condition, projection, sort=order, limit=size, batch_size=size + 1)
            .to_list()
        )


def _counting(name: str, condition: Condition) -> Call:
    return lambda database: database[name].count_documents(condition)


def _deleting(name: str, ids: list[str]) -> Call:
    return lambda database: database[name].delete_many({"_id": {"$in": ids}})


def _head(source: _Source) -> Position:
    return source.events[-1].position


def _streams(layout: Layout, query: EventQuery) -> Steps[list[str]]:
    """Return the streams that a query asks for: those named, or else all there are."""
    if query.collections is None:
        return (yield from layout.streams())
    return sorted({stream for stream in query.collections if COLLECTION.fullmatch(stream)})


def _condition(query: EventQuery) -> Condition | None:
    """Return the part of a query that the server can judge; None where nothing can fulfil it."""
    times = {"$gte": _BEGINNING if query.start is None else microseconds(query.start)}
    if query.end is not None:
        times["$lt"] = microseconds(query.end)
    condition: Condition = {"timestamp_us": times}
    if query.names is not None:
        names = sorted({name for name in query.names if storable(name)})
        if not names:
            return None
        condition["name"] = names[0] if len(names) == 1 else {"$in": names}
    for field, text in (("user_id", query.user_id), ("anonymous_id", query.anonymous_id)):
        if text is not None:
            if not storable(text):
                return None
            condition[field] = text
    return condition


def _behind(stream: str, after: Position, newest_first: bool) -> Condition:
    """Return the condition for events of `stream` behind a position in any stream."""
    moment, event_id, collection = after
    inclusive = stream < collection if newest_first else stream > collection
    return _past(microseconds(moment), event_id, newest_first, inclusive=inclusive)


def _past(at: int, event_id: str, newest_first: bool, *, inclusive: bool) -> Condition:
    sign = "$lt" if newest_first else "$gt"
    way = {"_id": {sign + "e" if inclusive else sign: event_id}}
    return {"timestamp_us": {sign + "e": at}, "$or": [{"timestamp_us": {sign: at}}, way]}
