"""One trial of an outage: a paced producer before, during and after it, and what it felt.

In: a world and an outage. Out: times of the producer's calls, what memory grew by, and the verdict, with what was
refused or lost held against what was counted.
"""

import threading
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from tests.faults.harness import Verdict, World

__all__ = ["Gauge", "Trial", "run"]

BEFORE = 1.5  # seconds
_EACH = 0.25


class Trial(NamedTuple):
    """What a producer felt, and what became of its events; times in milliseconds, memory in megabytes."""

    calls: int
    refused: int
    raised: int
    within: float  # the share of calls under 10 ms, in per cent
    longest: float
    grown: float
    grown_workers: float | None
    verdict: Verdict
    unwritten: int
    left: int

    def exact(self) -> bool:
        """Return whether every event is stored once, or counted once as not."""
        missing = self.refused + self.verdict.lost
        counted = self.verdict.counted + self.unwritten
        return missing == counted and not self.verdict.duplicated and not self.raised and not self.left


class Gauge:
    """Looks now and then at the memory that the workers of a world have for themselves, all together."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._first = self._most = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Take what they have now as what they need."""
        self._first = self._most = self._look()
        self._thread.start()

    def stop(self) -> float | None:
        """Return by how many megabytes they grew at the most; None where there was none at the start."""
        self._end.set()
        self._thread.join()
        return self._most - self._first if self._first else None

    def _watch(self) -> None:
        while not self._end.wait(_EACH):
            self._most = max(self._most, self._look())

    def _look(self) -> float:
        return sum(_proportional(pid) for pid in self._world.workers())


def _proportional(pid: int) -> float:
    """Return the megabytes of a process, those it shares with others in proportion; 0 for one that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def run(
    world: World,
    outage: AbstractContextManager[None],
    *,
    during: float,
    after: float,
    gap: float,
    size: int = 0,
    early: bool = False,
    settle: float = 120.0,
) -> Trial:
    """Track for a while, break, go on tracking for `during` seconds, mend, and for `after` seconds more.

    `early` breaks first. `settle` is how long everything may take to come to its end, once it is mended.
    """
    gauge = Gauge(world)
    with ExitStack() as stack:
        if early:
            stack.enter_context(outage)
        child = world.start("paced", BEFORE + during + after, gap, size, FAULTS_RESPECT_MODES="1",
                            FAULTS_SECONDS=str(during + after + 90))  # fmt: skip
        world.hear(child)
        time.sleep(BEFORE)
        gauge.start()
        if not early:
            stack.enter_context(outage)
        time.sleep(during)
    told = world.result(child, during + after + 90)
    done = world.settle(settle)
    return Trial(
        told["calls"], told["refused"], told["raised"], 100 * (1 - told["slow"] / told["calls"]), told["longest"],
        told["grown"], gauge.stop(), world.verdict(), sum(told["pending"].values()), done["left"],
    )  # fmt: skip
