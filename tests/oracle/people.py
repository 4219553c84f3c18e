"""Who is who: one rule for all reports."""

from collections.abc import Iterable, Mapping

from littlebro import Event

Who = tuple[str, str]
"""("u", user_id) or ("a", anonymous_id)."""


def in_order(log: Iterable[Event]) -> list[Event]:
    """Return events by time, then id, then collection."""
    return sorted(log, key=lambda event: (event.timestamp, event.id, event.collection))


def links(log: Iterable[Event]) -> dict[str, str]:
    """Return, for each anonymous id, the first user it was seen with, in any collection."""
    found: dict[str, str] = {}
    for event in in_order(log):
        if event.anonymous_id is not None and event.user_id is not None:
            found.setdefault(event.anonymous_id, event.user_id)
    return found


def who(event: Event, known: Mapping[str, str]) -> Who | None:
    """Return the person of an event: its user, else the user its anonymous id belongs to, else that id; or nobody."""
    if event.user_id is not None:
        return ("u", event.user_id)
    if event.anonymous_id is None:
        return None
    if event.anonymous_id in known:
        return ("u", known[event.anonymous_id])
    return ("a", event.anonymous_id)
