"""Erasure: everything known of one person goes, and does not come back with a late batch.

Order matters: the tombstone first, then what waits in the journal, then backend, sinks and dead letters. See
`littlebro.delivery.tombstones` for why that order leaves no gap.
"""

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

from littlebro.conf import alias_config
from littlebro.delivery import tombstones
from littlebro.delivery.deliver import person_queries
from littlebro.delivery.handler import trackers
from littlebro.events.event import Event
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate

__all__ = ["forget", "person"]


def forget(alias: str, user_id: str | None = None, anonymous_id: str | None = None) -> dict[str, int]:
    """Erase a person from `alias`: journal, backend, sinks that can delete, dead letters.

    Returns how many events were deleted where: ``backend``, ``dead letters`` and each sink by its alias; -1
    for a destination that cannot delete. Every collection of the backend is searched. Raises `InvalidQuery`
    where no person is named.
    """
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    if user_id is None and anonymous_id is None:
        raise InvalidQuery("Nobody is named; forget needs a user_id, an anonymous_id, or both.")
    tombstones.put(user_id, anonymous_id)
    trackers[alias].upkeep()
    erased = {"backend": _erase(alias, user_id, anonymous_id)}
    for sink in alias_config(alias).sinks:
        erased[sink] = _erase(sink, user_id, anonymous_id)
    letters = 0
    if user_id is not None:
        letters += DeadLetter.objects.filter(alias=alias, user_id=user_id).delete()[0]
    if anonymous_id is not None:
        letters += DeadLetter.objects.filter(alias=alias, anonymous_id=anonymous_id).delete()[0]
    return {**erased, "dead letters": letters}


def _erase(alias: str, user_id: str | None, anonymous_id: str | None) -> int:
    backend = backends[alias]
    if not backend.supports_delete:
        return -1
    return sum(backend.delete_many(query) for query in person_queries([(user_id, anonymous_id)]))


def person(alias: str, user_id: str | None = None, anonymous_id: str | None = None) -> Iterator[Event]:
    """Yield all stored events of a person, by time; every collection of the backend is searched."""
    found = [iterate(backends[alias], query) for query in person_queries([(user_id, anonymous_id)])]
    last = None
    for event in merge(*found, key=attrgetter("position")):
        if event.position != last:
            last = event.position
            yield event
