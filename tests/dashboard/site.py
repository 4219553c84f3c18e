"""A small shop's events and the people who look at them, for the tests of the dashboard."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from littlebro.events.event import Event, Position, new_id
from littlebro.events.query import EventQuery
from littlebro.storage.handler import backends
from littlebro_backends.memory import Backend as MemoryBackend

VIEW, PERSON, EXPORT, MANAGE, ERASE = (
    "view_dashboard",
    "view_person",
    "export_dashboard",
    "manage_dashboard",
    "erase_person",
)
BOARD = "/admin/littlebro/dashboard/"
STEPS = "s1=signed-up&s2=order-paid"
PAGES = ("", "trends/", "breakdown/", f"funnel/?{STEPS}", "retention/", "paths/", "people/", "live/")


def event(name: str, ago: timedelta | float = 0, **fields: Any) -> Event:
    """Return an event some time ago; a number is days."""
    moment = timezone.now() - (ago if isinstance(ago, timedelta) else timedelta(days=ago))
    given: dict[str, Any] = {
        "id": new_id(),
        "params": {},
        "context": {},
        "timestamp": moment,
        "received_at": moment,
    }
    return Event(name=name, **(given | fields))


def store(*events: Event, alias: str = "default") -> None:
    """Put events into the store of an alias."""
    backends[alias].save_many(list(events))


class AwayStore(MemoryBackend):
    """A store that cannot be reached, whose client says more than a page should."""

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        raise ConnectionError("password=hunter2")

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        raise ConnectionError("password=hunter2")

    def delete_many(self, query: EventQuery) -> int:
        raise ConnectionError("password=hunter2")


def fill() -> None:
    """Store the events of some days: eight people, of whom three pay, one after having been anonymous."""
    events = []
    for number in range(8):
        user = str(number)
        plan = "team" if number % 2 else "free"
        events += [
            event("page-accessed", 5.2, user_id=user, params={"path": f"/p{number % 3}/", "n": number}),
            event("signed-up", 5, user_id=user, params={"plan": plan}, context={"country": "DE"}),
        ]
        if number < 3:
            events.append(event("order-paid", 2 + number, user_id=user, params={"total": 10 * (number + 1)}))
    events += [
        event(
            "page-accessed",
            6,
            anonymous_id="visitor",
            params={"path": "/p0/"},
            context={"referrer": "https://a.example/"},
        ),
        event("page-accessed", 5.1, anonymous_id="visitor", user_id="0", params={"path": "/p1/"}),
        event("page-accessed", timedelta(minutes=2), anonymous_id="stranger", params={"path": "/p0/"}),
    ]
    store(*events)


def staff(*permissions: str, name: str = "staff") -> User:
    """Return a member of staff with permissions of the dashboard."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return User.objects.get(pk=user.pk)


def panel(slug: str, query: str = "") -> str:
    """Return the address of a panel."""
    return reverse("admin:littlebro_dashboard_panel", args=[slug]) + (f"?{query}" if query else "")


def export(slug: str, kind: str, query: str = "") -> str:
    """Return the address of an export."""
    return reverse("admin:littlebro_dashboard_export", args=[slug, kind]) + (f"?{query}" if query else "")


def noon(day: int) -> datetime:
    """Return a noon of March 2026 in UTC."""
    return datetime(2026, 3, day, 12, tzinfo=UTC)
