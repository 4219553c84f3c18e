"""What each part of the way through a broker moves by itself, and what an event takes up on the way: for docs/scaling.

First events are tracked and published while no worker runs, then a worker of one process stores them. The parts
share the machine with broker and database, as in `benchmarks.pipeline`, but not with each other.
"""

import json
import os
import random
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.contenders import NAME, PARAMS
from benchmarks.pipeline import BROKERS, produce, worker
from benchmarks.report import Report, middle

__all__ = ["run"]

ROUNDS, BATCH = 3, 500
BATCHES = {BATCH: 100_000, 25: 20_000}  # events in a batch, and in a round


def run(options: Any) -> list[Report]:
    """Measure rates by broker, then sizes."""
    from tests.services import Servers

    rates = Report(
        "Parts of the way through a broker",
        f"Medians of {ROUNDS} rounds. Publish: from the first call of one process until the broker has confirmed the\n"
        "last batch. Store: a worker of one process, from the first row in PostgreSQL to the last.",
        ("events/s", "publish", "store", "batches/s stored"),
    )
    sizes = _sizes()
    with Servers(["postgresql", *BROKERS], install=False) as servers:
        for broker, shown in BROKERS.items():
            lacking = [name for name in (broker, "postgresql") if name in servers.missing]
            if lacking:
                rates.bounds.append((False, f"no {lacking[0]} to be had: {servers.missing[lacking[0]]}"))
                continue
            for batch, events in BATCHES.items():
                part = _measure(servers.urls[broker], servers.urls["postgresql"], batch, events)
                rates.row(f"{shown}, batches of {batch}", part.published, part.stored, part.stored / batch)
                if batch == BATCH and part.held:
                    sizes.row(f"waiting in {shown}", part.held, "")
                    sizes.row("in PostgreSQL, with all indexes", part.row, "")
    return [rates, sizes]


class Part(NamedTuple):
    """Events a second published and stored, bytes an event in the broker's memory and in the table."""

    published: float
    stored: float
    held: float
    row: float


def _measure(broker: str, database: str, batch: int, events: int) -> Part:
    published, stored, held = [], [], []
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        given = {"broker": broker, "database": database, "folder": folder, "options": {"SEAL_EVENTS": batch}}
        environment = {**os.environ, "LITTLEBRO_BENCH": json.dumps(given)}
        produce(environment, "migrate", 0)
        for _ in range(ROUNDS):
            empty = _memory(broker)
            published.append(events / produce(environment, "publish", events))
            held.append((_memory(broker) - empty) / events)
            command = [sys.executable, "-m", "benchmarks.pipeline_site", "watch", str(events)]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watch:
                assert watch.stdout is not None
                watch.stdout.readline()  # it has counted what was there
                with worker(environment, Path(folder), processes=1):
                    stored.append(float(watch.stdout.readline()))
        row = produce(environment, "size", 0)
    return Part(middle(published), middle(stored), middle(held), row)


def _memory(broker: str) -> float:
    """Return the bytes that Redis holds; 0 for RabbitMQ, which moves them between memory and disk as it likes."""
    if urlsplit(broker).scheme != "redis":
        return 0.0
    import redis

    with redis.Redis.from_url(broker) as client:
        time.sleep(0.5)  # buffers of clients that have just left are counted for a moment
        return float(client.info("memory")["used_memory"])


def _sizes() -> Report:
    """Return a table of what an event takes up: the one that all benchmarks use, and one with more chance in it."""
    report = Report(
        "Bytes an event",
        f"In batches of {BATCH}: ten params that are much alike from event to event, and ten of which half are random.",
        ("bytes", "alike", "random"),
    )
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        environment = {
            **os.environ,
            "LITTLEBRO_BENCH": json.dumps({"broker": "memory://", "database": "", "folder": folder}),
        }
        command = [sys.executable, "-m", "benchmarks.pipeline_site", "bytes", str(BATCH)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    for what, (alike, chance) in json.loads(done.stdout).items():
        report.row(what, float(alike), float(chance))
    return report


def random_params(source: random.Random) -> dict[str, Any]:
    """Return the params of `benchmarks.contenders` with random values in half of them."""
    letters = "".join(source.choices(string.ascii_lowercase, k=16))
    more = {
        "order_id": source.randrange(10**8),
        "total": round(source.random() * 1000, 2),
        "items": source.randrange(20),
    }
    return {**PARAMS[0], **more, "coupon": letters[:8], "page": f"/checkout/{letters}/done"}


def sizes(n: int) -> dict[str, tuple[float, float]]:
    """Return, by place, the bytes that each of `n` events takes up; runs in the pipeline's site."""
    from littlebro import tracker
    from littlebro.delivery.batch import untouched
    from littlebro.events.event import encode
    from littlebro.publishing import packed

    source = random.Random(7)
    found: dict[str, list[float]] = {"in the journal": [], "in a message": [], "in a message to Redis": []}
    for make in (lambda number: PARAMS[number % len(PARAMS)], lambda _: random_params(source)):
        events = [tracker.build(NAME, make(number)) for number in range(n)]
        content = b"".join(encode(event) + b"\n" for event in events)
        message = packed((("default", untouched(content)), {}, {}))[0]
        found["in the journal"].append(len(content) / n)
        found["in a message"].append(len(message) / n)
        found["in a message to Redis"].append(len(message) * 4 / 3 / n)  # as base64
    return {place: (alike, chance) for place, (alike, chance) in found.items()}
