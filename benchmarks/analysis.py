"""How quick the reports are over ten million events, beside the same questions in SQL on PostgreSQL's rows.

The events of `benchmarks.history` stand in PostgreSQL, `simple` reads them, the lake is brought up to date once;
then each report is asked for, not once twice alike, so that no answer comes from the cache. Besides, the same
reports over a tenth and a hundredth, to see how they grow. ``--events N`` takes another number.
"""

import contextlib
import resource
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from urllib.parse import urljoin

from django.urls import URLPattern, URLResolver

from benchmarks.admin import APPS, TEMPLATES, _postgresql
from benchmarks.history import DAYS, END, START, fill
from benchmarks.report import Report, middle

__all__ = ["run", "urlpatterns"]

EVENTS, ROUNDS = 10_000_000, 3
MEMORY = 1000  # MB
PATIENCE = 300  # seconds for one question
# Seconds, for ten million events on two cores.
BOUNDS: Final = {
    "events by day and name": 0.3,
    "people by day": 2.2,
    "breakdown by a param, one name": 0.4,
    "breakdown by a param, all names": 1.5,
    "funnel of three": 1.0,
    "funnel of three, strict": 3.0,
    "retention by day": 1.3,
    "paths, five steps": 3.5,
    "one person": 0.6,
}
OVERVIEW = "/admin/littlebro/dashboard/?since=2026-09-01&until=2026-09-30&compare=previous"
PAGE_BOUNDS: Final = {"the page itself": 0.3, "all panels, cold": 3.0, "all panels, again": 0.3}

urlpatterns: list[URLPattern | URLResolver] = []  # filled when there is a Django to fill it for


