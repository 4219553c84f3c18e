"""How fast `simple` writes, beside the fastest that each database can, and a whole flow beside the ORM.

The limits write rows that were made ready before the clock started, into the same table with the same
indexes: PostgreSQL takes one COPY of finished text a batch, SQLite one executemany of finished tuples. They
skip no duplicates; `simple` encodes its events and does. Batches of both sides take turns.
"""

import contextlib
import gc
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.contenders import NAME, PARAMS
from benchmarks.report import Report, middle

__all__ = ["run"]

ROUNDS, BATCHES, BATCH = 9, 10, 500
FLOW_EVENTS, ORM_EVENTS, FLOW_ROUNDS = 20_000, 2_000, 5
ENVIRONMENT = "LITTLEBRO_TEST_POSTGRESQL_URL"


def run(options: Any) -> list[Report]:
    """Measure both databases and the flow, each in a process of its own."""
    report = Report(
        "Storing events",
        f"Medians of {ROUNDS} rounds of {BATCHES} batches of {BATCH} events, in turns, all indexes in place;\n"
        f"the flow is {FLOW_EVENTS:,} calls under `thread` until flush() returned, beside create() in autocommit.",
        ("events/s", "median", "÷ limit", "× create()"),
    )
    with _postgresql() as url:
        if url:
            ours, limit = _child(measure_postgresql, url)
            report.row("PostgreSQL: COPY, the limit", limit, 1.0, "")
            report.row("PostgreSQL: simple.save_many", ours, ours / limit, "")
            report.at_least("save_many on PostgreSQL ÷ COPY", ours / limit, 0.6)
        else:
            report.bounds.append((False, f"no PostgreSQL to be had; name one in {ENVIRONMENT}"))
    ours, limit = _child(measure_sqlite, "")
    report.row("SQLite: executemany, the limit", limit, 1.0, "")
    report.row("SQLite: simple.save_many", ours, ours / limit, "")
    report.at_least("save_many on SQLite ÷ executemany", ours / limit, 0.6)
    flow, orm = _child(measure_flow, "")
    report.row("SQLite: ORM create()", orm, "", 1.0)
    report.row("SQLite: thread, from call to row", flow, "", flow / orm)
    report.at_least("thread into SQLite ÷ ORM create()", flow / orm, 8.0, " ×")
    return [report]


@contextlib.contextmanager
def _postgresql() -> Iterator[str]:
    """Give the URL of a PostgreSQL: the environment's, or one that the suite's services start."""
    from tests.services import Servers

    with Servers(["postgresql"], install=False) as servers:
        yield servers.urls.get("postgresql", "")


def _child(measure: Callable[[Path, str], tuple[float, float]], url: str) -> tuple[float, float]:
    here, there = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        child = get_context("spawn").Process(target=_work, args=(measure, Path(folder), url, there))
        child.start()
        there.close()
        answer: tuple[float, float] = here.recv()
        child.join()
    return answer


def _work(
    measure: Callable[[Path, str], tuple[float, float]], folder: Path, url: str, pipe: Connection
) -> None:
    pipe.send(measure(folder, url))
    pipe.close()


def _events(count: int) -> list[Any]:
    """Return events as the pipeline makes them."""
    from littlebro import trackers

    built = [trackers["default"].build(NAME, PARAMS[number & 255]) for number in range(count)]
    return [event for event in built if event is not None]


def _rate(write: Callable[[Any], Any], batches: Sequence[Any]) -> float:
    gc.collect()
    start = perf_counter()
    for batch in batches:
        write(batch)
    return BATCH * len(batches) / (perf_counter() - start)


