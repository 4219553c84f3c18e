"""From the call to the row through one broker and one worker, beside one task an event, in one run.

Producer and worker are processes of their own; broker, database and both share the machine. Time runs from the
first `track_event` (or `delay`) until the last row is in the table.
"""

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

from benchmarks.report import Report, middle

__all__ = ["run"]

EVENTS, TASKS, ROUNDS = 200_000, 2_000, 3
BROKERS = {"rabbitmq": "RabbitMQ", "redis": "Redis"}
BOUNDS = {("rabbitmq", "postgresql"): 30_000.0, ("redis", "postgresql"): 20_000.0}
RATIO = 40.0


def run(options: Any) -> list[Report]:
    """Measure each broker into each database."""
    from tests.services import Servers

    report = Report(
        "Through a broker",
        f"Medians of {ROUNDS} rounds, in turns: {EVENTS:,} calls of track_event, {TASKS:,} tasks of one event each,\n"
        "from the first call to the last row; one worker of Celery's, prefork, two processes.",
        ("events/s", "littlebro", "one task an event", "×"),
    )
    with Servers(["postgresql", *BROKERS], install=False) as servers:
        for broker, shown in BROKERS.items():
            for store in ("postgresql", "sqlite"):
                lacking = [name for name in (broker, store) if name in servers.missing]
                if lacking:
                    report.bounds.append((False, f"no {lacking[0]} to be had: {servers.missing[lacking[0]]}"))
                    continue
                _measure(
                    report,
                    f"{shown} → {store}",
                    servers.urls[broker],
                    servers.urls.get(store, ""),
                    (broker, store),
                )
    return [report]


def _measure(report: Report, title: str, broker: str, database: str, pair: tuple[str, str]) -> None:
    ours: list[float] = []
    tasks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        given = {"broker": broker, "database": database, "folder": folder}
        environment = {**os.environ, "LITTLEBRO_BENCH": json.dumps(given)}
        _produce(environment, "migrate", 0)
        with _worker(environment, Path(folder)):
            for _ in range(ROUNDS):
                tasks.append(TASKS / _produce(environment, "one", TASKS))
                ours.append(EVENTS / _produce(environment, "littlebro", EVENTS))
    ratio = middle(ours) / middle(tasks)
    report.row(title, middle(ours), middle(tasks), ratio)
    if pair in BOUNDS:
        report.at_least(title, middle(ours), BOUNDS[pair], " events/s")
        report.at_least(f"{title} ÷ one task an event", ratio, RATIO, " ×")


def _produce(environment: dict[str, str], how: str, n: int) -> float:
    command = [sys.executable, "-m", "benchmarks.pipeline_site", how, str(n)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.strip() or 0)


@contextmanager
def _worker(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Run a worker while the block runs."""
    command = [
        *(sys.executable, "-m", "celery", "--app=benchmarks.pipeline_site", "worker"),
        *("--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=INFO"),
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
