"""Who was forgotten: a keyed hash of each erased person and the time, never the id itself.

The delivering side asks before it writes, and once more after: a person may be forgotten while a batch is
being written. With the tombstone committed before `forget` deletes, either the second look sees it, or the
deletion comes after the write; nothing slips through between them.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import router
from django.utils import timezone

from littlebro.conf import setting
from littlebro.events.event import Event

__all__ = ["digest", "forgotten", "put", "without_forgotten"]

_CHUNK: Final = 500


def digest(kind: str, identity: str) -> str:
    """Return the keyed hash (HMAC-SHA-256, hexadecimal) of an id; `kind` is ``user`` or ``anonymous``."""
    key = setting("LITTLEBRO_FORGET_KEY") or settings.SECRET_KEY
    return hmac.new(str(key).encode(), f"{kind}:{identity}".encode(), hashlib.sha256).hexdigest()


def put(user_id: str | None, anonymous_id: str | None) -> None:
    """Note that a person is forgotten as of now."""
    from littlebro.models import Tombstone  # noqa: PLC0415 - models need a configured Django

    for mark in _marks(user_id, anonymous_id):
        Tombstone.objects.update_or_create(digest=mark, defaults={"forgotten_at": timezone.now()})


def _marks(user_id: str | None, anonymous_id: str | None) -> Iterator[str]:
    if user_id is not None:
        yield digest("user", user_id)
    if anonymous_id is not None:
        yield digest("anonymous", anonymous_id)


def forgotten(events: Sequence[Event]) -> list[Event]:
    """Return those of `events` that happened, or were received, before their person was forgotten."""
    from littlebro.models import Tombstone  # noqa: PLC0415 - models need a configured Django

    people = {(event.user_id, event.anonymous_id) for event in events} - {(None, None)}
    # Not from a replica, which may be behind.
    stones = Tombstone.objects.using(router.db_for_write(Tombstone))
    if not people or not stones.exists():
        return []
    marks = {person: list(_marks(*person)) for person in people}
    wanted = sorted({mark for found in marks.values() for mark in found})
    moments: dict[str, datetime] = {}
    for start in range(0, len(wanted), _CHUNK):
        chunk = stones.filter(digest__in=wanted[start : start + _CHUNK])
        moments.update(chunk.values_list("digest", "forgotten_at"))
    late: list[Event] = []
    for event in events:
        for mark in marks.get((event.user_id, event.anonymous_id), ()):
            moment = moments.get(mark)
            if moment is not None and min(event.timestamp, event.received_at) <= moment:
                late.append(event)
                break
    return late


def without_forgotten(events: Sequence[Event]) -> Sequence[Event]:
    """Return `events` without those of forgotten people."""
    late = forgotten(events)
    if not late:
        return events
    gone = {(event.collection, event.id) for event in late}
    return [event for event in events if (event.collection, event.id) not in gone]
