"""What the trials play on: databases and brokers of their own, started when first asked for; paths through them.

A path is a tracker, the broker it goes through if any, and the store at its end. In: a path and a folder. Out: a
world on it, with nothing in it yet.
"""

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from tests.brokers.harness import Site
from tests.faults.brokers import Broker, Forgetful, Lasting
from tests.faults.harness import World, empty_database
from tests.faults.outages import Database, Disk
from tests.servers_brokers import RabbitMQ

__all__ = ["CELERY", "PATHS", "POSTGRESQL", "RABBITMQ", "REDIS", "SQLITE", "THREAD", "Stage"]

SQLITE: Final = "thread → SQLite"
POSTGRESQL: Final = "thread → PostgreSQL"
REDIS: Final = "celery → Redis → PostgreSQL"
RABBITMQ: Final = "celery → RabbitMQ → PostgreSQL"
THREAD: Final = (SQLITE, POSTGRESQL)
CELERY: Final = (REDIS, RABBITMQ)
PATHS: Final = (*THREAD, *CELERY)


class Stage:
    """The servers, in `folder`; what cannot be had raises `UnavailableError` when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._brokers: dict[str, Broker] = {}
        self._worlds: list[World] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End all worlds, stop all servers."""
        self.clear()
        self._stack.close()

    def clear(self) -> None:
        """End the worlds that were made, and whatever still runs in them."""
        while self._worlds:
            self._worlds.pop().close()

    @cached_property
    def template(self) -> Path:
        """The path of a migrated SQLite database."""
        return empty_database(self.folder / "empty.sqlite3")

    @cached_property
    def database(self) -> Database:
        """A PostgreSQL behind a proxy."""
        database = Database(self.folder / "postgresql")
        self._stack.callback(database.close)
        return database

    @cached_property
    def disk(self) -> Disk:
        """A small file system."""
        disk = Disk(self.folder / "disk", "4m")
        self._stack.callback(disk.close)
        return disk

    def broker(self, path: str) -> Broker:
        """Return the broker of a path, behind a proxy."""
        return self._broker(path, Lasting if path == REDIS else RabbitMQ)

    @property
    def forgetful(self) -> Broker:
        """A Redis that keeps nothing."""
        return self._broker("forgetful", Forgetful)

    def _broker(self, name: str, kind: Any) -> Broker:
        if name not in self._brokers:
            self._brokers[name] = Broker(kind)
            self._stack.callback(self._brokers[name].close)
        return self._brokers[name]

    def world(self, path: str, place: Path, *, worker: bool = True, **more: Any) -> World:
        """Make a world on a path; with a worker that is ready, where there is a broker, unless told otherwise."""
        if path in CELERY:
            return self.site(self.broker(path), place, worker=worker, **more)
        world = World(place, self.template if path == SQLITE else self.database.fresh(), **more)
        self._worlds.append(world)
        return world

    def site(self, broker: Broker, place: Path, *, worker: bool = True, **more: Any) -> Site:
        """Make a world over `broker`, and PostgreSQL behind its workers."""
        site = Site(place, self.database.fresh(), broker.url, **more)
        self._worlds.append(site)
        if worker:
            site.worker(pool="prefork")
        return site
