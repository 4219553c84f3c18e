"""How fast `mongo` writes, beside pymongo's own `insert_many` of the same documents on the same server.

The limit gets its documents ready before the clock starts, keeps no order of storing and absorbs no duplicates;
collection, indexes and write concern are the same. The two take turns, batch by batch, and each batch is held
against the one beside it, so that what else the machine does falls on both.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.report import Report, middle

__all__ = ["run"]

SIZES = (500, 5_000)  # a segment of the journal, and a message that grew while the store was away
ROUNDS = {500: 60, 5_000: 16}
WARM = 5
BOUND = 0.7


class Figures(NamedTuple):
    """Events a second of both, and the middle of the ratios, batch by batch."""

    raw: float
    ours: float
    ratio: float


def run(options: Any) -> list[Report]:
    """Measure, on a server that speaks MongoDB's protocol: the environment's, or the suite's own."""
    report = Report(
        "Storing events in MongoDB",
        "Medians of batches in turns, all indexes in place, acknowledged by a majority. The limit is insert_many of\n"
        "finished documents; the ratio is the median of those of batches side by side.",
        ("events/s", "insert_many", "mongo.save_many", "÷ limit"),
    )
    if find_spec("pymongo") is None:
        report.bounds.append((False, "pymongo is not installed; the extra `bench` brings it"))
        return [report]
    from tests.services import Servers

    with Servers(["mongodb"], install=False) as servers:
        if servers.missing:
            report.bounds.append((False, f"no MongoDB to be had: {servers.missing['mongodb']}"))
            return [report]
        for size in SIZES:
            figures = measure(servers.urls["mongodb"], size)
            report.row(f"batches of {size:,}", figures.raw, figures.ours, figures.ratio)
            report.at_least(f"save_many ÷ insert_many, batches of {size:,}", figures.ratio, BOUND)
    return [report]


def measure(url: str, size: int) -> Figures:
    """Return the figures for batches of `size` events, in collections of this run that are dropped afterwards."""
    from bson import ObjectId
    from pymongo import MongoClient

    from littlebro_backends.mongo import Backend
    from littlebro_backends.mongo_steps import run as do

    prefix = f"bench-{ObjectId()}."
    backend = Backend("default", url, {**Backend.option_defaults, "PREFIX": prefix})
    client: MongoClient[dict[str, Any]]
    with MongoClient(url, w="majority") as client:
        database: Any = client.get_default_database("littlebro")
        try:
            layout = backend._layout
            for steps in (layout.make_stream("raw"), layout.make_stream("ours"), layout.make_log()):
                do(steps, database)
            taken = _in_turns(backend, database[f"{prefix}raw"], size)
            for stream in ("raw", "ours"):
                found = database[f"{prefix}{stream}"].count_documents({})
                if found != size * len(taken):
                    raise RuntimeError(
                        f"{found} documents in {stream!r} where {size * len(taken)} were written"
                    )
        finally:
            for name in database.list_collection_names():
                if name.startswith(prefix):
                    database.drop_collection(name)
            backend.close()
    taken = taken[WARM:]
    return Figures(
        size / middle([raw for raw, _ in taken]),
        size / middle([ours for _, ours in taken]),
        middle([raw / ours for raw, ours in taken]),
    )


def _in_turns(backend: Any, raw: Any, size: int) -> list[tuple[float, float]]:
    """Return, for each round, the seconds of insert_many and of save_many; each is first in every other round."""
    from bson import ObjectId

    from littlebro_backends.mongo_documents import document

    taken = []
    for number in range(ROUNDS[size] + WARM):
        events = _events(size)
        token = ObjectId()
        insert = partial(raw.insert_many, [document(event, token) for event in events], ordered=False)
        save = partial(backend.save_many, events)
        first, second = (insert, save) if number % 2 else (save, insert)
        times = _timed(first), _timed(second)
        taken.append(times if number % 2 else times[::-1])
    return taken


def _timed(write: Callable[[], object]) -> float:
    start = perf_counter()
    write()
    return perf_counter() - start


def _events(count: int) -> list[Any]:
    """Return events as a shop's middleware and calls make them."""
    from datetime import UTC, datetime

    from benchmarks.contenders import NAME, PARAMS
    from littlebro.events.event import Event, new_id

    context = {
        "ip": "192.0.2.0",
        "path": "/checkout/",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    }
    return [
        Event(
            id=new_id(),
            name=NAME,
            timestamp=(now := datetime.now(UTC)),
            received_at=now,
            params=PARAMS[number & 255],
            context=context,
            user_id=str(number % 97) if number % 4 == 0 else None,
            anonymous_id=f"visitor-{number % 501}",
            collection="ours",
        )
        for number in range(count)
    ]
