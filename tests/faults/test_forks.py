"""Forks inherit descriptors, locks and threads' leavings: nothing is lost, and nothing is delivered twice."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Maker
from tests.faults.harness import World, logged


def assert_delivered(world: World, log: Path) -> None:
    """Each accepted event is one line of the log, which, unlike a table, would show a second delivery."""
    done = world.upkeep()
    verdict = world.verdict(stored=logged(log))
    assert (verdict.lost, verdict.duplicated, verdict.counted, done["left"]) == (0, 0, 0, 0), (verdict, done)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


def test_child_outlives_its_killed_parent(make_world: Maker, log: Path) -> None:
    """A child born after the first event holds no lock of its parent's: what that left is adopted at once."""
    world = make_world(backend={"BACKEND": "log", "LOCATION": str(log)}, options={"SEAL_SECONDS": 30.0})
    parent = world.start("fork_and_live")
    told = world.hear(parent) | world.hear(parent)
    os.kill(told["parent"], signal.SIGKILL)
    parent.wait()
    try:
        world.upkeep()
        parents = {*world.accepted("before"), *world.accepted("parent")}
        assert len(parents) == 30
        assert set(logged(log)) == parents
    finally:
        os.kill(told["child"], signal.SIGKILL)
    assert len(world.accepted("child")) == 20
    assert_delivered(world, log)


@pytest.mark.parametrize("sinks", [0, 1])
def test_forks_while_threads_track(make_world: Maker, log: Path, tmp_path: Path, sinks: int) -> None:
    """Children born while other threads are at the pen, or deliver, neither hold nor repeat what they do."""
    sink = tmp_path / "sink.log"
    world = make_world(
        backend={"BACKEND": "log", "LOCATION": str(log)},
        sinks={"copy": {"BACKEND": "log", "LOCATION": str(sink)}} if sinks else None,
        options={"SEAL_EVENTS": 50, "SEAL_SECONDS": 3600.0},
    )
    parent = world.start("threads_and_forks", 12)
    born = world.hear(parent)["children"]
    parent.kill()
    parent.wait()
    try:
        world.upkeep()
        # The children live, and keep what they wrote; of what the parent wrote they keep nothing.
        for path in (log, sink) if sinks else (log,):
            kept = set(world.accepted("tick")) - set(logged(path))
            assert not kept, f"{len(kept)} of the parent's events are missing in {path.name}"
    finally:
        for child in born:
            os.kill(child, signal.SIGKILL)
    assert_delivered(world, log)
    if sinks:
        assert_delivered(world, sink)
