"""The producer, a process of its own: `python -m benchmarks.pipeline_site HOW N`; sends `N` events, waits for the rows.

Prints the seconds from the first call to the last row.
"""

import sys
import time
from typing import Any

import django
from django.core.management import call_command

from benchmarks.contenders import NAME, PARAMS

LONGEST = 300.0


def rows(cursor: Any) -> int:
    """Return the highest number of a row: a look at the end of an index, while a count would take its time."""
    cursor.execute("SELECT max(id) FROM littlebro_storedevent")
    return int(cursor.fetchone()[0] or 0)


def main(how: str, n: int) -> None:
    """Send, wait, print."""
    django.setup()
    if how == "migrate":
        call_command("migrate", verbosity=0)
        return
    from django.db import connection

    from benchmarks.pipeline_site import send_one
    from littlebro import tracker
    from littlebro.models import StoredEvent

    send: Any = send_one if how == "one" else tracker.track_event
    with connection.cursor() as cursor:
        start = rows(cursor)
        send(NAME, PARAMS[0])  # connections are made, the worker is awake
        while rows(cursor) == start:
            time.sleep(0.05)
        start, total = rows(cursor), StoredEvent.objects.count()
        began = time.perf_counter()
        for number in range(n):
            send(NAME, PARAMS[number % len(PARAMS)])
        while rows(cursor) < start + n:
            if time.perf_counter() > began + LONGEST:
                raise SystemExit(f"{rows(cursor) - start} of {n} rows after {LONGEST} s")
            time.sleep(0.01)
        seconds = time.perf_counter() - began
    stored = StoredEvent.objects.count() - total
    if stored != n:
        raise SystemExit(f"{stored} rows of {n} events")
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
