"""Events in MongoDB, one collection a stream, ``_id`` the event's id; extra ``mongo`` (pymongo).

LOCATION is a MongoDB URL; a database that it does not name is ``littlebro``. Options: ``TIMEOUT`` (10: seconds
that one command may take), ``TTL_DAYS`` (None: no TTL index), ``PREFIX`` ("": stands before each collection's
name, in a database shared with others), ``CLIENT`` ({}: options passed on to pymongo's client). What is
acknowledged, a majority has. Needs a server that keeps keys with ``$`` and ``.``: MongoDB 5.0 or later, FerretDB 2.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import pymongo
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

from littlebro.conf import alias_config
from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.storage import BaseBackend, SaveResult
from littlebro_backends import mongo_reading
from littlebro_backends.mongo_clients import Clients, url_options
from littlebro_backends.mongo_layout import Layout
from littlebro_backends.mongo_order import as_stored
from littlebro_backends.mongo_steps import Steps, arun, astream, run, stream
from littlebro_backends.mongo_writing import Writer

__all__ = ["Backend"]

_PATIENCE: Final = 3_600.0  # seconds for what grows with the store: to count, to make an index
_DAY: Final = 86_400
_LONGEST_TTL: Final = 2**31 - 1  # seconds, 68 years: MongoDB's limit
_WIRE_5_0: Final = 13  # https://github.com/mongodb/specifications: wire versions
_PREFIX: Final = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9_.-]{0,62})?")
_Result = TypeVar("_Result")


class Backend(BaseBackend):
    """Stores events in a MongoDB database, from threads and from event loops."""

    option_defaults: ClassVar[Mapping[str, Any]] = {
        "TIMEOUT": 10.0,
        "TTL_DAYS": None,
        "PREFIX": "",
        "CLIENT": {},
    }
    supports_delete: ClassVar[bool] = True
    supports_count: ClassVar[bool] = True
    supports_scan_stored: ClassVar[bool] = True

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        """Check LOCATION and options; raises `ImproperlyConfigured`. Nothing is connected before it is needed."""
        super().__init__(alias, location, options)
        if location is None or not location.startswith(("mongodb://", "mongodb+srv://")):
            raise self.misconfigured(
                "LOCATION must be a MongoDB URL, 'mongodb://localhost:27017/littlebro' for instance."
            )
        self._check_options(location)
        ttl = options["TTL_DAYS"]
        self._layout = Layout(options["PREFIX"], None if ttl is None else round(ttl * _DAY))
        self._clients = Clients(location, options["TIMEOUT"], options["CLIENT"])
        self._writer = Writer(self._layout)

    def _check_options(self, location: str) -> None:
        timeout, ttl = self.options["TIMEOUT"], self.options["TTL_DAYS"]
        # To the driver, a timeout of less than a millisecond is none.
        if not _is_number(timeout) or not 0.001 <= timeout <= _PATIENCE:
            raise self.misconfigured("TIMEOUT must be a number of seconds above zero, 3600 at most.")
        # Below a second all would be gone at once; above what the server takes, nothing new could be stored.
        if ttl is not None and (not _is_number(ttl) or not 1 <= ttl * _DAY <= _LONGEST_TTL):
            raise self.misconfigured("TTL_DAYS must be a number of days above zero, 24855 at most, or None.")
        prefix, client = self.options["PREFIX"], self.options["CLIENT"]
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix) or prefix.startswith("system."):
            raise self.misconfigured(
                "PREFIX must be up to 63 of A-Z a-z 0-9 _ - . and start with none of 'system.', '.'."
            )
        if not isinstance(client, Mapping) or not all(isinstance(name, str) for name in client):
            raise self.misconfigured("CLIENT must be a dictionary of options for pymongo's MongoClient.")
        given = url_options(location) | {name.lower(): value for name, value in client.items()}
        if str(given.get("w")) == "0":
            raise self.misconfigured("w=0 asks for no answer from the server; events would be lost unseen.")

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """See BaseBackend.save_many()."""
        return run(self._writer.save(events), self._database())

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        """See BaseBackend.scan()."""
        return stream(mongo_reading.scan(self._layout, query, after), self._database)

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        """See BaseBackend.scan_stored(); an event may come twice where two deliverers wrote it side by side."""
        return stream(as_stored(self._layout, after), self._database)

    def count(self, query: EventQuery) -> int:
        """See BaseBackend.count()."""
        if query.where:
            return sum(query.matches(event) for event in self.scan(query))
        return self._run_patiently(mongo_reading.count(self._layout, query))

    def delete_many(self, query: EventQuery) -> int:
        """See BaseBackend.delete_many()."""
        return run(mongo_reading.delete(self._layout, query), self._database())

    def setup(self) -> None:
        """Make the indexes of the alias's stream and of every stream there is, and adjust the TTL index."""
        self._run_patiently(self._set_up())

    def _set_up(self) -> Steps[None]:
        streams = yield from self._layout.streams()
        own = alias_config(self.alias).collection
        yield from self._layout.make(sorted({*streams, own}))

    def check(self) -> list[str]:
        """See BaseBackend.check()."""
        try:
            return run(self._problems(), self._database())
        except PyMongoError as error:
            return [_no_answer(error)]

    def _problems(self) -> Steps[list[str]]:
        hello = yield lambda database: database.client.admin.command("hello")
        if hello.get("maxWireVersion", 0) < _WIRE_5_0:
            return ["The server is older than MongoDB 5.0, and would refuse keys with '$' or '.'."]
        streams = yield from self._layout.streams()
        problems = yield from self._layout.problems(streams)
        advice = f"`manage.py littlebro setup --alias {self.alias}` puts it right."
        return [f"{problem} {advice}" for problem in problems]

    def ping(self) -> None:
        """See BaseBackend.ping()."""
        self._database().command("ping")

    def close(self) -> None:
        """Close the clients; the next call makes new ones."""
        self._clients.close()

    async def asave_many(self, events: Sequence[Event]) -> SaveResult:
        """See save_many()."""
        if not self._clients.lasting():
            return await super().asave_many(events)
        return await arun(self._writer.save(events), await self._adatabase())

    async def ascan(self, query: EventQuery, after: Position | None = None) -> AsyncIterator[Event]:
        """See scan()."""
        if self._clients.lasting():
            source = astream(mongo_reading.scan(self._layout, query, after), self._adatabase)
        else:
            source = super().ascan(query, after)
        async for event in source:
            yield event

    async def ascan_stored(self, after: str | None = None) -> AsyncIterator[tuple[str, Event]]:
        """See scan_stored()."""
        if self._clients.lasting():
            source = astream(as_stored(self._layout, after), self._adatabase)
        else:
            source = super().ascan_stored(after)
        async for pair in source:
            yield pair

    async def acount(self, query: EventQuery) -> int:
        """See count()."""
        if not self._clients.lasting():
            return await super().acount(query)
        if query.where:
            return sum([query.matches(event) async for event in self.ascan(query)])
        return await self._arun_patiently(mongo_reading.count(self._layout, query))

    async def adelete_many(self, query: EventQuery) -> int:
        """See delete_many()."""
        if not self._clients.lasting():
            return await super().adelete_many(query)
        return await arun(mongo_reading.delete(self._layout, query), await self._adatabase())

    async def asetup(self) -> None:
        """See setup()."""
        if not self._clients.lasting():
            return await super().asetup()
        return await self._arun_patiently(self._set_up())

    async def acheck(self) -> list[str]:
        """See check()."""
        if not self._clients.lasting():
            return await super().acheck()
        try:
            return await arun(self._problems(), await self._adatabase())
        except PyMongoError as error:
            return [_no_answer(error)]

    async def aping(self) -> None:
        """See ping()."""
        if not self._clients.lasting():
            return await super().aping()
        database = await self._adatabase()
        await database.command("ping")
        return None

    async def aclose(self) -> None:
        """See close()."""
        await self._clients.aclose()

    def _database(self) -> Any:
        try:
            return self._clients.database()
        except (ConfigurationError, InvalidURI, TypeError, ValueError) as error:
            raise self.misconfigured(f"LOCATION or OPTIONS['CLIENT']: {error}") from error

    async def _adatabase(self) -> Any:
        try:
            return await self._clients.of_loop()
        except (ConfigurationError, InvalidURI, TypeError, ValueError) as error:
            raise self.misconfigured(f"LOCATION or OPTIONS['CLIENT']: {error}") from error

    def _run_patiently(self, steps: Steps[_Result]) -> _Result:
        database = self._database()
        with pymongo.timeout(_PATIENCE):
            return run(steps, database)

    async def _arun_patiently(self, steps: Steps[_Result]) -> _Result:
        database = await self._adatabase()
        with pymongo.timeout(_PATIENCE):
            return await arun(steps, database)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_answer(error: PyMongoError) -> str:
    text = str(error).partition(", Topology Description")[0].partition(", full error")[0]
    return f"The server does not answer: {text}"