def _in_turns(
    save: Callable[[Any], Any], limit: Callable[[Any], Any], prepare: Callable[[list[Any]], Any]
) -> tuple[float, float]:
    """Return the rates of `save`, given events, and of `limit`, given what `prepare` made of them."""
    rates: list[tuple[float, float]] = []
    for number in range(ROUNDS + 1):
        batches = [_events(BATCH) for _ in range(2 * BATCHES)]
        ready = [prepare(batch) for batch in batches[BATCHES:]]
        if number % 2:
            mine = _rate(save, batches[:BATCHES])
            other = _rate(limit, ready)
        else:
            other = _rate(limit, ready)
            mine = _rate(save, batches[:BATCHES])
        if number:
            rates.append((mine, other))
    _check_count(2 * BATCHES * BATCH * (ROUNDS + 1))
    return middle([mine for mine, _ in rates]), middle([other for _, other in rates])


def _check_count(expected: int) -> None:
    from littlebro.models import StoredEvent

    found = StoredEvent.objects.count()
    if found != expected:
        raise RuntimeError(f"{found} rows where {expected} were written")


COLUMNS = (
    "collection", "event_id", "name", "timestamp", "received_at", "params", "context", "user_id",
    "anonymous_id", "v",
)  # fmt: skip


def measure_postgresql(folder: Path, url: str) -> tuple[float, float]:
    """Return events/s of `simple` and of COPY."""
    from benchmarks.site import configure
    from tests.settings import database

    given = database(url)
    configure(folder, DATABASES={"default": given})
    from django.db import connection

    from littlebro.models import StoredEvent
    from littlebro.storage.handler import backends

    StoredEvent.objects.all().delete()
    connection.ensure_connection()
    raw: Any = connection.connection
    statement = f"COPY littlebro_storedevent ({', '.join(COLUMNS)}) FROM STDIN"

    def copy(text: bytes) -> None:
        with raw.cursor() as cursor, cursor.copy(statement) as copying:
            copying.write(text)

    try:
        return _in_turns(backends["default"].save_many, copy, _copy_text)
    finally:
        StoredEvent.objects.all().delete()


def _copy_text(events: list[Any]) -> bytes:
    lines = []
    for event in events:
        cells = [
            "\\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t")
            for value in _row(event)
        ]
        lines.append("\t".join(cells) + "\n")
    return "".join(lines).encode()


def _row(event: Any) -> tuple[Any, ...]:
    import msgspec

    encode = msgspec.json.encode
    return (
        event.collection,
        event.id,
        event.name,
        str(event.timestamp.replace(tzinfo=None)),
        str(event.received_at.replace(tzinfo=None)),
        encode(event.params).decode(),
        encode(event.context).decode(),
        event.user_id,
        event.anonymous_id,
        event.v,
    )


def measure_sqlite(folder: Path, _url: str) -> tuple[float, float]:
    """Return events/s of `simple` and of executemany."""
    from benchmarks.site import configure

    configure(folder)
    from littlebro.storage.handler import backends

    raw = sqlite3.connect(folder / "default.sqlite3", timeout=20, isolation_level=None)
    raw.execute("PRAGMA synchronous=NORMAL")
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    statement = f"INSERT INTO littlebro_storedevent ({columns}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def insert(rows: list[tuple[Any, ...]]) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(statement, rows)
        raw.execute("COMMIT")

    return _in_turns(backends["default"].save_many, insert, lambda events: [_row(event) for event in events])


def measure_flow(folder: Path, _url: str) -> tuple[float, float]:
    """Return events/s of `thread` from the call to the row, and of the ORM's create()."""
    from benchmarks.site import configure

    configure(folder)
    from littlebro import tracker
    from littlebro.models import StoredEvent

    flows, orms = [], []
    for number in range(FLOW_ROUNDS + 1):
        start = perf_counter()
        for count in range(FLOW_EVENTS):
            tracker.track_event(NAME, PARAMS[count & 255])
        if not tracker.flush(120):
            raise RuntimeError("littlebro did not deliver within two minutes")
        flow = FLOW_EVENTS / (perf_counter() - start)
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
        orm = ORM_EVENTS / (perf_counter() - start)
        if number:
            flows.append(flow)
            orms.append(orm)
    _check_count((FLOW_EVENTS + ORM_EVENTS) * (FLOW_ROUNDS + 1))
    return middle(flows), middle(orms)
