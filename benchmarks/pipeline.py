"""From the call to the row through one broker and one worker, beside two that make a task of each event, in one run.

Those are a task that stores one event, and event-tracking (Open edX) with its asynchronous routing. Producer and
worker are processes of their own; broker, database and both share the machine. Time runs from the first
`track_event` (or `delay`, or `emit`) until the last row is in the table.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.report import Report, middle

__all__ = ["BROKERS", "produce", "run", "worker"]

ROUNDS = 3
OURS, ONE, PEER = "littlebro", "one", "event-tracking"
EVENTS, TASKS = 200_000, 2_000
FEWER = 50_000  # into MongoDB: each look for the last document is a count of all
BROKERS = {"rabbitmq": "RabbitMQ", "redis": "Redis"}
STORES = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mongodb": "mongo"}
BOUNDS = {("rabbitmq", "postgresql"): 30_000.0, ("redis", "postgresql"): 20_000.0}
RATIO = 40.0


def run(options: Any) -> list[Report]:
    """Measure each broker into each store."""
    from tests.services import Servers

    peer = importlib.util.find_spec("eventtracking") is not None
    report = Report(
        "Through a broker",
        f"Medians of {ROUNDS} rounds, in turns: {EVENTS:,} calls of track_event ({FEWER:,} into mongo), {TASKS:,}\n"
        "tasks of one event each, from the first call to the last row; one worker of Celery's, prefork, two\n"
        "processes." + ("" if peer else " event-tracking is not installed (it needs Python 3.12)."),
        ("events/s", "littlebro", "one task an event", "×", "event-tracking", "×"),
    )
    with Servers(["postgresql", "mongodb", *BROKERS], install=False) as servers:
        for broker, shown in BROKERS.items():
            for store, called in STORES.items():
                lacking = [name for name in (broker, store) if name in servers.missing]
                if lacking:
                    report.bounds.append((False, f"no {lacking[0]} to be had: {servers.missing[lacking[0]]}"))
                    continue
                url = _named(servers.urls.get(store, ""), f"bench-{broker}")
                _measure(report, f"{shown} → {called}", servers.urls[broker], url, (broker, store), peer)
    return [report]


def _named(url: str, database: str) -> str:
    """Return the URL of a MongoDB with a database that no other row of the table uses; others as they are."""
    return urlsplit(url)._replace(path=f"/{database}").geturl() if url.startswith("mongodb:") else url


def _measure(
    report: Report, title: str, broker: str, database: str, pair: tuple[str, str], peer: bool
) -> None:
    counts = {ONE: TASKS, **({PEER: TASKS} if peer else {}), OURS: FEWER if pair[1] == "mongodb" else EVENTS}
    rates: dict[str, list[float]] = {how: [] for how in counts}
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        given = {"broker": broker, "database": database, "folder": folder}
        environment = {**os.environ, "LITTLEBRO_BENCH": json.dumps(given)}
        produce(environment, "migrate", 0)
        with worker(environment, Path(folder)):
            for _ in range(ROUNDS):
                for how, n in counts.items():
                    rates[how].append(n / produce(environment, how, n))
    ours, one = middle(rates[OURS]), middle(rates[ONE])
    beside = middle(rates[PEER]) if peer else 0.0
    report.row(title, ours, one, ours / one, beside or "-", ours / beside if beside else "-")
    if pair in BOUNDS:
        report.at_least(title, ours, BOUNDS[pair], " events/s")
        report.at_least(f"{title} ÷ one task an event", ours / one, RATIO, " ×")


def produce(environment: dict[str, str], how: str, n: int) -> float:
    """Run the producer; return the figure that it prints."""
    command = [sys.executable, "-m", "benchmarks.pipeline_site", how, str(n)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.strip() or 0)


@contextmanager
def worker(environment: dict[str, str], folder: Path, processes: int = 2) -> Iterator[None]:
    """Run a worker while the block runs."""
    command = [
        *(sys.executable, "-m", "celery", "--app=benchmarks.pipeline_site", "worker"),
        *(f"--concurrency={processes}", "--without-gossip", "--without-mingle", "--loglevel=INFO"),
    ]
    with (folder / "worker.log").open("w") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while " ready." not in (folder / "worker.log").read_text():
            if child.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "worker.log").read_text()[-2000:])
            time.sleep(0.1)
        yield
    finally:
        child.terminate()
        child.wait(60)
