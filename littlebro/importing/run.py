"""One run of an import: records in, batches of events delivered, and a summary of what became of every line.

A record goes through the pipeline of its alias as a call of `track_event` would; what the pipeline or the backend
refuses is counted with its reason and stops nothing. What the backend fails at (it is away) ends the run, and the
same command run again goes on where this one stopped, since ids repeat.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from littlebro.conf import COLLECTION
from littlebro.delivery import losses
from littlebro.delivery.deliver import Outcome
from littlebro.delivery.handler import trackers
from littlebro.events.event import Event, encode
from littlebro.events.query import EventQuery
from littlebro.events.validator import Validator
from littlebro.exceptions import InvalidEvent, LittlebroError
from littlebro.importing.access_log import read_combined, read_common, read_vhost_combined
from littlebro.importing.csv_table import read_csv
from littlebro.importing.identity import Identities
from littlebro.importing.jsonl import read_jsonl
from littlebro.importing.records import BadLine, Record
from littlebro.importing.source import Source
from littlebro.storage.base import BaseBackend
from littlebro.storage.handler import backends

__all__ = ["ACCESS_LOGS", "FORMATS", "Importer", "Summary"]

FORMATS: Final[Mapping[str, Callable[..., Iterator[Record | BadLine]]]] = {
    "combined": read_combined,
    "common": read_common,
    "vhost_combined": read_vhost_combined,
    "jsonl": read_jsonl,
    "csv": read_csv,
}
ACCESS_LOGS: Final = ("combined", "common", "vhost_combined")

_BATCH: Final = 500
# Events that the tracker may have in its journal, and seconds that it may take to send them on.
_UNSENT: Final = 10_000
_PATIENCE: Final = 60.0
_NOT_TAKEN: Final = "the tracker did not take it"
# Reasons may quote a key of the input, so that a hostile file must not make the table grow for ever.
_MOST_REASONS: Final = 100
_OTHER: Final = "for other reasons"


class TrackerStuck(LittlebroError):
    """Raised where the tracker, asked to take the events along, does not get rid of them."""


@dataclass
class Summary:
    """What became of the records of one file; `stored` and `present` are None where nobody can tell.

    `read` counts records, good and bad; `bad` those that are none or that the pipeline refused, `refused` those
    that the backend refused (they are dead letters now), `dropped` those that a plugin dropped, or that belong to a
    person who was forgotten. `reasons` counts bad and refused ones by reason.
    """

    read: int = 0
    accepted: int = 0
    stored: int | None = 0
    present: int | None = 0
    bad: int = 0
    refused: int = 0
    dropped: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)


class Importer:
    """Imports one source into `alias`.

    `collection` puts every event into one collection, whatever its line says; `user_from_log` takes the user field
    of an access log as the user id; `by_tracker` hands the events to the alias's tracker, as calls do, where they are
    else stored from here. `on_bad` is called with each `BadLine`, `on_progress` after each batch.
    """

    def __init__(
        self,
        file_format: str,
        alias: str = "default",
        collection: str | None = None,
        *,
        user_from_log: bool = False,
        by_tracker: bool = False,
        on_bad: Callable[[BadLine], None] = lambda _bad: None,
        on_progress: Callable[[Summary], None] = lambda _summary: None,
    ) -> None:
        if collection is not None and not COLLECTION.fullmatch(collection):
            raise InvalidEvent("collection", "must be 1-64 of A-Z a-z 0-9 _ -")
        self._read = FORMATS[file_format]
        self._options: dict[str, Any] = {"user_from_log": user_from_log} if file_format in ACCESS_LOGS else {}
        self._identities = Identities(file_format)
        self._validator = Validator()
        self._tracker = trackers[alias]
        self._backend = backends[alias]
        self._collection = collection
        self._by_tracker = by_tracker
        self._on_bad = on_bad
        self._on_progress = on_progress
        self._batch: list[Event] = []
        self._lines: dict[tuple[str, str], int] = {}
        # Whether the backend's own numbers tell new from old; known after the first batch.
        self._can_tell: bool | None = None
        self.summary = Summary()

    def run(self, source: Source) -> Summary:
        """Import all of `source`; the same object as `summary`, which is true at any moment, also after an error.

        Raises `SourceError` where the source breaks off, and whatever the backend raised where it failed.
        """
        begin = time.monotonic()
        try:
            for item in self._read(source.lines(), **self._options):
                self.summary.read += 1
                if isinstance(item, BadLine):
                    self._count_bad(item)
                else:
                    self._take(item)
                if len(self._batch) >= _BATCH:
                    self._deliver()
        finally:
            # Also after the source broke off: what was read before is good.
            try:
                self._deliver()
            finally:
                self.summary.seconds = time.monotonic() - begin
        if losses.pending(self._tracker.alias):
            # What plugins and tombstones dropped is counted in this process, which may end now.
            self._tracker.flush()
        if self._by_tracker:
            self._await_tracker()
        return self.summary

    def _take(self, record: Record) -> None:
        arguments = dict(record.arguments)
        # Asked for every record, so that the count of equal lines does not depend on which were refused.
        made = self._identities.of(record.content)
        arguments.setdefault("event_id", made)
        if self._collection is not None:
            arguments["collection"] = self._collection
        try:
            self._check_context(arguments.get("context"))
            event = self._tracker.build(**arguments)
        except InvalidEvent as error:
            self._count_bad(BadLine(str(error), record.line))
            return
        if event is None:
            self.summary.dropped += 1
            return
        self._batch.append(event)
        self._lines[event.collection, event.id] = record.line

    def _check_context(self, context: Any) -> None:
        """Raise `InvalidEvent` for an unfit value: of a call's context it would be left out, a line tells of it."""
        self._validator.find_unfit(self._validator.snapshot(context, "context"), "context")

    def _count_bad(self, bad: BadLine) -> None:
        self.summary.bad += 1
        self._count_reason(bad.reason)
        self._on_bad(bad)

    def _count_reason(self, reason: str) -> None:
        known = reason in self.summary.reasons or len(self.summary.reasons) < _MOST_REASONS
        self.summary.reasons[reason if known else _OTHER] += 1

    def _deliver(self) -> None:
        batch, self._batch = self._batch, []
        lines, self._lines = self._lines, {}
        if not batch:
            return
        if self._by_tracker:
            self._hand_on(batch, lines)
            return
        span = None if self._can_tell else _span(batch)
        before = _count(self._backend, span)
        outcome = self._tracker.deliver(batch)
        self._can_tell = outcome.duplicates is not None
        summary = self.summary
        summary.accepted += len(batch)
        summary.refused += len(outcome.refused)
        for key, reason in outcome.refused.items():
            self._count_reason(reason)
            self._on_bad(BadLine(reason, lines.get(key, 0)))
        # The rest belongs to forgotten people. What cannot be told from new is part of `stored`.
        summary.dropped += len(batch) - outcome.stored - (outcome.duplicates or 0) - len(outcome.refused)
        stored, present = self._told_apart(outcome, span, before)
        summary.stored = _plus(summary.stored, stored)
        summary.present = _plus(summary.present, present)
        self._on_progress(summary)

    def _hand_on(self, batch: list[Event], lines: Mapping[tuple[str, str], int]) -> None:
        """Let the tracker take the batch, at the pace at which it can send it on."""
        summary = self.summary
        for event in batch:
            if self._tracker.send(event, encode(event)) is False:
                summary.refused += 1
                self._count_reason(_NOT_TAKEN)
                self._on_bad(BadLine(_NOT_TAKEN, lines.get((event.collection, event.id), 0)))
        summary.accepted += len(batch)
        summary.stored = summary.present = None
        if summary.accepted % _UNSENT < _BATCH:
            self._await_tracker()
        self._on_progress(summary)

    def _await_tracker(self) -> None:
        if not self._tracker.flush(_PATIENCE):
            raise TrackerStuck(
                f"the tracker could not send on what it has within {_PATIENCE:.0f} s; it keeps it"
            )

    def _told_apart(
        self, outcome: Outcome, span: EventQuery | None, before: int | None
    ) -> tuple[int | None, int | None]:
        """Return how many events are new and how many were there, by the backend's word or by counting."""
        if outcome.duplicates is not None:
            return outcome.stored, outcome.duplicates
        after = _count(self._backend, span)
        if before is None or after is None:
            return None, None
        # Another writer in the same span could make the difference larger than the batch.
        stored = min(after - before, outcome.stored)
        return stored, outcome.stored - stored


def _span(batch: list[Event]) -> EventQuery:
    """Return the query for all that is stored where and when the events of `batch` belong."""
    times = [event.timestamp for event in batch]
    return EventQuery(
        collections=tuple(sorted({event.collection for event in batch})),
        start=min(times),
        end=max(times) + timedelta(microseconds=1),
    )


def _count(backend: BaseBackend, span: EventQuery | None) -> int | None:
    """Count, for a backend whose writes do not tell new from old; None where it cannot count either."""
    return backend.count(span) if span is not None and backend.supports_count else None


def _plus(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more
