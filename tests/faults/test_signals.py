"""Signal handlers that track while the same thread tracks."""

import pytest

from tests.faults.conftest import Maker


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"SEAL_EVENTS": 5}], ids=["usual", "often-sealing"])
def test_handler_tracks_while_tracking(make_world: Maker, options: dict[str, int]) -> None:
    """At 2,000 signals a second nothing is lost, nothing is doubled, and nothing waits for itself."""
    world = make_world(options=options)
    told = world.run("signals", 3, 0.0005)
    world.upkeep()
    verdict = world.verdict()
    assert told["refused"] == 0
    assert told["handled"] > 500
    assert verdict.accepted == told["handled"] + told["rounds"]
    assert (verdict.lost, verdict.duplicated, verdict.counted) == (0, 0, 0), verdict
