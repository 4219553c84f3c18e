"""How fast `simple` writes, beside the fastest that each database can, and a whole flow beside the ORM.

The limits write into the same table with the same indexes and skip no duplicates, as `simple` does: SQLite by
executemany of rows that were made ready before the clock started, PostgreSQL by psycopg's COPY from the
events; COPY of finished text, which no writer of events has, is shown besides. All take turns, batch by batch.
"""

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.contenders import NAME, PARAMS
from benchmarks.report import Report, middle

__all__ = ["run"]

BATCHES, BATCH = 80, 500
FLOW_EVENTS, ORM_EVENTS, FLOW_ROUNDS = 20_000, 2_000, 5
ENVIRONMENT = "LITTLEBRO_TEST_POSTGRESQL_URL"

COLUMNS = (
    "collection", "event_id", "name", "timestamp", "received_at", "params", "context", "user_id",
    "anonymous_id", "v",
)  # fmt: skip

Rates = dict[str, float]
SAVE, LIMIT, READY = "save_many", "limit", "ready"
FLOW, ORM = "flow", "orm"


class Way(NamedTuple):
    """A way to write: `prepare` turns events into what `write` takes, before the clock starts."""

    write: Callable[[Any], object]
    prepare: Callable[[list[Any]], Any]


def run(options: Any) -> list[Report]:
    """Measure both databases and the flow, each in a process of its own."""
    report = Report(
        "Storing events",
        f"Medians of {BATCHES} batches of {BATCH} events each, in turns, all indexes in place. The flow is\n"
        f"{FLOW_EVENTS:,} calls under `thread` until flush() returned, beside create() in autocommit.",
        ("events/s", "median", "÷ limit", "× create()"),
    )
    with _postgresql() as url:
        if url:
            rates = _child(measure_postgresql, url)
            report.row("PostgreSQL: COPY of finished text", rates[READY], rates[READY] / rates[LIMIT], "")
            report.row("PostgreSQL: COPY, the limit", rates[LIMIT], 1.0, "")
            report.row("PostgreSQL: simple.save_many", rates[SAVE], rates[SAVE] / rates[LIMIT], "")
            report.at_least("save_many on PostgreSQL ÷ COPY", rates[SAVE] / rates[LIMIT], 0.6)
        else:
            report.bounds.append((False, f"no PostgreSQL to be had; name one in {ENVIRONMENT}"))
    rates = _child(measure_sqlite, "")
    report.row("SQLite: executemany of finished rows, the limit", rates[READY], 1.0, "")
    report.row("SQLite: simple.save_many", rates[SAVE], rates[SAVE] / rates[READY], "")
    report.at_least("save_many on SQLite ÷ executemany", rates[SAVE] / rates[READY], 0.6)
    rates = _child(measure_flow, "")
    report.row("SQLite: ORM create()", rates[ORM], "", 1.0)
    report.row("SQLite: thread, from the call to the row", rates[FLOW], "", rates[FLOW] / rates[ORM])
    report.at_least("thread into SQLite ÷ ORM create()", rates[FLOW] / rates[ORM], 8.0, " ×")
    return [report]


@contextlib.contextmanager
def _postgresql() -> Iterator[str]:
    """Give the URL of a PostgreSQL: the environment's, or one that the suite's services start."""
    from tests.services import Servers

    with Servers(["postgresql"], install=False) as servers:
        yield servers.urls.get("postgresql", "")


def _child(measure: Callable[[Path, str], Rates], url: str) -> Rates:
    here, there = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        child = get_context("spawn").Process(target=_work, args=(measure, Path(folder), url, there))
        child.start()
        there.close()
        answer: Rates = here.recv()
        child.join()
    return answer


def _work(measure: Callable[[Path, str], Rates], folder: Path, url: str, pipe: Connection) -> None:
    pipe.send(measure(folder, url))
    pipe.close()


def _events(count: int) -> list[Any]:
    """Return events as the pipeline makes them."""
    from littlebro import trackers

    built = [trackers["default"].build(NAME, PARAMS[number & 255]) for number in range(count)]
    return [event for event in built if event is not None]


