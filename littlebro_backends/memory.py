"""Events in the memory of this process, for tests, demonstrations and trying things out.

LOCATION names the store, ``"default"`` if unset: aliases with one name share one store, as Django's locmem
cache has it. Option ``MAX_EVENTS`` (None: no limit) refuses more with an error. All that a backend can
offer is here; nothing outlives the process, and a forked child goes on with a copy.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from littlebro.events.event import Event, Position, decode, encode
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery, LittlebroError
from littlebro.storage import BaseBackend, SaveResult

__all__ = ["Backend", "Full"]


class Full(LittlebroError):
    """Raised when a store holds ``MAX_EVENTS`` events already."""


class _Store:
    """Encoded events by (collection, id), in order of storing; what is read is a copy, as from a database."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.lines: dict[tuple[str, str], tuple[int, Position, bytes]] = {}
        self.last = 0


_stores: Final[dict[str, _Store]] = {}
_guard = threading.Lock()


def _renew_locks() -> None:
    """Give a forked child locks of its own: a thread of the parent's may hold the inherited ones."""
    global _guard  # noqa: PLW0603 - a lock cannot be taken from a thread that is not there
    _guard = threading.Lock()
    for store in _stores.values():
        store.lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)


class Backend(BaseBackend):
    """Keeps events in a dictionary of this process."""

    option_defaults: ClassVar[Mapping[str, Any]] = {"MAX_EVENTS": None}
    supports_delete: ClassVar[bool] = True
    supports_count: ClassVar[bool] = True
    supports_scan_stored: ClassVar[bool] = True

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        """Find or make the store that `location` names."""
        super().__init__(alias, location, options)
        limit = options["MAX_EVENTS"]
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise self.misconfigured("MAX_EVENTS must be a whole number above zero, or None.")
        self._limit: int | None = limit
        with _guard:
            self._store = _stores.setdefault(location or "default", _Store())

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """See BaseBackend.save_many()."""
        store = self._store
        with store.lock:
            fresh = {(event.collection, event.id): event for event in reversed(events)}
            new = [event for key, event in reversed(fresh.items()) if key not in store.lines]
            if self._limit is not None and len(store.lines) + len(new) > self._limit:
                message = (
                    f"LITTLEBRO[{self.alias!r}]: the store in memory is full: MAX_EVENTS is {self._limit}."
                )
                raise Full(message)
            for event in new:
                store.last += 1
                store.lines[event.collection, event.id] = (store.last, event.position, encode(event))
        return SaveResult(stored=len(new), duplicates=len(events) - len(new))

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        """See BaseBackend.scan()."""
        with self._store.lock:
            places = [(position, line) for _serial, position, line in self._store.lines.values()]
        places.sort(key=lambda place: place[0], reverse=query.newest_first)
        for position, line in places:
            if after is None or (position < after if query.newest_first else position > after):
                event = decode(line)
                if query.matches(event):
                    yield event

    def delete_many(self, query: EventQuery) -> int:
        """See BaseBackend.delete_many()."""
        with self._store.lock:
            doomed = [key for key, (_, _, line) in self._store.lines.items() if query.matches(decode(line))]
            for key in doomed:
                del self._store.lines[key]
        return len(doomed)

    def count(self, query: EventQuery) -> int:
        """See BaseBackend.count()."""
        return sum(1 for _ in self.scan(query))

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        """See BaseBackend.scan_stored()."""
        if after is not None and not (after.isascii() and after.isdigit()):
            raise InvalidQuery("This is no position in the order of storing; start without one.")
        start = int(after or 0)
        with self._store.lock:
            lines = [(serial, line) for serial, _, line in self._store.lines.values() if serial > start]
        for serial, line in lines:
            yield str(serial), decode(line)

    def clear(self) -> None:
        """Forget everything in the store; positions of `scan_stored` go on from where they were."""
        with self._store.lock:
            self._store.lines.clear()
