"""However a process ends, what `track_event` accepted is stored once after the next upkeep."""

import os
import random
import signal
import time

import pytest

from tests.faults.conftest import Maker


@pytest.mark.slow
def test_killed_at_a_random_moment(make_world: Maker) -> None:
    """Twenty rounds of a process tracking flat out and killed with -9: lost 0 of accepted, duplicated 0."""
    world = make_world()
    nursery = world.start("nursery")
    for _ in range(20):
        born = world.ask(nursery)["child"]
        time.sleep(random.uniform(0.05, 0.6))
        os.kill(born, signal.SIGKILL)
    world.close()
    done = world.upkeep()
    verdict = world.verdict()
    assert (verdict.lost, verdict.duplicated, verdict.counted) == (0, 0, 0), (verdict, done)
    assert done["left"] == 0
    assert verdict.accepted > 1000


@pytest.mark.parametrize("end", ["return", "sys.exit", "os._exit"])
def test_exit_without_flush(make_world: Maker, end: str) -> None:
    """A process that just ends loses nothing; a normal exit even delivers by itself."""
    world = make_world()
    world.run("some", 1234, end)
    if end != "os._exit":
        assert len(world.stored()) == 1234
    world.upkeep()
    verdict = world.verdict()
    assert (verdict.accepted, verdict.stored, verdict.lost, verdict.duplicated) == (1234, 1234, 0, 0)
    assert list(world.journal.rglob("*.sealed")) == list(world.journal.rglob("*.active")) == []
