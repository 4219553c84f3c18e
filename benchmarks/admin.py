"""How quick the admin's pages are over a million events, on PostgreSQL and SQLite.

The rows are written by `simple.save_many` and unlike each other: some names and one collection are of nearly all
rows, others of a handful; most people have a few events, one has a tenth of all. The pages are asked for by
Django's test client, so that templates, session and permissions are in the figure.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

from django.urls import URLPattern, URLResolver

from benchmarks.report import Report, middle

__all__ = ["run", "urlpatterns"]

EVENTS, BATCH, DAYS, ROUNDS = 1_000_000, 2_000, 90, 7
BOUND = 0.5  # seconds
LISTS = "/admin/littlebro/storedevent/"
TEMPLATES = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {
        "context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]
    },
}
APPS = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")

urlpatterns: list[URLPattern | URLResolver] = []  # filled when there is a Django to fill it for

Times = dict[str, list[float]]


def run(options: Any) -> list[Report]:
    """Measure both databases, each in a process of its own; `options` asks for nothing here."""
    return [_report("PostgreSQL", _postgresql()), _report("SQLite", contextlib.nullcontext(""))]


def _report(title: str, server: contextlib.AbstractContextManager[str | None]) -> Report:
    report = Report(
        f"The admin over {EVENTS:,} events on {title}",
        f"Seconds a page, {ROUNDS} times each, through Django's test client.",
        ("page", "median", "worst"),
    )
    with server as url:
        if url is None:
            report.bounds.append((False, "no PostgreSQL to be had"))
            return report
        for page, seconds in _child(url).items():
            report.row(page, f"{middle(seconds):.3f}", f"{max(seconds):.3f}")
            report.at_most(page, max(seconds), BOUND, " s")
    return report


@contextlib.contextmanager
def _postgresql() -> Iterator[str | None]:
    """Give the URL of a PostgreSQL: the environment's, or one that the suite's services start."""
    from tests.services import Servers

    with Servers(["postgresql"], install=False) as servers:
        yield servers.urls.get("postgresql")


def _child(url: str) -> Times:
    here, there = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        child = get_context("spawn").Process(target=_work, args=(Path(folder), url, there))
        child.start()
        there.close()
        answer: Times = here.recv()
        child.join()
    return answer


def _work(folder: Path, url: str, pipe: Connection) -> None:
    with _database(folder, url) as given:
        from benchmarks.site import configure

        apps = [f"django.contrib.{name}" for name in APPS]
        configure(
            folder, DATABASES={"default": given}, INSTALLED_APPS=[*apps, "littlebro"], TEMPLATES=[TEMPLATES],
            ROOT_URLCONF="benchmarks.admin", STATIC_URL="/static/", TIME_ZONE="Asia/Kathmandu",
            LITTLEBRO={"default": {"TRACKER": "dummy", "BACKEND": "simple"}},
        )  # fmt: skip
        from django.contrib import admin
        from django.urls import path

        urlpatterns.append(path("admin/", admin.site.urls))
        now = datetime.now(UTC)
        _fill(now)
        pipe.send(_measure(now))
        from django.db import connection

        connection.close()
    pipe.close()


@contextlib.contextmanager
def _database(folder: Path, url: str) -> Iterator[dict[str, Any]]:
    """Give the settings of a database for this run alone."""
    from benchmarks.site import sqlite
    from tests.settings import database

    if not url:
        yield sqlite(folder / "default.sqlite3")
        return
    import psycopg

    name = f"littlebro_bench_{folder.name[-8:].lower()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield {**database(url), "NAME": name}
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _fill(now: datetime) -> None:
    """Write the events, and let the database learn what is in them, as autovacuum does within a minute."""
    from django.db import connection

    from littlebro.storage.handler import backends

    backend = backends["default"]
    random = Random(20)
    for start in range(0, EVENTS, BATCH):
        backend.save_many([_event(number, now, random) for number in range(start, start + BATCH)])
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE littlebro_storedevent")


def _event(number: int, now: datetime, random: Random) -> Any:
    from littlebro.events.event import Event

    name = f"name-{min(int(random.paretovariate(0.7)), 60):02}"
    user: str | None = str(min(int(random.paretovariate(0.3)), 10**9) % 60_000)
    if number % 10 == 0:
        user = "crawler"
    elif number % 3 == 0:
        user = None
    rare = number % (EVENTS // 20) == 7
    moment = now - timedelta(seconds=random.random() * DAYS * 86_400)
    params: dict[str, Any] = {
        "method": "GET", "path": f"/products/{number % 977}/", "status": 200, "duration": random.random(),
        "items": [{"sku": f"sku-{number % 53}", "n": number % 7}],
    }  # fmt: skip
    if rare:
        params["long"] = "x" * 10_000
        params["many"] = list(range(500))
    return Event(
        id=f"{number:08}-bench", name="name-rare" if rare else name, timestamp=moment, received_at=moment,
        params=params, context={"ip": "192.0.2.0", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"},
        user_id=user, anonymous_id=None if user else f"visitor-{number % 90_001}",
        collection="rare" if rare else "audit" if number % 50 == 1 else "littlebro",
    )  # fmt: skip


def _measure(now: datetime) -> Times:
    from django.contrib.auth.models import User
    from django.core.cache import cache
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("admin", "admin@example.com", "x"))
    times: Times = {}
    for page, url in [("", LISTS), *_pages(now).items()]:
        for _ in range(ROUNDS):
            cache.clear()  # each time as if it were the first for half a minute
            start = perf_counter()
            response = client.get(url)
            taken = perf_counter() - start
            if response.status_code != 200 or b'role="alert"' in response.content:
                raise RuntimeError(f"{page}: {url} answers {response.status_code}")
            if page:  # the very first request loads templates
                times.setdefault(page, []).append(taken)
    return times


def _pages(now: datetime) -> dict[str, str]:
    """Return the address of each page to be measured."""
    from littlebro.admin.paging import _cursor
    from littlebro.models import StoredEvent

    order = ("timestamp", "event_id", "collection")
    rows = StoredEvent.objects.order_by("timestamp", "event_id", "collection")
    middle_row = rows.filter(timestamp__gte=now - timedelta(days=DAYS / 2))[0]
    middle, oldest = (_cursor(row, order) for row in (middle_row, rows[30]))
    large = StoredEvent.objects.filter(collection="rare")[0]
    hour = {"range": "custom", "since": "2026-01-01T00:00", "until": "2026-01-01T01:00"}
    moment = (now - timedelta(days=40)).replace(tzinfo=None)
    hour |= {"since": moment.isoformat()[:16], "until": (moment + timedelta(hours=1)).isoformat()[:16]}
    asked: dict[str, dict[str, str]] = {
        "list, first page": {},
        "list, in the middle": {"before": middle},
        "list, back from the middle": {"after": middle},
        "list, last page": {"before": oldest},
        "list, back from the last page": {"after": oldest},
        "name of most": {"name": "name-01"},
        "name of most, in the middle": {"name": "name-01", "before": middle},
        "name of few": {"name": "name-rare"},
        "name of none": {"name": "nothing"},
        "collection of most": {"collection": "littlebro"},
        "collection of most, in the middle": {"collection": "littlebro", "before": middle},
        "collection of some": {"collection": "audit"},
        "collection of few": {"collection": "rare"},
        "collection of none": {"collection": "nothing"},
        "name and collection": {"name": "name-02", "collection": "audit"},
        "name of most, collection of few": {"name": "name-01", "collection": "rare"},
        "person with some events": {"user": "17"},
        "person with a tenth of all": {"user": "crawler"},
        "person with a tenth of all, one name": {"user": "crawler", "name": "name-03"},
        "person with a tenth of all, name of few": {"user": "crawler", "name": "name-rare"},
        "person unknown": {"user": "nobody"},
        "visitor": {"anonymous": "visitor-4"},
        "person, name, collection, 7 days": {
            "user": "crawler", "name": "name-01", "collection": "littlebro", "range": "7d",
        },
        "today": {"range": "today"},
        "last 24 hours": {"range": "24h"},
        "last 7 days": {"range": "7d"},
        "last 30 days": {"range": "30d"},
        "one hour, 40 days ago": hour,
        "one hour of a name": {**hour, "name": "name-01"},
        "30 days of a collection of few": {"range": "30d", "collection": "rare"},
        "a span with nothing in it": {"range": "custom", "since": "2100-01-01T00:00", "collection": "littlebro"},
        "search for an event's id": {"q": f"{EVENTS // 2:08}-bench"},
        "search for a person": {"q": "crawler"},
        "search for nothing known": {"q": "nothing"},
    }  # fmt: skip
    pages = {page: f"{LISTS}?{urlencode(query)}" for page, query in asked.items()}
    pages["an event"] = f"{LISTS}{middle_row.pk}/change/"
    pages["an event of 12,000 characters"] = f"{LISTS}{large.pk}/change/"
    return pages