def run(options: Any) -> list[Report]:
    """Measure; `options.events` is how many events there are at the most."""
    events = getattr(options, "events", None) or EVENTS
    with _postgresql() as url:
        if url is None:
            report = Report("Reports", "", ("question",))
            report.bounds.append((False, "no PostgreSQL to be had"))
            return [report]
        sizes = [size for size in (events // 100, events // 10, events) if size >= 1000]
        measured = {size: _measured(url, size, size == events) for size in sizes}
    return [_speed(events, measured[events]), _growth(measured)]


def _speed(events: int, measured: dict[str, Any]) -> Report:
    report = Report(
        f"Reports over {events:,} events",
        f"Seconds, median of {ROUNDS}; PostgreSQL once, after ANALYZE, as its package sets it up. The first sync"
        f" took {measured['sync']:.0f} s ({events / measured['sync']:,.0f} events/s),"
        f" the lake has {measured['bytes'] / 1e6:,.0f} MB.",
        ("question", "littlebro", "PostgreSQL", "ratio"),
    )
    for question, bound in BOUNDS.items():
        seconds, peer = middle(measured["seconds"][question]), measured["peer"][question]
        report.row(question, f"{seconds:.2f}", f"{peer:.1f}", peer / seconds)
        if seconds > bound and peer >= 10 * seconds:
            report.at_least(f"{question}, times PostgreSQL", peer / seconds, 10)
        else:
            report.at_most(question, seconds, bound, " s")
    for what, bound in PAGE_BOUNDS.items():
        report.row(f"overview: {what}", f"{measured['page'][what]:.2f}", "", "")
        report.at_most(f"overview, {what}", measured["page"][what], bound, " s")
    report.at_most("memory of the process that asks, sync included", measured["memory"], MEMORY, " MB")
    return report


def _growth(measured: dict[int, dict[str, Any]]) -> Report:
    sizes = sorted(measured)
    report = Report(
        "Reports, as the log grows",
        f"Seconds, median of {ROUNDS}.",
        ("question", *(f"{size:,}" for size in sizes)),
    )
    for question in BOUNDS:
        seconds = [middle(measured[size]["seconds"][question]) for size in sizes]
        report.row(question, *(f"{value:.3f}" for value in seconds))
        report.at_most(f"{question}, for ten times the events", seconds[-1] / seconds[-2], 10, " ×")
    return report


def _measured(url: str, events: int, peer: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder, _database(url, folder) as database:
        _in_child(_fill, Path(folder), database, events)
        answer = _in_child(_ask, Path(folder), database, events)
        answer["peer"] = _in_child(_ask_peer, Path(folder), database) if peer else {}
    return answer


@contextlib.contextmanager
def _database(url: str, folder: str) -> Iterator[dict[str, Any]]:
    import psycopg

    from tests.settings import database

    name = f"littlebro_bench_{folder[-8:].lower()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield {**database(url), "NAME": name}
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _in_child(work: Callable[..., Any], *given: Any) -> dict[str, Any]:
    here, there = get_context("spawn").Pipe()
    child = get_context("spawn").Process(target=_run, args=(work, given, there))
    child.start()
    there.close()
    try:
        answer: dict[str, Any] = here.recv()
    finally:
        child.join()
    return answer


def _run(work: Callable[..., Any], given: tuple[Any, ...], pipe: Connection) -> None:
    pipe.send(work(*given))
    pipe.close()


def _configure(folder: Path, database: dict[str, Any]) -> None:
    from benchmarks.site import configure

    configure(
        folder, DATABASES={"default": database}, TEMPLATES=[TEMPLATES], STATIC_URL="/static/", TIME_ZONE="UTC",
        ROOT_URLCONF="benchmarks.analysis",
        INSTALLED_APPS=[*(f"django.contrib.{name}" for name in APPS), "littlebro"],
        LITTLEBRO={"default": {"TRACKER": "dummy", "BACKEND": "simple"}}, LITTLEBRO_LAKE=str(folder / "lake"),
        LITTLEBRO_ANALYSIS_SECONDS=float(PATIENCE),
    )  # fmt: skip


def _fill(folder: Path, database: dict[str, Any], events: int) -> dict[str, Any]:
    _configure(folder, database)
    from django.db import connection

    fill(connection, events, folder)
    return {}


def _ask(folder: Path, database: dict[str, Any], events: int) -> dict[str, Any]:
    """Bring the lake up to date, and ask for each report."""
    _configure(folder, database)
    from littlebro.analysis.lake import sync

    start = perf_counter()
    sync("default")
    taken = perf_counter() - start
    seconds: dict[str, list[float]] = {question: [] for question in BOUNDS}
    for number in range(ROUNDS + 1):
        for question, ask in _reports(number).items():
            start = perf_counter()
            ask()
            if number:  # the first round finds cold files
                seconds[question].append(perf_counter() - start)
    return {
        "sync": taken,
        "seconds": seconds,
        "page": _page(),
        "bytes": sum(path.stat().st_size for path in (folder / "lake").rglob("*") if path.is_file()),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def _page() -> dict[str, float]:
    """Return the seconds that the overview takes: the page, its panels one after the other, and those again."""
    import re
    from html import unescape

    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import path

    urlpatterns.append(path("admin/", admin.site.urls))
    client = Client()
    client.force_login(User.objects.create_superuser("admin", "admin@example.com", "x"))
    client.get("/admin/")  # the first request loads templates

    def asked(url: str) -> tuple[float, str]:
        start = perf_counter()
        response = client.get(url)
        if response.status_code != 200:
            raise RuntimeError(f"{url} answers {response.status_code}")
        return perf_counter() - start, response.content.decode()

    seconds, page = asked(OVERVIEW)
    panels = [urljoin(OVERVIEW, unescape(found)) for found in re.findall(r'data-lb-panel="([^"]+)"', page)]
    if len(panels) < 4:
        raise RuntimeError("the overview shows fewer than four panels")
    cold, again = (sum(asked(panel)[0] for panel in panels) for _ in range(2))
    return {"the page itself": seconds, "all panels, cold": cold, "all panels, again": again}


def _reports(number: int) -> dict[str, Callable[[], object]]:
    """Return a call for each question; `number` moves the range by so many microseconds, so that none is cached."""
    from littlebro import EventQuery, analysis
    from littlebro.analysis import Person, Step

    span: Any = {"start": START - timedelta(microseconds=number), "end": END}
    whole, one = EventQuery(**span), EventQuery(**span, names=("product-viewed",))
    steps = [Step("product-viewed"), Step("basket-filled"), Step("order-paid")]
    plan, anything = ("params", "plan"), Step()
    rest: Any = {"tz": "UTC", "now": END + timedelta(days=20)}
    return {
        "events by day and name": lambda: analysis.trend(whole, by=("name",), limit=50, **rest),
        "people by day": lambda: analysis.trend(whole, measure="people", **rest),
        "breakdown by a param, one name": lambda: analysis.breakdown(one, by=plan, **rest),
        "breakdown by a param, all names": lambda: analysis.breakdown(whole, by=plan, **rest),
        "funnel of three": lambda: analysis.funnel(whole, steps, **rest),
        "funnel of three, strict": lambda: analysis.funnel(whole, steps, order="strict", **rest),
        "retention by day": lambda: analysis.retention(whole, anything, anything, periods=DAYS, **rest),
        "paths, five steps": lambda: analysis.paths(whole, steps=5, **rest),
        "one person": lambda: analysis.person(Person(user_id=str(10 + 5 * number))),
    }


def _ask_peer(folder: Path, database: dict[str, Any]) -> dict[str, float]:
    _configure(folder, database)
    from django.db import OperationalError, connection

    from benchmarks.peer_questions import QUESTIONS

    seconds = {}
    with connection.cursor() as cursor:
        for question in BOUNDS:
            start = perf_counter()
            cursor.execute(f"SET statement_timeout = '{PATIENCE}s'")
            with contextlib.suppress(OperationalError):  # cancelled: all of its patience is counted
                cursor.execute(QUESTIONS[question])
                cursor.fetchall()
            seconds[question] = perf_counter() - start
    return seconds
