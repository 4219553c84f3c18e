"""Web servers around the trials' project: started, asked for pages, ended."""

import contextlib
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.faults.harness import World, wait_until
from tests.ports import free_port

__all__ = ["SERVERS", "get", "served", "visit"]

_GUNICORN: Final = ("-m", "gunicorn", "tests.faults.site.serve:wsgi", "--workers=2", "--graceful-timeout=10",
                    "--log-level=warning")  # fmt: skip
SERVERS: Final = {
    "gunicorn": _GUNICORN,
    "preload": (*_GUNICORN, "--preload"),
    "threads": (*_GUNICORN, "--worker-class=gthread", "--threads=4"),
    "gevent": (*_GUNICORN, "--worker-class=gevent"),
    "uvicorn": ("-m", "uvicorn", "tests.faults.site.serve:asgi", "--log-level=warning", "--lifespan=off"),
}


@contextlib.contextmanager
def served(world: World, name: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server; yield its process and the address where it answers."""
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
    """Ask for a page that answers with a number."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return int(answer.read())


def visit(address: str, visits: int, page: str = "track") -> int:
    """Ask for a page that tracks seven events, several at a time; return how many it says it tracked."""
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda _: get(f"{address}/{page}?n=7"), range(visits)))
