"""The producer, a process of its own: `python -m benchmarks.pipeline_site HOW N`; sends `N` events, waits for the rows.

Prints the seconds from the first call to the last row. For `benchmarks.scaling`, HOW is also `publish`: until the
broker has them all; `watch`: waits for rows, prints them by the second; `size`, `bytes`: what an event takes up.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command

from benchmarks.contenders import NAME, PARAMS

if TYPE_CHECKING:
    from benchmarks.pipeline_site.stores import Mongo, Sql

LONGEST = 300.0


def way(how: str) -> Callable[[str, dict[str, Any]], object]:
    """Return the call that records an event."""
    from benchmarks.pipeline_site import emit, send_one
    from littlebro import tracker

    ways: dict[str, Callable[..., object]] = {"one": send_one, "event-tracking": emit}
    return ways.get(how, tracker.track_event)


def main(how: str, n: int) -> None:
    """Do what `how` says."""
    django.setup()
    others: dict[str, Callable[[int], None]] = {
        "migrate": migrate, "publish": publish, "watch": watch, "size": size, "bytes": count_bytes,
    }  # fmt: skip
    if how in others:
        others[how](n)
    else:
        flow(how, n)


def migrate(_n: int) -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


def publish(n: int) -> None:
    """Send; print the seconds until the broker has confirmed it all."""
    from littlebro import tracker

    began = time.perf_counter()
    for number in range(n):
        tracker.track_event(NAME, PARAMS[number % len(PARAMS)])
    if not tracker.flush(LONGEST):
        raise SystemExit(f"not published after {LONGEST} s")
    print(time.perf_counter() - began)


def wait_for(rows: "Sql | Mongo", number: int) -> int:
    """Return how far the rows have come, once that is `number`; end the program where they do not within `LONGEST`."""
    end = time.perf_counter() + LONGEST
    while (reached := rows.reached()) < number:
        if time.perf_counter() > end:
            raise SystemExit(f"{number - reached} rows are missing after {LONGEST:.0f} s")
        time.sleep(rows.pause)  # each look costs the store something
    return reached


def watch(n: int) -> None:
    """Wait for `n` rows; print how many a second there were, once the first had come."""
    from benchmarks.pipeline_site.stores import store

    rows = store()
    start = rows.reached()
    print("ready", flush=True)
    first = wait_for(rows, start + 1)
    began = time.perf_counter()
    print((wait_for(rows, start + n) - first) / (time.perf_counter() - began))


def size(_n: int) -> None:
    """Print the bytes a row in PostgreSQL, with all indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('littlebro_storedevent'), count(*) FROM littlebro_storedevent"
        )
        total, rows = cursor.fetchone()
    print(total / rows)


def count_bytes(n: int) -> None:
    """Print the bytes an event in journal and messages, as JSON."""
    from benchmarks.scaling import sizes

    print(json.dumps(sizes(n)))


def flow(how: str, n: int) -> None:
    """Send, wait, print."""
    from benchmarks.pipeline_site.stores import store

    send, rows = way(how), store()
    start = rows.reached()
    send(NAME, PARAMS[0])  # connections are made, the worker is awake
    wait_for(rows, start + 1)
    start, total = rows.reached(), rows.total()
    began = time.perf_counter()
    for number in range(n):
        send(NAME, PARAMS[number % len(PARAMS)])
    wait_for(rows, start + n)
    seconds = time.perf_counter() - began
    stored = rows.total() - total
    if stored != n:
        raise SystemExit(f"{stored} rows of {n} events")
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
