"""The servers that sites run under: what a page tracked is stored, however the server is ended."""

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import Maker
from tests.faults.harness import World, wait_until

pytestmark = pytest.mark.slow

_WSGI = "tests.faults.site.serve:wsgi"
_GUNICORN = ("-m", "gunicorn", _WSGI, "--workers=2", "--graceful-timeout=10", "--log-level=warning")
SERVERS = {
    "gunicorn": _GUNICORN,
    "preload": (*_GUNICORN, "--preload"),
    "threads": (*_GUNICORN, "--worker-class=gthread", "--threads=4"),
    "gevent": (*_GUNICORN, "--worker-class=gevent"),
    "uvicorn": ("-m", "uvicorn", "tests.faults.site.serve:asgi", "--log-level=warning", "--lifespan=off"),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(world: World, name: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server; yield its process and the address where it answers."""
    for needed in (SERVERS[name][1], *(["gevent"] if name == "gevent" else [])):
        pytest.importorskip(needed)
    port = free_port()
    place = (f"--port={port}",) if name == "uvicorn" else (f"--bind=127.0.0.1:{port}",)
    server = world.start(*SERVERS[name], *place, **environment)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, world.errors()
        with contextlib.suppress(OSError):
            get(f"{address}/pid")
            return True
        return False

    wait_until(answers, what=f"an answer of {name}")
    try:
        yield server, address
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(20)


def get(address: str) -> int:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return int(answer.read())


def visit(address: str, visits: int, page: str = "track") -> int:
    """Ask for a page that tracks seven events, several at a time; return how many it says it tracked."""
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda _: get(f"{address}/{page}?n=7"), range(visits)))


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
