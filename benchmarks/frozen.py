"""A web request while the broker is frozen (SIGSTOP), beside the same request to a site that does not track.

Two sites under gunicorn, one process and one thread each, asked in turns over connections that stay open; the site
that tracks has the middleware, and one event of its own in the page.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.report import Report, percentile
from tests.ports import free_port

__all__ = ["run"]

REQUESTS, WARM = 5_000, 300
BOUND = 1.0  # ms


def run(options: Any) -> list[Report]:
    """Measure over each broker."""
    from tests.faults.brokers import Broker, Lasting
    from tests.servers import UnavailableError
    from tests.servers_brokers import RabbitMQ

    report = Report(
        "A web request while the broker is frozen",
        f"Milliseconds of {REQUESTS:,} requests to each site, in turns, through gunicorn.",
        ("broker, request", "p50", "p99", "p99.9", "longest"),
    )
    for kind in (Lasting, RabbitMQ):
        try:
            broker = Broker(kind)
        except UnavailableError as error:
            report.bounds.append((False, str(error)))
            continue
        with ExitStack() as stack:
            stack.callback(broker.close)
            tracked, plain = _measure(broker, stack)
        for name, times in (("without tracking", plain), ("tracked", tracked)):
            shown = [percentile(times, share) * 1000 for share in (0.5, 0.99, 0.999, 1.0)]
            report.row(f"{broker.title}, {name}", *shown)
        more = (percentile(tracked, 0.99) - percentile(plain, 0.99)) * 1000
        report.at_most(f"{broker.title} frozen: p99 beyond that without tracking", more, BOUND, " ms")
    return [report]


def _measure(broker: Any, stack: ExitStack) -> tuple[list[float], list[float]]:
    """Return the seconds of each request, tracked and not, while the broker is frozen."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="littlebro-bench-")))
    sites = [stack.enter_context(_served(folder, broker.direct, tracks=tracks)) for tracks in (True, False)]
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM + REQUESTS):
        if number == WARM // 2:
            stack.enter_context(broker.frozen())
        for which in (0, 1) if number % 2 else (1, 0):
            took = _ask(sites[which])
            if number >= WARM:
                times[which].append(took)
    lines = sum(path.stat().st_size for path in (folder / "True").rglob("journal/default/*.*"))
    if lines < REQUESTS * 200:
        raise SystemExit("the site did not track, or its events are gone")
    return times


def _ask(site: http.client.HTTPConnection) -> float:
    start = time.perf_counter()
    site.request("GET", "/page/")
    answer = site.getresponse()
    answer.read()
    took = time.perf_counter() - start
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"the site answered with {answer.status}")
    return took


@contextmanager
def _served(folder: Path, broker: str, *, tracks: bool) -> Iterator[http.client.HTTPConnection]:
    """Run a site while the block runs; give a connection to it."""
    place = folder / str(tracks)
    place.mkdir()
    port = free_port()
    given = {"folder": str(place), "broker": broker, "tracks": tracks}
    command = [
        *(sys.executable, "-m", "gunicorn", "benchmarks.frozen_site:wsgi", f"--bind=127.0.0.1:{port}"),
        *("--worker-class=gthread", "--threads=1", "--keep-alive=60", "--log-level=warning"),
    ]
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, "LITTLEBRO_BENCH": json.dumps(given)}, stdout=log, stderr=log
        )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        end = time.monotonic() + 30
        while True:
            with suppress(OSError):
                connection.connect()
                break
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit((place / "log").read_text()[-2000:])
            time.sleep(0.05)
        yield connection
    finally:
        connection.close()
        server.terminate()
        server.wait(30)
