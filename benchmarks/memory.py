"""What a process that tracks a million events grows by while its backend is away, and where the events are.

The backend is `simple` in a PostgreSQL that nobody answers for. Once with room for all in the journal, once
with a cap that is reached. Every event must lie in a segment, or be counted as refused by the cap.
"""

import tempfile
from collections.abc import Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.report import Report

__all__ = ["run"]

EVENTS = 1_000_000
MIB = 1024 * 1024
CAPS = (1024 * MIB, 128 * MIB)  # the default, and one that is reached
AWAY = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": "1", "NAME": "away"}


class Outcome(NamedTuple):
    """What became of a run; memory in bytes."""

    before: int
    highest: int
    seconds: float
    accepted: int
    counted: int


def run(options: Any) -> list[Report]:
    """Measure with each cap, in a process of its own, and count what lies in the journal afterwards."""
    report = Report(
        f"Memory of a process that tracks {EVENTS:,} events, backend away",
        "Growth is the highest resident size (VmHWM) less the one right before the first event.",
        ("MAX_BYTES", "grows by MiB", "on disk", "counted", "seconds"),
    )
    for cap in CAPS:
        with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
            here, there = get_context("spawn").Pipe()
            child = get_context("spawn").Process(target=work, args=(Path(folder), cap, there))
            child.start()
            there.close()
            outcome: Outcome = here.recv()
            child.join()
            lines = _lines((Path(folder) / "journal").rglob("*.*"))
        grown = (outcome.highest - outcome.before) / MIB
        label = f"{cap // MIB:,} MiB"
        report.row(label, grown, lines, outcome.counted, outcome.seconds)
        report.at_most(f"growth with {label}", grown, 30.0, " MiB")
        report.equal(f"with {label}: on disk and counted", lines + outcome.counted, EVENTS)
        report.equal(f"with {label}: accepted and on disk", outcome.accepted, lines)
    return [report]


def work(folder: Path, cap: int, pipe: Connection) -> None:
    """Track, and end without a word to anyone, as a killed process does."""
    import logging
    import os

    from benchmarks.contenders import NAME, PARAMS
    from benchmarks.site import configure, sqlite, thread_tracker

    logging.disable(logging.CRITICAL)
    options = {"JOURNAL": str(folder / "journal"), "MAX_BYTES": cap}
    configure(
        folder,
        DATABASES={"default": sqlite(folder / "default.sqlite3"), "away": AWAY},
        LITTLEBRO=thread_tracker(folder, LOCATION="away", TRACKER_OPTIONS=options),
    )
    from littlebro import tracker
    from littlebro.delivery import losses

    before = _memory("VmRSS")
    accepted = 0
    start = perf_counter()
    for number in range(EVENTS):
        if tracker.track_event(NAME, PARAMS[number & 255]) is not None:
            accepted += 1
    seconds = perf_counter() - start
    highest = _memory("VmHWM")
    # What the process has not written down yet; the rest is in the journal.
    counted = losses.pending("default").get("journal-full", 0) + _noted(folder / "journal")
    pipe.send(Outcome(before, highest, seconds, accepted, counted))
    pipe.close()
    os._exit(0)


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _each_line(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        if path.suffix in {".active", ".sealed", ".fanned"}:
            for line in path.read_bytes().split(b"\n"):
                if line := line.strip(b"\0"):
                    yield line


def _lines(paths: Iterable[Path]) -> int:
    """Return how many events lie in the segments `paths`."""
    return sum(not line.startswith(b'{"littlebro":') for line in _each_line(paths))


def _noted(journal: Path) -> int:
    """Return how many refusals by the cap the process has written down in its journal."""
    import json

    found = 0
    for line in _each_line(journal.rglob("*.*")):
        if line.startswith(b'{"littlebro":"loss"'):
            found += json.loads(line)["counts"].get("journal-full", 0)
    return found
