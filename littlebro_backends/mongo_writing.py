"""How `mongo` writes a batch: unordered inserts, whose duplicates are what was stored before.

In: events in any order, of any streams. Out: a `SaveResult`. A write is a part of the batch, of one stream; once
it is acknowledged it takes its place in the order of storing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import bson
from bson.errors import BSONError
from bson.objectid import ObjectId
from pymongo.errors import BulkWriteError, PyMongoError

from littlebro.conf import COLLECTION
from littlebro.events.event import Event
from littlebro.exceptions import EventRefused
from littlebro.storage import SaveResult
from littlebro_backends.mongo_documents import BATCH, document
from littlebro_backends.mongo_faults import Verdict, judge, refusal
from littlebro_backends.mongo_layout import Layout
from littlebro_backends.mongo_order import Log
from littlebro_backends.mongo_steps import Steps

__all__ = ["Writer"]

_PART: Final = 10_000  # events sent at a time
_WRITE: Final = 1_000  # events that share a place in the order of storing, and are read from it together
_LARGEST: Final = 16 * 1024 * 1024  # bytes of a document (MongoDB's limit)
_stream: Final = attrgetter("collection")


class Writer:
    """Stores events; one a backend, used by all its threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._log = Log(layout)
        self._known: set[str] = set()

    def save(self, events: Sequence[Event]) -> Steps[SaveResult]:
        """See BaseBackend.save_many()."""
        stored = duplicates = 0
        refused: dict[tuple[str, str], str] = {}
        for stream, part in _parts(events):
            if not COLLECTION.fullmatch(stream):  # damaged: the driver would fail at it each time
                refused |= {(stream, event.id): "no name of a collection" for event in part}
                continue
            verdict = yield from self._save_part(stream, part)
            refused |= {(stream, part[index].id): reason for index, reason in verdict.refused.items()}
            duplicates += len(verdict.known)
            stored += len(part) - len(verdict.known) - len(verdict.refused)
        return SaveResult(stored=stored, duplicates=duplicates, refused=refused)

    def _save_part(self, stream: str, events: Sequence[Event]) -> Steps[Verdict]:
        if stream not in self._known:
            yield from self._meet(stream)
        name = self._layout.name(stream)
        tokens = [ObjectId() for _ in range(0, len(events), _WRITE)]
        documents = [document(event, tokens[place // _WRITE]) for place, event in enumerate(events)]
        verdict = yield from _insert(name, documents)
        old = {*verdict.known, *verdict.refused}
        new = Counter(tokens[place // _WRITE] for place in range(len(events)) if place not in old)
        if verdict.known:
            ids = [documents[place]["_id"] for place in verdict.known]
            # Ours among them: those that were sent before the driver came to one that cannot be.
            unlisted = yield from self._log.unlisted(stream, ids)
            if unlisted:
                theirs = {"_id": {"$in": ids}, BATCH: {"$in": unlisted}}
                change = {"$set": {BATCH: tokens[0]}}
                done = yield lambda database: database[name].update_many(theirs, change)
                new[tokens[0]] += done.modified_count
        if new:
            yield from self._log.append(stream, new)
        return verdict

    def _meet(self, stream: str) -> Steps[None]:
        """Give a stream that this write begins its indexes, which cost nothing while it is empty."""
        streams = yield from self._layout.streams()
        if stream not in streams:
            yield from self._layout.make_stream(stream)
            yield from self._layout.make_log()
        self._known |= {*streams, stream}


def _parts(events: Sequence[Event]) -> Iterator[tuple[str, Sequence[Event]]]:
    for stream, group in groupby(sorted(events, key=_stream), key=_stream):
        members = list(group)
        for start in range(0, len(members), _PART):
            yield stream, members[start : start + _PART]


def _insert(name: str, documents: Sequence[dict[str, Any]]) -> Steps[Verdict]:
    """Insert what can be inserted; name what is there already and what never can be."""
    try:
        yield lambda database: database[name].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        return judge(error)
    except (PyMongoError, BSONError, ValueError, OverflowError, RecursionError) as error:
        reason = refusal(error)
        if reason is None:
            raise
        unfit = _unfit(documents)
        if not unfit:
            raise EventRefused(reason) from None  # the cause may quote the data
    else:
        return Verdict([], {})
    fit = [index for index in range(len(documents)) if index not in unfit]
    rest = (yield from _insert(name, [documents[index] for index in fit])) if fit else Verdict([], {})
    return Verdict(
        [fit[index] for index in rest.known],
        unfit | {fit[index]: reason for index, reason in rest.refused.items()},
    )


def _unfit(documents: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Return by index why documents cannot be sent, of those that cannot."""
    reasons: dict[int, str] = {}
    for index, fields in enumerate(documents):
        try:
            size = len(bson.encode(fields))
        except (BSONError, ValueError, OverflowError, RecursionError) as error:
            reasons[index] = f"cannot be encoded: {type(error).__name__}"
        else:
            if size > _LARGEST:
                reasons[index] = f"a document of {size} bytes; at most {_LARGEST} are taken"
    return reasons
