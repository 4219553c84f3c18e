"""The tracker's API, the one that users call, and the contract of a tracker, the one that plugins write.

A call runs through the pipeline in the caller's thread and is handed to `record`, which a tracker reaches as
`send(event, line)`. Never raises in production: what is refused or fails is counted and logged, never the
payload. Knows no tracker by name, and no journal.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from littlebro.conf import AliasConfig, check_options, strict
from littlebro.delivery import losses, transactions
from littlebro.delivery.batch import refusal_line, shown
from littlebro.delivery.deliver import Delivery, Outcome
from littlebro.delivery.pipeline import Built, Pipeline
from littlebro.events.context import inside_delivery
from littlebro.events.convert import is_text
from littlebro.events.event import Event, new_id
from littlebro.events.query import EventQuery, Page
from littlebro.exceptions import InvalidEvent
from littlebro.storage.handler import backends
from littlebro.storage.reading import read_page

__all__ = ["BaseTracker"]

logger = logging.getLogger("littlebro")
# What is said of an event of which nothing could be read.
_UNKNOWN: Final[Mapping[str, Any]] = {"name": None, "event_id": None, "collection": None}


class Tap(Protocol):
    """What stands in for the trackers while a test captures events; returns whether the event is accepted."""

    def __call__(self, event: Event, /) -> bool:
        """Take one event."""


class BaseTracker:
    """Derive from this to let events travel in a new way.

    Write `send(event, line)`; `line` is the event encoded. Options of ``TRACKER_OPTIONS`` are named, with
    their defaults, in `option_defaults`. Constructors do no I/O and start no thread.
    """

    littlebro_api: ClassVar[int] = 1
    option_defaults: ClassVar[Mapping[str, Any]] = {}
    tap: ClassVar[Tap | None] = None
    """Set while a test captures events (see `littlebro.testing`)."""

    def __init__(self, config: AliasConfig) -> None:
        self.config = config
        self.alias = config.alias
        known = self.option_defaults
        self.options = check_options(config.alias, config.tracker_options, known, "TRACKER_OPTIONS")
        self._pipeline = Pipeline(config)
        self._destinations = {
            sink: Delivery(config.alias, self._pipeline, sink) for sink in ("", *config.sinks)
        }

    def track_event(
        self,
        name: str,
        params: Any = None,
        collection: str | None = None,
        *,
        user: Any = None,
        anonymous_id: str | None = None,
        request: HttpRequest | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
        on_commit: bool | str | None = None,
    ) -> Event | None:
        """Record that `name` happened, with `params`, an object of what JSON can hold.

        `user` is a user or the pk of one; `request` says where it happened (default: the one being served);
        `timestamp` when (default: now; naive ones are read in the current time zone); `event_id` makes a
        repeated call harmless; `on_commit` overrules the alias's ON_COMMIT. Returns the event, or None where it
        was dropped or refused, which is counted. Raises `InvalidEvent` in strict mode, and
        `ImproperlyConfigured` for a wrong setting.
        """
        try:
            if on_commit is not None:
                transactions.check(on_commit)
            built = self._pipeline.run(
                name, params, collection, user, anonymous_id, request, timestamp, event_id
            )
            if built is None:
                self._after_loss()
                return None
            tap = self.tap
            return built[0] if (self.record(built, on_commit) if tap is None else tap(built[0])) else None
        except InvalidEvent as error:
            self._refuse(error, {"name": name, "event_id": event_id, "collection": collection})
        except ImproperlyConfigured:
            raise
        except Exception:  # noqa: BLE001 - tracking must not break the caller, whatever went wrong
            self._fail(name)
        self._after_loss()
        return None

    async def atrack_event(
        self,
        name: str,
        params: Any = None,
        collection: str | None = None,
        *,
        user: Any = None,
        anonymous_id: str | None = None,
        request: HttpRequest | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
        on_commit: bool | str | None = None,
    ) -> Event | None:
        """See track_event()."""
        try:
            if on_commit is not None:
                transactions.check(on_commit)
            built = self._pipeline.run(
                name, params, collection, user, anonymous_id, request, timestamp, event_id
            )
            if built is None:
                self._after_loss()
                return None
            tap = self.tap
            taken = await self.arecord(built, on_commit) if tap is None else tap(built[0])
            return built[0] if taken else None
        except InvalidEvent as error:
            self._refuse(error, {"name": name, "event_id": event_id, "collection": collection})
        except ImproperlyConfigured:
            raise
        except Exception:  # noqa: BLE001 - tracking must not break the caller, whatever went wrong
            self._fail(name)
        self._after_loss()
        return None

    def track_events(self, items: Iterable[Mapping[str, Any]]) -> list[Event | None]:
        """Record several events; `items` are mappings of `track_event`'s arguments. Returns a list in their order.

        A bad item among good ones is None in the list; in strict mode it raises after the others are recorded.
        """
        return _all_or_first_error([self._each(item) for item in self._items(items)])

    async def atrack_events(self, items: Iterable[Mapping[str, Any]]) -> list[Event | None]:
        """See track_events()."""
        results: list[Event | InvalidEvent | None] = []
        for item in self._items(items):
            try:
                results.append(await self.atrack_event(**item))
            except (InvalidEvent, TypeError) as error:
                results.append(self._bad_item(error))
        return _all_or_first_error(results)

    def _items(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        try:
            return iter(items)
        except TypeError:
            refusal = InvalidEvent("items", f"must be mappings in a list, not {type(items).__name__}")
            self._refuse(refusal, _UNKNOWN)
            return iter(())

    def _each(self, item: Mapping[str, Any]) -> Event | InvalidEvent | None:
        try:
            return self.track_event(**item)
        except (InvalidEvent, TypeError) as error:
            return self._bad_item(error)

    def _bad_item(self, error: InvalidEvent | TypeError) -> InvalidEvent | None:
        """Return the refusal of an item, to be raised after the others; None where it is counted already.

        `track_event` raises no TypeError of its own: the item is no mapping of its arguments.
        """
        if isinstance(error, InvalidEvent):
            return error
        refusal = InvalidEvent("items", f"an item is no mapping of track_event's arguments ({error})")
        try:
            self._refuse(refusal, _UNKNOWN)
        except InvalidEvent:
            return refusal
        return None

    def build(self, name: str, params: Any = None, **more: Any) -> Event | None:
        """Return the event that `track_event` would record, or None where it was dropped; record nothing.

        Takes `track_event`'s arguments but for `on_commit`, and `context` and `received_at` besides: this is
        the door of importers. Raises `InvalidEvent`.
        """
        built = self._pipeline.run(name, params, **more)
        if built is None:
            self._after_loss()
            return None
        return built[0]

    def record(self, built: Built, on_commit: bool | str | None) -> bool:
        """Hand an event to `send`; return whether it was accepted. Trackers with a journal hold it first."""
        return self.send(*built) is not False

    async def arecord(self, built: Built, on_commit: bool | str | None) -> bool:
        """See record()."""
        return await sync_to_async(self.record)(built, on_commit)

    def send(self, event: Event, line: bytes) -> bool | None:
        """Take one event, encoded as `line`, on its way; return False where it was not accepted (and count it)."""
        raise NotImplementedError(f"{type(self).__name__} must implement send().")

    def deliver(self, events: Sequence[Event]) -> Outcome:
        """Store a batch in the backend, then in each sink; return what became of it in the backend.

        A sink that fails is counted and logged, and keeps no other from getting the batch. Raises what the
        backend raised.
        """
        with inside_delivery():
            outcome = self.delivery_to("").save(events)
            for sink in self.config.sinks:
                try:
                    self.delivery_to(sink).save(events)
                except Exception as error:  # noqa: BLE001 - a sink fails for itself alone
                    logger.error("littlebro: sink %r did not take %d events: %s", sink, len(events), error)
                    losses.count(self.alias, f"not-stored:{sink}", len(events))
        return outcome

    def delivery_to(self, sink: str) -> Delivery:
        """Return the way to the alias's own backend (``""``) or to that of a sink.

        A sink that the alias does not name any more (dead letters remember it) is still found by its alias.
        """
        return self._destinations.get(sink) or Delivery(self.alias, self._pipeline, sink)

    def events(self, query: EventQuery | None = None, limit: int = 100, cursor: str | None = None) -> Page:
        """Return a page of stored events: those that `query` asks for, or those that follow `cursor`.

        At most `limit` events. A query that names no collection sees the alias's own.
        """
        if query is None and cursor is None:
            query = EventQuery()
        if query is not None and query.collections is None:
            query = query.in_collections(self.config.collection)
        return read_page(backends[self.alias], query, limit, cursor)

    async def aevents(
        self, query: EventQuery | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page:
        """See events()."""
        return await sync_to_async(self.events)(query, limit, cursor)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait up to `timeout` seconds until all that was tracked is stored; return whether it is."""
        return True

    async def aflush(self, timeout: float = 5.0) -> bool:
        """See flush()."""
        return await sync_to_async(self.flush, thread_sensitive=False)(timeout)

    def upkeep(self) -> dict[str, Any]:
        """Deliver, in this thread, what lies around on this machine; return counts. Nothing to do without a journal.

        Inside a database transaction it only says what is left, since a rollback would take back what was stored;
        so it does when code that delivers events (a hook) calls it.
        """
        return {"delivered": 0, "left": 0, "reason": ""}

    def status(self) -> dict[str, Any]:
        """Return what waits and what was lost, JSON-able, for ``manage.py littlebro status``."""
        return {"journal": None, "unwritten_losses": losses.pending(self.alias)}

    def close(self) -> None:
        """Let go of threads and files; what waits stays where it is. The tracker works again if used again."""

    def _after_loss(self) -> None:
        """See to it that the count of an event that was dropped or refused gets where it is seen."""

    def keep_refusal(self, line: bytes) -> None:
        """Take the note of a refused event to the dead letters; without a journal there is no way to."""

    def _refuse(self, error: InvalidEvent, given: Mapping[str, Any]) -> None:
        if strict():
            raise error
        losses.count(self.alias, "invalid")
        # Plain text or nothing: what poses as text may fail when it is looked at, a subclass of it is not encoded.
        name, event_id, collection = (
            str.__str__(given[label]) if is_text(given[label]) else None
            for label in ("name", "event_id", "collection")
        )
        if event_id is None or not 1 <= len(event_id) <= 200 or not event_id.isprintable():
            event_id = new_id()
        if collection is None or not 1 <= len(collection) <= 64 or not collection.isprintable():
            collection = self.config.collection
        message = "littlebro[%s]: event %s (%s) refused: %s"
        logger.warning(message, self.alias, _label(given["name"]), event_id, shown(str(error)))
        if self.tap is None:
            self.keep_refusal(refusal_line(self.alias, error, {"name": name}, event_id, collection))

    def _fail(self, name: object) -> None:
        """Count and log an error of our own; called while it is being handled."""
        losses.count(self.alias, "internal")
        message = "littlebro[%s]: event %s was not recorded."
        logger.exception(message, self.alias, _label(name))  # noqa: LOG004 - see above


def _label(name: object) -> str:
    return shown(name[:200]) if is_text(name) else f"<{type(name).__name__}>"


def _all_or_first_error(results: Sequence[Event | InvalidEvent | None]) -> list[Event | None]:
    events: list[Event | None] = []
    for result in results:
        if isinstance(result, InvalidEvent):
            raise result
        events.append(result)
    return events
