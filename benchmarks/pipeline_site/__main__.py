"""The producer, a process of its own: `python -m benchmarks.pipeline_site HOW N`; sends `N` events, waits for the rows.

Prints the seconds from the first call to the last row.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.core.management import call_command

from benchmarks.contenders import NAME, PARAMS

LONGEST = 300.0


def way(how: str) -> Callable[[str, dict[str, Any]], object]:
    """Return the call that records an event."""
    from benchmarks.pipeline_site import emit, send_one
    from littlebro import tracker

    ways: dict[str, Callable[..., object]] = {"one": send_one, "event-tracking": emit}
    return ways.get(how, tracker.track_event)


def main(how: str, n: int) -> None:
    """Send, wait, print."""
    django.setup()
    if how == "migrate":
        call_command("migrate", verbosity=0)
        return
    from benchmarks.pipeline_site.stores import store

    send, rows = way(how), store()
    start = rows.reached()
    send(NAME, PARAMS[0])  # connections are made, the worker is awake
    while rows.reached() == start:
        time.sleep(0.05)
    start, total = rows.reached(), rows.total()
    began = time.perf_counter()
    for number in range(n):
        send(NAME, PARAMS[number % len(PARAMS)])
    while rows.reached() < start + n:
        if time.perf_counter() > began + LONGEST:
            raise SystemExit(f"{rows.reached() - start} of {n} rows after {LONGEST} s")
        time.sleep(rows.pause)
    seconds = time.perf_counter() - began
    stored = rows.total() - total
    if stored != n:
        raise SystemExit(f"{stored} rows of {n} events")
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
