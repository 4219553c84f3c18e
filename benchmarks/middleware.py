"""What TrackerMiddleware adds to the request of an anonymous page, beside django-request's middleware.

Three handlers of one site, each with its chain of middleware, answer the same request in turns; what a
middleware adds is the difference of the medians. littlebro uses the tracker `thread` and writes to a database
of its own, so that django-request's rows never wait for ours.
"""

import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from benchmarks.priority import go_before_others
from benchmarks.report import Report, middle, percentile

__all__ = ["run"]

ROUNDS, REQUESTS = 40, 100
PLAIN, OURS, PEER = "without", "littlebro", "django-request"
ADDED = {
    PLAIN: [],
    OURS: ["littlebro.middleware.TrackerMiddleware"],
    PEER: ["request.middleware.RequestMiddleware"],
}


def run(options: Any) -> list[Report]:
    """Measure in a process of its own."""
    ours, theirs = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        child = get_context("spawn").Process(target=work, args=(Path(folder), theirs))
        child.start()
        theirs.close()
        taken, queries, stored, version = ours.recv()
        child.join()
    return [_report(taken, queries, stored, version)]


def work(folder: Path, pipe: Connection) -> None:
    """Time the three handlers in turns; send what each request took, in nanoseconds, and what was counted."""
    go_before_others()
    from benchmarks.site import MIDDLEWARE, configure, sqlite, thread_tracker

    configure(
        folder,
        DATABASES={name: sqlite(folder / f"{name}.sqlite3") for name in ("default", "events")},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "littlebro",
            "request",
        ],
        LITTLEBRO=thread_tracker(folder, LOCATION="events"),
    )
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command
    from django.test import override_settings
    from request.models import Request

    from littlebro import tracker

    call_command("migrate", database="events", verbosity=0)
    handlers = {}
    for name, added in ADDED.items():
        with override_settings(MIDDLEWARE=[*MIDDLEWARE, *added]):
            handlers[name] = WSGIHandler().get_response
    taken: dict[str, list[int]] = {name: [] for name in handlers}
    for number in range(ROUNDS + 1):
        for name, answer in handlers.items():
            measured = _time(answer)
            if number:
                taken[name] += measured
        tracker.flush(30)
    queries = {name: _queries(answer) for name, answer in handlers.items()}
    tracker.flush(30)
    stored = {OURS: _stored(), PEER: Request.objects.count()}
    import request

    pipe.send((taken, queries, stored, getattr(request, "__version__", "")))
    pipe.close()


def _requests(count: int) -> list[Any]:
    from django.test import RequestFactory

    headers = {
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        "referer": "https://example.org/a",
    }
    return [RequestFactory(headers=headers).get("/page/") for _ in range(count)]


def _time(answer: Callable[[Any], Any]) -> list[int]:
    taken = []
    for request in _requests(REQUESTS):
        start = perf_counter_ns()
        response = answer(request)
        taken.append(perf_counter_ns() - start)
        response.close()
    return taken


def _queries(answer: Callable[[Any], Any]) -> int:
    """Return how many queries one request makes in its own thread, on all databases."""
    from contextlib import ExitStack

    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    (request,) = _requests(1)
    with ExitStack() as stack:
        seen = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections]
        answer(request)
        return sum(len(one) for one in seen)


def _stored() -> int:
    from littlebro.models import StoredEvent

    return StoredEvent.objects.using("events").count()


def _report(
    taken: dict[str, list[int]], queries: dict[str, int], stored: dict[str, int], version: str
) -> Report:
    note = (
        f"An anonymous page behind startproject's middleware, {ROUNDS} rounds of {REQUESTS} requests each in turns;\n"
        "`adds` is the difference of the medians. Both write to SQLite, littlebro in the background."
    )
    columns = ("µs a request", "p50", "p99", "adds", "queries", "× littlebro")
    report = Report("The middleware on an anonymous page", note, columns)
    half = {name: middle(values) / 1e3 for name, values in taken.items()}
    adds = {name: half[name] - half[PLAIN] for name in taken}
    for name, values in taken.items():
        label = f"{name} {version}" if name == PEER else name
        ratio = "" if name == PLAIN else adds[name] / adds[OURS]
        report.row(label, half[name], percentile(values, 0.99) / 1e3, adds[name], queries[name], ratio)
    report.at_most("littlebro adds", adds[OURS], 60.0, " µs")
    report.at_most("littlebro's share of what django-request adds", adds[OURS] / adds[PEER], 1 / 20)
    report.equal("queries of a request with littlebro", queries[OURS], 0)
    requests = (ROUNDS + 1) * REQUESTS + 1
    report.equal("events stored by littlebro", stored[OURS], requests)
    report.equal("rows stored by django-request", stored[PEER], requests)
    return report
