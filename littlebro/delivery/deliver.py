"""The delivering side: a batch of events in, stored in one destination, or kept for another attempt.

Backend and sinks are destinations alike: each event is enriched, redacted and validated once more, then handed
over with the whole batch. What the destination will never take becomes a dead letter; whatever else goes wrong
leaves this module as an exception, and the batch waits. Harmless to repeat: writes are idempotent on the id.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from littlebro.delivery import deadletters, losses, tombstones
from littlebro.delivery.pipeline import Pipeline
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import EventRefused, InvalidEvent
from littlebro.storage.base import BaseBackend, SaveResult
from littlebro.storage.handler import backends

__all__ = ["Delivery", "Outcome", "person_queries"]

logger = logging.getLogger("littlebro")

Refused = dict[tuple[str, str], str]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch: how many are stored anew, were there already (None: unknown), and were refused."""

    stored: int
    duplicates: int | None
    refused: Refused


class Delivery:
    """Writes batches of `alias` to its backend, or, with `sink`, to the backend of that alias."""

    def __init__(self, alias: str, pipeline: Pipeline, sink: str = "") -> None:
        self.alias = alias
        self.sink = sink
        self._pipeline = pipeline

    def save(self, events: Sequence[Event], *, fresh: bool = False) -> Outcome:
        """Store `events`; raise whatever the destination raised where the batch should be tried again.

        `fresh` says that the events were made just now by the caller, so that no tombstone can be newer.
        """
        backend = backends[self.sink or self.alias]
        try:
            with losses.held_back() as lost:
                events = self._prepared(events)
                if not fresh:
                    kept = tombstones.without_forgotten(events)
                    lost[self.alias, "forgotten"] += len(events) - len(kept)
                    events = kept
            result = _save_halving(backend, events) if events else SaveResult(0, 0, {})
            guilty = [event for event in events if (event.collection, event.id) in result.refused]
            if guilty:
                deadletters.add(self.alias, self.sink, guilty, result.refused)
            if not fresh:
                self._erase_forgotten(backend, events, guilty)
        except Exception as error:
            if not self.sink:
                self._pipeline.hooks.failed(events, f"{type(error).__name__}: {error}")
            raise
        if not self.sink:  # a sink leaves out the same events, and each is lost once
            losses.count_held(lost)
        if guilty:
            losses.count(self.alias, f"dead-letter:{self.sink}" if self.sink else "dead-letter", len(guilty))
        stored = [event for event in events if (event.collection, event.id) not in result.refused]
        if stored and not self.sink:
            self._pipeline.hooks.stored(stored)
        return Outcome(result.stored, result.duplicates, dict(result.refused))

    def _prepared(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events as the worker-side hooks leave them; without such hooks, as they are."""
        hooks = self._pipeline.hooks
        if not hooks.in_delivery:
            return events
        prepared: list[Event] = []
        for event in events:
            try:
                seen = hooks.before_storing(event)
                if seen is None:
                    continue
                seen = self._pipeline.checked(seen)
                self._pipeline.line(seen)
            except InvalidEvent as error:  # as it was sent it is redacted already
                logger.warning("Event %r (%s) goes on as it was sent: %s", event.name, event.id, error)
                losses.count(self.alias, "invalid-context")
                seen = event
            prepared.append(seen)
        return prepared

    def _erase_forgotten(
        self, backend: BaseBackend, events: Sequence[Event], guilty: Sequence[Event]
    ) -> None:
        """Delete the events, the dead letters among them, of people forgotten while the batch was being written."""
        late = tombstones.forgotten(events)
        if not late:
            return
        if not self.sink:  # as above
            losses.count(self.alias, "forgotten", len(late))
        deadletters.remove(self.alias, self.sink, [event for event in guilty if event in late])
        if not backend.supports_delete:
            logger.warning("%r keeps %d events of forgotten people: it cannot delete.", backend, len(late))
            return
        end = max(event.timestamp for event in late) + timedelta(microseconds=1)
        collections = tuple({event.collection for event in late})
        for query in person_queries(
            {(event.user_id, event.anonymous_id) for event in late}, collections, end
        ):
            backend.delete_many(query)


def person_queries(
    people: Iterable[tuple[str | None, str | None]],
    collections: tuple[str, ...] | None = None,
    end: datetime | None = None,
) -> Iterator[EventQuery]:
    """Yield the queries that together find all events of `people`, pairs of user id and anonymous id."""
    for user_id, anonymous_id in people:
        if user_id is not None:
            yield EventQuery(user_id=user_id, collections=collections, end=end)
        if anonymous_id is not None:
            yield EventQuery(anonymous_id=anonymous_id, collections=collections, end=end)


def _save_halving(backend: BaseBackend, events: Sequence[Event]) -> SaveResult:
    """Store a batch; where some event is refused and the backend cannot tell which, find it by halving.

    Raises the refusal where every single event of a batch is refused: then it is not the data, and the batch
    is to be tried again later.
    """
    result = _save_part(backend, events)
    if len(events) > 1 and len(result.refused) == len(events):
        message = f"all {len(events)} events were refused alike, the first with: {next(iter(result.refused.values()))}"
        raise EventRefused(message)
    return result


def _save_part(backend: BaseBackend, events: Sequence[Event]) -> SaveResult:
    try:
        return backend.save_many(events)
    except EventRefused as refusal:
        if len(events) == 1:
            return SaveResult(0, 0, {(events[0].collection, events[0].id): str(refusal)})
    middle = len(events) // 2
    left, right = _save_part(backend, events[:middle]), _save_part(backend, events[middle:])
    known = left.duplicates is not None and right.duplicates is not None
    duplicates = (left.duplicates or 0) + (right.duplicates or 0) if known else None
    return SaveResult(left.stored + right.stored, duplicates, {**left.refused, **right.refused})
