"""Signal handlers that track while the same thread tracks."""

import pytest

from tests.faults.conftest import Maker


@pytest.mark.slow
@pytest.mark.parametrize(
    "seal, flush", [(500, 5000), (5, 5000), (2, 1)], ids=["usual", "sealing", "flushing"]
)
def test_handler_tracks_while_tracking(make_world: Maker, seal: int, flush: int) -> None:
    """At hundreds of signals a second nothing is lost, nothing is doubled, and nothing waits for itself."""
    world = make_world(options={"SEAL_EVENTS": seal})
    told = world.run("signals", 3, 0.0005, flush)
    world.upkeep()
    verdict = world.verdict()
    assert told["refused"] == 0
    assert told["handled"] > 500
    assert verdict.accepted == told["handled"] + told["rounds"]
    assert (verdict.lost, verdict.duplicated, verdict.counted) == (0, 0, 0), (
        verdict,
        world.losses(),
        world.errors(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["track", "flush", "commit"])
@pytest.mark.parametrize("seal", [1, 2])
def test_interrupted_at_each_line(make_world: Maker, operation: str, seal: int) -> None:
    """A call interrupted by another at any of its lines loses neither event, nor does it wait for ever."""
    world = make_world(options={"SEAL_EVENTS": seal})
    told = world.run("interrupted", operation)
    world.upkeep()
    verdict = world.verdict()
    assert told["refused"] == 0
    assert told["lines"] > 20
    assert verdict.accepted >= told["lines"]
    assert (verdict.lost, verdict.duplicated, verdict.counted) == (0, 0, 0), (
        verdict,
        world.losses(),
        world.errors(),
    )
