"""The clients of `mongo`: one a process for threads, one for each event loop that lasts.

Made at first use, never in a constructor, and never used by a child that inherits one. An asyncio client belongs
to its loop; a loop that lives for one request, as async views have it under WSGI, is not worth a client, so that a
young loop is told to borrow threads instead. Knows addresses and options, and nothing of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Mapping
from contextvars import Context
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary

from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

__all__ = ["Clients", "url_options"]

_DATABASE: Final = "littlebro"
_SELECTION: Final = 5.0  # seconds to find a server, or to connect to it

Fields = dict[str, Any]


def url_options(url: str) -> dict[str, str]:
    """Return the options that a MongoDB URL holds, their names in lower case."""
    return {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}


class Clients:
    """Gives the database at `url`, for the process or for the running loop."""

    grown_up: ClassVar[float] = 1.0
    """Seconds after which an event loop is given a client of its own."""

    def __init__(self, url: str, timeout: float, options: Mapping[str, Any]) -> None:
        self._url = url
        defaults: dict[str, Any] = {
            "appname": "django-littlebro",
            "w": "majority",
            "timeoutMS": int(timeout * 1000),
            "serverSelectionTimeoutMS": int(min(timeout, _SELECTION) * 1000),
            "connectTimeoutMS": int(min(timeout, _SELECTION) * 1000),
        }
        given = {*url_options(url), *(name.lower() for name in options)}
        self._options = {name: value for name, value in defaults.items() if name.lower() not in given}
        self._options |= options
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._client: MongoClient[Fields] | None = None
        # An inherited client stays referenced: a collected one would say goodbye on the parent's sockets.
        self._inherited: list[Any] = []
        self._of_loops: dict[
            asyncio.AbstractEventLoop, tuple[AsyncMongoClient[Fields], asyncio.Task[None]]
        ] = {}
        self._seen: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()

    def database(self) -> Database[Fields]:
        """Return the database, for threads."""
        self._check_pid()
        client = self._client
        if client is None:
            with self._lock:
                if self._client is None:
                    self._client = MongoClient(self._url, **self._options)
                client = self._client
        return client.get_default_database(_DATABASE)

    def lasting(self) -> bool:
        """Return whether the running loop is old enough for a client of its own; notes one that is new."""
        now = time.monotonic()
        return now - self._seen.setdefault(asyncio.get_running_loop(), now) >= self.grown_up

    async def of_loop(self) -> AsyncDatabase[Fields]:
        """Return the database, for the running loop; the client is closed when the loop is shut down."""
        self._check_pid()
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            client: AsyncMongoClient[Fields] = AsyncMongoClient(self._url, **self._options)
            # In a context of its own: the task would keep alive whatever request is being served.
            guard = loop.create_task(self._until_cancelled(loop, client), context=Context())
            self._of_loops[loop] = client, guard
            await asyncio.sleep(0)  # a task that is cancelled before it begins would close nothing
        return self._of_loops[loop][0].get_default_database(_DATABASE)

    async def _until_cancelled(
        self, loop: asyncio.AbstractEventLoop, client: AsyncMongoClient[Fields]
    ) -> None:
        """Close the client when cancelled, as all tasks are that are left when a loop is shut down."""
        try:
            await loop.create_future()
        finally:
            if self._of_loops.get(loop, (None,))[0] is client:
                del self._of_loops[loop]
            await client.close()

    def close(self) -> None:
        """Close the clients of this process; those of loops in their loops, as soon as these come to it."""
        self._check_pid()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
        for loop, (_client, guard) in list(self._of_loops.items()):
            with contextlib.suppress(RuntimeError):  # a loop that has ended
                loop.call_soon_threadsafe(guard.cancel)

    async def aclose(self) -> None:
        """Close the clients of this process and wait for that of the running loop."""
        own = self._of_loops.get(asyncio.get_running_loop())
        if own is not None:
            own[1].cancel()
            await asyncio.wait([own[1]])
        await asyncio.to_thread(self.close)

    def _check_pid(self) -> None:
        if self._pid != os.getpid():
            self._inherited.append((self._client, self._of_loops))
            self._lock = threading.Lock()
            self._client, self._of_loops = None, {}
            self._seen = WeakKeyDictionary()
            self._pid = os.getpid()
