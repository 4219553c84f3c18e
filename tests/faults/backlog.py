"""A backlog: a million events while no worker runs, then one drains it. Memory of both, and how fast it goes."""

import time
from pathlib import Path
from typing import Final

from tests.brokers.harness import Site
from tests.faults.harness import wait_until
from tests.faults.rows import Row
from tests.faults.stage import Stage
from tests.faults.trial import Gauge

__all__ = ["run"]

_GROWTH: Final = 50.0  # MB, of the web process and of the worker
_SECONDS: Final = 900.0


def run(stage: Stage, path: str, place: Path, n: int) -> Row:
    """Track `n` events on a path of the tracker ``celery``, start a worker, wait for the rows; return what it took."""
    world = stage.world(path, place, worker=False)
    assert isinstance(world, Site)
    try:
        told = world.result(world.start("backlog", n, FAULTS_SECONDS=str(_SECONDS)), _SECONDS)
        waited = world.waiting()
        # A connection a process, as Django's documentation advises for what works without a pause.
        world.worker("--concurrency=2", pool="prefork", FAULTS_MAX_AGE="60")
        gauge = Gauge(world)
        gauge.start()
        start = time.monotonic()
        wait_until(lambda: _rows(world) >= n + 1, _SECONDS, f"{n} events in the table")
        seconds = time.monotonic() - start
        verdict = world.verdict()
        row = Row(
            f"backlog of {n:,}: sent {n / told['sent']:,.0f}/s, drained {n / seconds:,.0f}/s", path, verdict.accepted,
            told["refused"], verdict.lost, verdict.duplicated, web=told["grown"], workers=gauge.stop(),
        )  # fmt: skip
        for holds, otherwise in (
            (
                not (verdict.lost or verdict.duplicated or told["refused"] or told["waits"]),
                f"{verdict} {told}",
            ),
            (waited > n / 600, f"only {waited} batches waited in the queue"),
            (row.web is not None and row.web < _GROWTH, "the web process grew"),
            (row.workers is not None and row.workers < _GROWTH, "the worker grew"),
        ):
            if not holds:
                row.broken.append(otherwise)
        return row
    finally:
        stage.clear()


def _rows(world: Site) -> int:
    """Return how many rows there are, by a look at the end of an index: a count would take its time."""
    return int(world.rows("SELECT coalesce(max(id), 0) FROM littlebro_storedevent")[0][0])
