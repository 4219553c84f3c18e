"""The outages that a paced producer goes through, each on the paths where it can happen.

In: a stage. Out: one `Felt` each, the control of a path first; how long it lasts at full length, and what is special
about it. To list them starts no server.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.breaking import everything, repeated_kills, rolling_deploy, swallowing, worker_cut_off
from tests.faults.harness import World
from tests.faults.outages import FOLDER_OUTAGES, locked_table
from tests.faults.stage import CELERY, POSTGRESQL, RABBITMQ, REDIS, SQLITE, Stage

__all__ = ["CONTROL", "Felt", "felt"]

CONTROL = "no fault (control)"
_SHORT, _LONG = 20.0, 60.0  # seconds
# Redis gives what a killed worker held to another one after so many seconds.
_VISIBLE_AGAIN: Mapping[str, Any] = {"CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 3}}
_LIMITS: Mapping[str, Any] = {"CELERY_TASK_TIME_LIMIT": 3, "CELERY_TASK_SOFT_TIME_LIMIT": 2}

Break = Callable[[World], AbstractContextManager[None]]


@dataclass(frozen=True)
class Felt:
    """An outage on a path; `world` and `outage` make both."""

    fault: str
    path: str
    world: Callable[[Path], World]
    outage: Break
    seconds: float = _SHORT
    size: int = 0
    early: bool = False
    refuses: bool = False  # the journal has no room: refused, counted
    at_most: int = 0  # so many may be lost, as the documentation says
    warning: str = ""  # the broker forgets what it had: lost, and a worker warned of it with these words


def felt(stage: Stage) -> Iterator[Felt]:
    """Yield all of them."""
    sqlite = partial(stage.world, SQLITE)
    yield Felt(CONTROL, SQLITE, sqlite, _nothing)
    yield Felt("table locked", SQLITE, sqlite, locked_table, _LONG)
    yield from _folders(stage)
    yield _disk(stage, SQLITE)
    yield Felt(CONTROL, POSTGRESQL, partial(stage.world, POSTGRESQL), _nothing)
    yield from _stores(stage, POSTGRESQL)
    yield _cap(stage, POSTGRESQL)
    for path in CELERY:
        yield Felt(CONTROL, path, partial(stage.world, path), _nothing)
        yield from _brokers(stage, path)
        yield from _workers(stage, path)
        yield from _stores(stage, path)
        yield _disk(stage, path)
        yield _cap(stage, path)
        yield _all_at_once(stage, path)
    yield from _memory_of_redis(stage)


def _handed_out(path: str) -> int:
    """Return how many events may go with a worker whose connection breaks as it gets a batch; see the documentation.

    What Redis hands out is out, whether it arrives or not; RabbitMQ keeps it until it is acknowledged.
    """
    return 0 if path == RABBITMQ else 500


def _nothing(_world: World) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def _folders(stage: Stage) -> Iterator[Felt]:
    """Yield what happens to the folder of a journal."""

    def with_folder(place: Path) -> World:
        world = stage.world(SQLITE, place)
        (world.journal / "default").mkdir(parents=True)
        return world

    def on_folder(outage: Callable[[Path], AbstractContextManager[None]], world: World) -> Any:
        return outage(world.journal)

    for name, outage in FOLDER_OUTAGES.items():
        yield Felt(name, SQLITE, with_folder, partial(on_folder, outage), refuses=name != "journal removed")


def _disk(stage: Stage, path: str) -> Felt:
    def on_disk(place: Path) -> World:
        return stage.world(path, place, journal=stage.disk.place / place.name)

    return Felt(
        "disk of the journal full", path, on_disk, lambda _world: stage.disk.full(), size=300, refuses=True
    )


def _cap(stage: Stage, path: str) -> Felt:
    """Return a journal that holds all it may, since what it goes to is away."""
    options = {"MAX_BYTES": 500_000, "SEAL_EVENTS": 50}
    away = "broker" if path in CELERY else "database"

    def frozen(_world: World) -> AbstractContextManager[None]:
        return stage.broker(path).frozen() if path in CELERY else stage.database.frozen()

    world = partial(stage.world, path, options=options)
    return Felt(f"journal full (MAX_BYTES), {away} frozen", path, world, frozen, refuses=True)


def _all_at_once(stage: Stage, path: str) -> Felt:
    def outage(world: World) -> AbstractContextManager[None]:
        return everything(stage.database, stage.broker(path), world)

    world = partial(stage.world, path, celery=_VISIBLE_AGAIN)
    return Felt("all at once", path, world, outage, at_most=_handed_out(path))


def _brokers(stage: Stage, path: str) -> Iterator[Felt]:
    """Yield what happens to the broker, the network to it, and the queue."""
    world = partial(stage.world, path, celery=_VISIBLE_AGAIN)

    def outage(name: str, _world: World) -> AbstractContextManager[None]:
        return stage.broker(path).outages[name]()

    # What Redis is just handing out when a worker's connection breaks may be gone, however it breaks.
    gone = _handed_out(path)
    for name in ("killed", "restarted", "frozen"):
        yield Felt(f"broker {name}", path, world, partial(outage, f"broker {name}"), at_most=gone)
    yield Felt("broker slow", path, world, partial(outage, "broker slow"))
    yield Felt(
        "broker away at the start", path, world, partial(outage, "broker restarted"), early=True, at_most=gone
    )
    # What waits in the queue meanwhile is there afterwards: RabbitMQ keeps it, and Redis with appendonly.
    yield Felt("broker killed, batches in it", path, partial(stage.world, path, worker=False),
               partial(outage, "broker killed"))  # fmt: skip
    for name in ("broker's network cut", "broker in a black hole"):
        yield Felt(name, path, world, partial(outage, name), at_most=gone)
    yield Felt("queue deleted", path, world, partial(outage, "queue deleted"))
    yield Felt("connections to the broker dead for good", path, world,
               lambda world: swallowing(stage.broker(path), world), at_most=gone)  # fmt: skip


def _workers(stage: Stage, path: str) -> Iterator[Felt]:
    """Yield what happens to workers."""
    world = partial(stage.world, path, celery=_VISIBLE_AGAIN)
    for whole, name in ((False, "its pool's process"), (True, "all of it")):
        yield Felt(f"worker killed mid-batch, {name}", path, world,
                   lambda world, whole=whole: repeated_kills(stage.database, world, whole=whole))  # type: ignore[misc]  # fmt: skip
    yield Felt("worker's machine vanishes from the network", path, world,
               lambda world: worker_cut_off(stage.broker(path), world),
               at_most=_handed_out(path))  # fmt: skip
    yield Felt("rolling deploy: a worker without the task", path, partial(stage.world, path, worker=False),
               rolling_deploy)  # fmt: skip


def _stores(stage: Stage, path: str) -> Iterator[Felt]:
    """Yield what happens to the database."""
    world = partial(stage.world, path)

    def outage(name: str, _world: World) -> AbstractContextManager[None]:
        return stage.database.outages[name]()

    yield Felt("database stopped", path, world, partial(outage, "database stopped"), _LONG)
    yield Felt("database frozen", path, world, partial(outage, "database frozen"), _LONG)
    yield Felt("database's network cut", path, world, partial(outage, "network cut"))
    yield Felt("database in a black hole", path, world, partial(outage, "network swallows"))
    yield Felt("table locked", path, world, lambda world: stage.database.locked(world.database), _LONG)
    if path in CELERY:
        yield Felt("database frozen, task_time_limit 3 s", path, partial(stage.world, path, celery=_LIMITS),
                   partial(outage, "database frozen"), _LONG)  # fmt: skip


def _memory_of_redis(stage: Stage) -> Iterator[Felt]:
    """Yield what a Redis does that is full, or that keeps nothing."""
    yield Felt("Redis full, noeviction", REDIS, partial(stage.world, REDIS, worker=False),
               lambda _world: stage.broker(REDIS).limited("noeviction", 1_000_000))  # fmt: skip

    def warned(place: Path) -> World:
        with stage.forgetful.limited("allkeys-lru", 10**9):
            site = stage.site(stage.forgetful, place)  # its worker says what it sees
        site.kill(site.running[0])
        site.still = 5.0  # what is missing is lost: that is the point
        return site

    yield Felt("Redis full, allkeys-lru", REDIS, warned,
               lambda _world: stage.forgetful.crowded(),
               warning="Redis throws keys away when its memory is full")  # fmt: skip
    yield Felt("Redis restarted without appendonly", REDIS, warned,
               lambda _world: stage.forgetful.restarted_with_messages(),
               warning="Redis keeps no append-only file")  # fmt: skip