def _in_turns(ways: dict[str, Way]) -> Rates:
    """Return the rate of each way; the first tenth of the batches only warms up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    warm = BATCHES // 10
    for number in range(BATCHES + warm):
        for name, way in ways.items():
            ready = way.prepare(_events(BATCH))
            start = perf_counter()
            way.write(ready)
            if number >= warm:
                taken[name].append(perf_counter() - start)
    _check_count(len(ways) * BATCH * (BATCHES + warm))
    return {name: BATCH / middle(values) for name, values in taken.items()}


def _check_count(expected: int) -> None:
    from littlebro.models import StoredEvent

    found = StoredEvent.objects.count()
    if found != expected:
        raise RuntimeError(f"{found} rows where {expected} were written")


def _same(events: list[Any]) -> list[Any]:
    return events


def measure_postgresql(folder: Path, url: str) -> Rates:
    """Return events/s of `simple` and of COPY, from events and from finished text."""
    from benchmarks.site import configure
    from tests.settings import database

    configure(folder, DATABASES={"default": database(url)})
    from django.db import connection

    from littlebro.models import StoredEvent
    from littlebro.storage.handler import backends

    StoredEvent.objects.all().delete()
    raw: Any = connection.connection
    statement = f"COPY littlebro_storedevent ({', '.join(COLUMNS)}) FROM STDIN"

    def copy(events: list[Any]) -> None:
        with raw.cursor() as cursor, cursor.copy(statement) as copying:
            for event in events:
                copying.write_row((*_head(event), event.timestamp, event.received_at, *_tail(event)))

    def copy_text(text: bytes) -> None:
        with raw.cursor() as cursor, cursor.copy(statement) as copying:
            copying.write(text)

    try:
        return _in_turns(
            {
                READY: Way(copy_text, _copy_text),
                LIMIT: Way(copy, _same),
                SAVE: Way(backends["default"].save_many, _same),
            }
        )
    finally:
        StoredEvent.objects.all().delete()


def _copy_text(events: list[Any]) -> bytes:
    lines = []
    for event in events:
        cells = [
            "\\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t")
            for value in (*_head(event), event.timestamp, event.received_at, *_tail(event))
        ]
        lines.append("\t".join(cells) + "\n")
    return "".join(lines).encode()


def _head(event: Any) -> tuple[Any, ...]:
    return (event.collection, event.id, event.name)


def _tail(event: Any) -> tuple[Any, ...]:
    import msgspec

    encode = msgspec.json.encode
    params, context = encode(event.params).decode(), encode(event.context).decode()
    return (params, context, event.user_id, event.anonymous_id, event.v)


def measure_sqlite(folder: Path, _url: str) -> Rates:
    """Return events/s of `simple` and of executemany."""
    from benchmarks.site import configure

    configure(folder)
    from littlebro.storage.handler import backends

    raw = sqlite3.connect(folder / "default.sqlite3", timeout=20, isolation_level=None)
    raw.execute("PRAGMA synchronous=NORMAL")
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    statement = f"INSERT INTO littlebro_storedevent ({columns}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def rows(events: list[Any]) -> list[tuple[Any, ...]]:
        return [
            (*_head(event), _text(event.timestamp), _text(event.received_at), *_tail(event))
            for event in events
        ]

    def insert(ready: list[tuple[Any, ...]]) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(statement, ready)
        raw.execute("COMMIT")

    return _in_turns(
        {
            READY: Way(insert, rows),
            SAVE: Way(backends["default"].save_many, _same),
        }
    )


def _text(moment: Any) -> str:
    return str(moment.replace(tzinfo=None))


def measure_flow(folder: Path, _url: str) -> Rates:
    """Return events/s of `thread` from the call to the row, and of the ORM's create()."""
    from benchmarks.site import configure

    configure(folder)
    from littlebro import tracker
    from littlebro.models import StoredEvent

    rates: dict[str, list[float]] = {FLOW: [], ORM: []}
    for _ in range(FLOW_ROUNDS + 1):
        start = perf_counter()
        for number in range(FLOW_EVENTS):
            tracker.track_event(NAME, PARAMS[number & 255])
        if not tracker.flush(120):
            raise RuntimeError("littlebro did not deliver within two minutes")
        rates[FLOW].append(FLOW_EVENTS / (perf_counter() - start))
        events = _events(ORM_EVENTS)
        start = perf_counter()
        for event in events:
            StoredEvent.objects.create(
                collection=event.collection,
                event_id=event.id,
                name=event.name,
                timestamp=event.timestamp,
                received_at=event.received_at,
                params=event.params,
                context=event.context,
            )
        rates[ORM].append(ORM_EVENTS / (perf_counter() - start))
    _check_count((FLOW_EVENTS + ORM_EVENTS) * (FLOW_ROUNDS + 1))
    return {name: middle(values[1:]) for name, values in rates.items()}
