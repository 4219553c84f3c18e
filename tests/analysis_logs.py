"""For tests of trends and breakdowns: a store that holds given events, and those that a report looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from littlebro.events.event import Event
from littlebro.storage.handler import backends

Put = Callable[[Iterable[Event]], None]
T0 = datetime(2026, 3, 27, tzinfo=UTC)
DAY = timedelta(days=1)
_numbers: Iterator[int] = count()


def event(at: float = 0, name: str = "view", who: str | None = "u1", **fields: Any) -> Event:
    """Return an event so many days after `T0`; `who` is a user with ``u`` before the id, a device with ``a``."""
    number = next(_numbers)
    person = {} if who is None else {"user_id" if who[0] == "u" else "anonymous_id": who[1:]}
    moment = fields.pop("timestamp", T0 + at * DAY).astimezone(UTC)
    given: dict[str, Any] = {"params": {}, "context": {}, **person, **fields}
    return Event(id=f"e{number:06}", name=name, timestamp=moment, received_at=moment, **given)


def fill(settings: Any, events: Iterable[Event]) -> None:
    """Make a new store, with these events in it, the default one."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": f"log {next(_numbers)}"}}
    backends["default"].save_many(list(events))


@contextmanager
def without_lake(settings: Any) -> Iterator[None]:
    """Let reports read the store itself for a while."""
    folder, settings.LITTLEBRO_LAKE = settings.LITTLEBRO_LAKE, None
    try:
        yield
    finally:
        settings.LITTLEBRO_LAKE = folder


def people(log: Iterable[Event]) -> dict[str, str | None]:
    """Return who each event (by id) is of: ``u…``, ``a…`` or None."""
    log = sorted(log, key=lambda e: (e.timestamp, e.id, e.collection))
    first: dict[str, str] = {}
    for each in log:
        if each.user_id is not None and each.anonymous_id is not None:
            first.setdefault(each.anonymous_id, each.user_id)
    found: dict[str, str | None] = {}
    for each in log:
        if each.user_id is not None:
            found[each.id] = f"u{each.user_id}"
        elif each.anonymous_id is None:
            found[each.id] = None
        else:
            user = first.get(each.anonymous_id)
            found[each.id] = f"a{each.anonymous_id}" if user is None else f"u{user}"
    return found
