"""The contract of a backend: one write, one scan, and what a backend may offer besides.

Events that the validator passed flow in, events in reading order flow out. A backend knows its own store and
nothing of trackers, journals or settings; the core does filters and paging wherever a backend does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, NoReturn, TypeVar

import msgspec
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.exceptions import UnsupportedOperation

__all__ = ["BaseBackend", "SaveResult"]

_ASYNC_CHUNK: Final = 200
_Item = TypeVar("_Item")


class SaveResult(msgspec.Struct, frozen=True):
    """What became of a batch.

    `stored` events are in the store and were not before; `duplicates` were there already, or are None where
    the store cannot tell, and are then part of `stored`. `refused` maps (collection, id) to the reason why
    the store will never take that event; everything else of the batch is stored.
    """

    stored: int
    duplicates: int | None = 0
    refused: Mapping[tuple[str, str], str] = msgspec.field(default_factory=dict)


class BaseBackend:
    """Derive from this to store events somewhere new.

    `save_many` and `scan` are the contract; every other operation belongs to a flag below and refuses by
    name until the flag and the method are there. `option_defaults` names every option of the alias's
    ``OPTIONS``, with its default, so that an unknown one is an error. Constructors do no I/O. One instance
    serves all threads of a process; a forked child builds its own.
    """

    littlebro_api: ClassVar[int] = 1
    option_defaults: ClassVar[Mapping[str, Any]] = {}
    idempotent: ClassVar[bool] = True
    """Whether storing an event again changes nothing (False: at least once)."""
    supports_scan: ClassVar[bool] = True
    supports_delete: ClassVar[bool] = False
    supports_count: ClassVar[bool] = False
    supports_scan_stored: ClassVar[bool] = False
    set_up_by_migrate: ClassVar[bool] = False
    """Whether ``manage.py migrate`` makes all that `setup` makes (False: `setup` is called after it)."""

    @property
    def supports_copy_stored(self) -> bool:
        """Whether `copy_stored` is there, a quick way out for many events; it may depend on the store's server."""
        return False

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        """Keep the configuration; `options` holds every key of `option_defaults`."""
        self.alias = alias
        self.location = location
        self.options = options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of LITTLEBRO[{self.alias!r}]>"

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """Store `events`; an event whose (collection, id) is there already stays as it is.

        All of the batch is stored or, if this raises, nothing need be: it will come again. Raise
        `EventRefused` where the data is at fault and the store cannot tell which event; whatever else is
        raised means "later".
        """
        raise NotImplementedError(f"{type(self).__name__} must implement save_many().")

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        """Yield events in the order of (timestamp, id, collection), backwards if `query.newest_first`.

        `after` is a position to start behind. May yield more than the query asks for, never less: the core
        applies `query.matches`. Must not hold the whole answer in memory.
        """
        self._refuse("scan", "be read from")

    def delete_many(self, query: EventQuery) -> int:
        """Delete the events that `query` matches, and return how many they were (flag `supports_delete`)."""
        self._refuse("delete_many", "delete")

    def count(self, query: EventQuery) -> int:
        """Return how many events `query` matches, exactly (flag `supports_count`)."""
        self._refuse("count", "count")

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        """Yield (position, event) in the order of storing (flag `supports_scan_stored`).

        Positions are opaque text; `after` is one of them, None is the beginning. Ends before the first event
        that might still be overtaken by an earlier one, so that going on from the last position misses none.
        """
        self._refuse("scan_stored", "be read in order of storing")

    def scan_visible(self, after: str | None = None) -> Iterator[tuple[str | None, Event]]:
        """Yield the pairs of `scan_stored`, and then (None, event) for those before which it ends.

        These can be seen by now, and will have a place in the order later; by default there are none.
        """
        return self.scan_stored(after)

    def copy_stored(
        self, after: str | None, limit: int, recent: int, write: Callable[[bytes], object]
    ) -> Sequence[str]:
        """Write the next events in the order of storing as CSV rows (property `supports_copy_stored`).

        They are those that `scan_stored` would yield, up to `limit` of them. A row (RFC 4180, ended by a line feed,
        without a header; NULL is nothing between two commas) holds id, collection, name, timestamp and received_at as
        ``2026-01-31 23:59:59.123456`` in UTC, user_id, anonymous_id, params and context as JSON. `write` takes a
        row or part of one at a time, or several. Returns the positions of the last `recent` events, in order.
        """
        self._refuse("copy_stored", "copy its rows out")

    def setup(self) -> None:
        """Make what the store needs before its first event: tables, indexes. Harmless if run again."""

    def check(self) -> list[str]:
        """Return what is wrong with the store as it is now, a sentence each; by default, whether `ping` raises."""
        self.ping()
        return []

    def ping(self) -> None:
        """Raise unless the store answers."""

    def close(self) -> None:
        """Let go of what this process holds; the backend is usable again afterwards."""

    async def asave_many(self, events: Sequence[Event]) -> SaveResult:
        """See save_many()."""
        return await sync_to_async(self.save_many)(events)

    async def ascan(self, query: EventQuery, after: Position | None = None) -> AsyncIterator[Event]:
        """See scan()."""
        async for event in _in_chunks(self.scan(query, after)):
            yield event

    async def adelete_many(self, query: EventQuery) -> int:
        """See delete_many()."""
        return await sync_to_async(self.delete_many)(query)

    async def acount(self, query: EventQuery) -> int:
        """See count()."""
        return await sync_to_async(self.count)(query)

    async def ascan_stored(self, after: str | None = None) -> AsyncIterator[tuple[str, Event]]:
        """See scan_stored()."""
        async for pair in _in_chunks(self.scan_stored(after)):
            yield pair

    async def asetup(self) -> None:
        """See setup()."""
        await sync_to_async(self.setup)()

    async def acheck(self) -> list[str]:
        """See check()."""
        return await sync_to_async(self.check)()

    async def aping(self) -> None:
        """See ping()."""
        await sync_to_async(self.ping)()

    async def aclose(self) -> None:
        """See close()."""
        await sync_to_async(self.close)()

    def misconfigured(self, problem: str) -> ImproperlyConfigured:
        """Return, to be raised, a configuration error that names the alias."""
        return ImproperlyConfigured(f"LITTLEBRO[{self.alias!r}]: {problem}")

    def _refuse(self, operation: str, verb: str) -> NoReturn:
        kind = type(self)
        raise UnsupportedOperation(
            f"LITTLEBRO[{self.alias!r}]: the backend {kind.__module__}.{kind.__qualname__} cannot {verb} ({operation})."
        )


async def _in_chunks(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """Read a blocking iterator from an event loop, some items at a time."""
    source = iter(items)
    while chunk := await sync_to_async(lambda: list(islice(source, _ASYNC_CHUNK)))():
        for item in chunk:
            yield item
