"""The order of storing in `mongo`: a log with one small entry a write, numbered without a gap.

Neither clocks nor counters will do: a server may freeze between a stamp and the moment when the document can be
seen. So each write marks its documents with a token of its own, and, when all of them are acknowledged, appends the
token to the log under the next number, which a unique index gives to one writer alone. Whoever has read up to a
number misses nothing that comes later. A write that failed half-way has no entry; when its batch comes again, what
is there without an entry is taken over by the new write (`Log.unlisted`). In: tokens. Out: pairs of position and
event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from bson.objectid import ObjectId
from pymongo import ASCENDING, DESCENDING, ReadPreference
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from littlebro.events.event import Event
from littlebro.exceptions import InvalidQuery, LittlebroError
from littlebro_backends.mongo_documents import BATCH, EVENT_FIELDS, documents, event
from littlebro_backends.mongo_faults import judge
from littlebro_backends.mongo_layout import Layout
from littlebro_backends.mongo_steps import Call, Reading, Steps

__all__ = ["Crowded", "Log", "as_stored"]

_ATTEMPTS: Final = 1_000  # at a number that other writers take, too
_ENTRIES: Final = 500  # read at a time
_EVENTS: Final = 1_000  # read at a time, about
_TIDY: Final = 1_000  # entries between two looks at those that TTL has emptied
_MAJORITY: Final = ReadConcern("majority")
_POSITION: Final = re.compile(r"([0-9]{1,18}):(.+)", re.DOTALL | re.ASCII)


class Crowded(LittlebroError):
    """Raised when no number was to be had in the log for all the other writers; the batch will come again."""


class Log:
    """Appends to the log; one a backend, used by all its threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._name = layout.log
        self._last: int | None = None

    def append(self, stream: str, writes: Mapping[ObjectId, int]) -> Steps[None]:
        """Give writes, tokens with how many events each stored, their places in the order.

        All their documents are acknowledged by now. Each number is asked for only when the one before it is there,
        so that no place is left to be taken later.
        """
        now = datetime.now(UTC)
        waiting = [
            {"stream": stream, BATCH: token, "events": events, "at": now} for token, events in writes.items()
        ]
        for _ in range(_ATTEMPTS):
            last = self._last
            if last is None:
                last = yield from self._greatest()
            entries = [{"_id": last + place, **entry} for place, entry in enumerate(waiting, 1)]
            try:
                yield _appending(self._name, entries)
            except BulkWriteError as error:
                if judge(error).refused:
                    raise
                self._last = None  # somebody else's number by now; our own first ones may be there
                listed = yield from self._listed(writes)
                waiting = [entry for entry in waiting if entry[BATCH] not in listed]
                if not waiting:
                    return
            else:
                self._last = last + len(entries)
                if self._layout.ttl is not None and last // _TIDY != self._last // _TIDY:
                    yield from self.tidy(stream, now - timedelta(seconds=self._layout.ttl, days=1))
                return
        raise Crowded(f"no number to be had in {self._name} in {_ATTEMPTS} attempts.")

    def unlisted(self, stream: str, ids: Sequence[str]) -> Steps[list[ObjectId]]:
        """Return the tokens of the documents `ids` that are not in the log."""
        name = self._layout.name(stream)
        found = (
            yield lambda database: (
                database.get_collection(name, read_preference=ReadPreference.PRIMARY)
                .find({"_id": {"$in": list(ids)}}, {BATCH: 1})
                .to_list()
            )
        )
        tokens = {fields.get(BATCH) for fields in found} - {None}
        if not tokens:
            return []
        listed = yield from self._listed(tokens)
        return sorted(tokens - listed)

    def tidy(self, stream: str, before: datetime) -> Steps[None]:
        """Forget the entries of `stream` older than `before` whose events are gone.

        An event may be newer than its entry: its sender's clock was fast. The last entry of all stays, for its
        number's sake.
        """
        name, last = self._layout.name(stream), (yield from self._greatest())
        number = 0
        while True:
            old = {"_id": {"$gt": number, "$lt": last}, "stream": stream, "at": {"$lt": before}}
            entries = yield _entries(self._layout, old)
            tokens = [entry[BATCH] for entry in entries]
            kept = yield _tokens(name, tokens)
            gone = [entry["_id"] for entry in entries if entry[BATCH] not in kept]
            if gone:
                yield _forgetting(self._name, gone)
            if len(entries) < _ENTRIES:
                return
            number = entries[-1]["_id"]

    def _greatest(self) -> Steps[int]:
        found = (
            yield lambda database: (
                database.get_collection(self._name, read_preference=ReadPreference.PRIMARY)
                .find({}, {"_id": 1}, sort=[("_id", DESCENDING)], limit=1)
                .to_list()
            )
        )
        return int(found[0]["_id"]) if found else 0

    def _listed(self, tokens: Iterable[ObjectId]) -> Steps[set[ObjectId]]:
        wanted = {BATCH: {"$in": list(tokens)}}
        found = (
            yield lambda database: (
                database.get_collection(self._name, read_preference=ReadPreference.PRIMARY)
                .find(wanted, {BATCH: 1})
                .to_list()
            )
        )
        return {fields[BATCH] for fields in found}


