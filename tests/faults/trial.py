"""One trial of an outage: a paced producer before, during and after it, and what it felt.

In: a world and an outage. Out: times of the producer's calls, and the verdict, with what was refused or lost
held against what was counted.
"""

import time
from contextlib import AbstractContextManager
from typing import NamedTuple

from tests.faults.harness import Verdict, World

__all__ = ["Trial", "run"]

_BEFORE = 1.0  # seconds


class Trial(NamedTuple):
    """What a producer felt, and what became of its events; times in milliseconds, memory in megabytes."""

    calls: int
    refused: int
    raised: int
    p999: float
    longest: float
    grown: float
    verdict: Verdict
    unwritten: int
    left: int

    def exact(self) -> bool:
        """Return whether every event is stored once, or counted once as not."""
        missing = self.refused + self.verdict.lost
        counted = self.verdict.counted + self.unwritten
        return missing == counted and not self.verdict.duplicated and not self.raised and not self.left


def run(
    world: World,
    outage: AbstractContextManager[None],
    *,
    during: float,
    after: float,
    gap: float,
    size: int = 0,
) -> Trial:
    """Track for a while, break, go on tracking for `during` seconds, mend, and for `after` seconds more."""
    child = world.start("paced", _BEFORE + during + after, gap, size, FAULTS_RESPECT_MODES="1",
                        FAULTS_SECONDS=str(during + after + 60))  # fmt: skip
    world.hear(child)
    time.sleep(_BEFORE)
    with outage:
        time.sleep(during)
    told = world.result(child, during + after + 60)
    done = world.upkeep()
    return Trial(
        told["calls"], told["refused"], told["raised"], told["p999"], told["longest"], told["grown"],
        world.verdict(), sum(told["pending"].values()), done["left"],
    )  # fmt: skip
