"""The servers that sites run under: what a page tracked is stored, however the server is ended."""

import os
import signal

import pytest

from tests.faults.conftest import Maker
from tests.faults.serving import SERVERS, get, served, visit

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def needed(name: str) -> None:
    """Skip what is not installed."""
    for module in (SERVERS[name][1], *(["gevent"] if name == "gevent" else [])):
        pytest.importorskip(module)


@pytest.mark.parametrize("name", list(SERVERS))
def test_stopped_in_order(make_world: Maker, name: str) -> None:
    """SIGTERM, as a deploy sends it, right after the last answer: lost 0 and a quick end."""
    world = make_world()
    with served(world, name, FAULTS_EARLY="9") as (server, address):
        tracked = visit(address, 40, "atrack" if name == "uvicorn" else "track")
        server.send_signal(signal.SIGTERM)
        server.wait(15)
    done = world.upkeep()
    verdict = world.verdict()
    early = {"preload": 9, "uvicorn": 9}.get(name, 18)
    assert verdict.accepted == tracked + early == 280 + early
    assert (verdict.lost, verdict.duplicated, verdict.counted, done["left"]) == (0, 0, 0, 0), verdict
    assert "Traceback" not in world.errors()


@pytest.mark.parametrize("name", ["preload", "gevent"])
def test_workers_killed(make_world: Maker, name: str) -> None:
    """A worker killed with -9 between two requests leaves its events to the others."""
    world = make_world()
    with served(world, name, FAULTS_EARLY="3") as (_server, address):
        for _ in range(3):
            visit(address, 10)
            os.kill(get(f"{address}/pid"), signal.SIGKILL)
    world.upkeep()
    verdict = world.verdict()
    assert verdict.accepted > 200
    assert (verdict.lost, verdict.duplicated, verdict.counted) == (0, 0, 0), verdict