def as_stored(layout: Layout, after: str | None) -> Reading[tuple[str, Event]]:
    """Yield, in lists, pairs of position and event behind `after`; a position is an entry's number and an id."""
    number, event_id = _parse(after)
    while True:
        entries = yield _entries(layout, {"_id": {"$gte": number}})
        for group in _groups(entries):
            found: dict[ObjectId, list[tuple[str, Event]]] = {}
            for stream in sorted({entry["stream"] for entry in group}):
                numbers = {entry[BATCH]: entry["_id"] for entry in group if entry["stream"] == stream}
                batches = yield _members(layout, stream, list(numbers))
                for fields in documents(batches):
                    token = fields[BATCH]
                    pair = (f"{numbers[token]}:{fields['_id']}", event(fields, stream))
                    found.setdefault(token, []).append(pair)
            pairs: list[tuple[str, Event]] = []
            for entry in group:
                members = sorted(found.get(entry[BATCH], ()), key=lambda pair: pair[1].id)
                if entry["_id"] == number:
                    members = [pair for pair in members if pair[1].id > event_id]
                pairs += members
            yield pairs
        if len(entries) < _ENTRIES:
            return
        number, event_id = entries[-1]["_id"] + 1, ""


def _appending(name: str, entries: list[dict[str, Any]]) -> Call:
    return lambda database: database[name].insert_many(entries, ordered=True)


def _tokens(name: str, tokens: list[ObjectId]) -> Call:
    """Ask which of `tokens` documents have."""
    return lambda database: database.get_collection(name, read_preference=ReadPreference.PRIMARY).distinct(
        BATCH, {BATCH: {"$in": tokens}}
    )


def _forgetting(name: str, numbers: list[int]) -> Call:
    return lambda database: database[name].delete_many({"_id": {"$in": numbers}})


def _entries(layout: Layout, condition: Mapping[str, Any]) -> Call:
    return lambda database: (
        database.get_collection(layout.log, read_preference=ReadPreference.PRIMARY, read_concern=_MAJORITY)
        .find(condition, sort=[("_id", ASCENDING)], limit=_ENTRIES)
        .to_list()
    )


def _members(layout: Layout, stream: str, tokens: list[ObjectId]) -> Call:
    name = layout.name(stream)
    return lambda database: (
        database.get_collection(name, read_preference=ReadPreference.PRIMARY, read_concern=_MAJORITY)
        .find_raw_batches({BATCH: {"$in": tokens}}, EVENT_FIELDS)
        .to_list()
    )


def _groups(entries: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Yield entries, some at a time, that have about as many events as may lie in memory at once."""
    group: list[dict[str, Any]] = []
    events = 0
    for entry in sorted(entries, key=itemgetter("_id")):
        if group and events + entry["events"] > _EVENTS:
            yield group
            group, events = [], 0
        group.append(entry)
        events += entry["events"]
    if group:
        yield group


def _parse(position: str | None) -> tuple[int, str]:
    if position is None:
        return 0, ""
    match = _POSITION.fullmatch(position)
    if match is None:
        raise InvalidQuery("This is no position in the order of storing; start without one.")
    return int(match[1]), match[2]
