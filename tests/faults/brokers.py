"""Brokers that are broken and mended: private ones, each behind a proxy.

In: which kind of server. Out: its URL, through the proxy, and its outages, each a context that breaks on entry
and mends on exit. Knows nothing of littlebro.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.faults.harness import wait_until
from tests.faults.outages import Proxy
from tests.servers import Service
from tests.servers_brokers import RabbitMQ, Redis

__all__ = ["Broker", "Forgetful", "Lasting"]

QUEUE = "littlebro"


class Lasting(Redis):
    """A Redis as the documentation asks for: it keeps an append-only file, and never evicts."""

    options: ClassVar[dict[str, str]] = {"save": "", "appendonly": "yes", "maxmemory-policy": "noeviction"}


class Forgetful(Redis):
    """A Redis that keeps nothing across a restart."""


class Broker:
    """A private broker of the given kind; raises `UnavailableError` where there is none to be had."""

    def __init__(self, kind: type[Service]) -> None:
        self.kind = kind
        self.title = "RabbitMQ" if kind is RabbitMQ else "Redis"
        self._service = kind()
        self._service.demand()
        try:
            self._service.make_folder()
            self._service.prepare()
            self._service.launch()
            self._service.wait()
            self.proxy = Proxy(self._service.port)
        except BaseException:
            self._service.stop()
            raise
        self.outages: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "broker killed": self.killed,
            "broker restarted": self.restarted,
            "broker frozen": self.frozen,
            "broker slow": lambda: self.proxy.in_mode("slow"),
            "broker's network cut": lambda: self.proxy.in_mode("cut"),
            "broker in a black hole": lambda: self.proxy.in_mode("hole"),
            "queue deleted": self.queue_deleted,
        }

    @property
    def direct(self) -> str:
        """The URL past the proxy."""
        return self._service.url()

    @property
    def url(self) -> str:
        """The URL through the proxy."""
        return self.through(self.proxy)

    def through(self, proxy: Proxy) -> str:
        """Return the URL through a proxy of this broker."""
        parts = urlsplit(self.direct)
        return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()

    def another_proxy(self) -> Proxy:
        """Return one more proxy of this broker, for the caller to close."""
        return Proxy(self._service.port)

    def close(self) -> None:
        self.proxy.close()
        self._service.stop()

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """End the server with SIGKILL; start it again at the end."""
        with self._ended(signal.SIGKILL):
            yield

    @contextlib.contextmanager
    def restarted(self) -> Iterator[None]:
        """End the server in order; start it again at the end."""
        with self._ended(signal.SIGTERM):
            yield

    @contextlib.contextmanager
    def restarted_with_messages(self) -> Iterator[None]:
        """Wait until a Redis holds a message, end it in order; start it again at the end."""
        with self.link() as link:
            _wait_for_message(link)
        with self.restarted():
            yield

    @contextlib.contextmanager
    def _ended(self, number: signal.Signals) -> Iterator[None]:
        process = self._service.process
        assert process is not None
        process.send_signal(number)
        process.wait(30)
        try:
            yield
        finally:
            self._service.launch()
            self._service.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server in its tracks (SIGSTOP)."""
        assert self._service.process is not None
        pid = self._service.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def queue_deleted(self) -> Iterator[None]:
        """Delete the queue in the moment when it is empty: what was in it would be gone, as the docs say."""
        with self.link() as link:
            wait_until(lambda: _delete_if_empty(link, self.title), what="an empty queue")
        yield

    def link(self) -> Any:
        """Return a connection of kombu's, past the proxy."""
        from kombu import Connection

        return Connection(self.direct)

    @contextlib.contextmanager
    def limited(self, policy: str, room: int) -> Iterator[None]:
        """Let a Redis have `room` bytes more than it uses at present, and do by `policy` when they are used."""
        with self.link() as link:
            client = link.default_channel.client
            client.config_set("maxmemory-policy", policy)
            client.config_set("maxmemory", client.info("memory")["used_memory"] + room)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)
                client.config_set("maxmemory-policy", "noeviction")

    @contextlib.contextmanager
    def crowded(self) -> Iterator[None]:
        """Let others write to a Redis that is full and throws away what was not used for longest."""
        with self.link() as link, self.limited("allkeys-lru", 1_000_000):
            client = _wait_for_message(link)
            yield
            end = time.monotonic() + 20
            while client.exists(QUEUE) and time.monotonic() < end:
                for number in range(20):
                    client.set(f"cache:{number}", os.urandom(100_000))


def _wait_for_message(link: Any) -> Any:
    """Wait until a message lies in the queue of a Redis; return the client that saw it."""
    client = link.default_channel.client
    wait_until(lambda: client.exists(QUEUE), what="a message in the queue")
    return client


def _delete_if_empty(link: Any, title: str) -> bool:
    """Delete the queue if no message waits in it; return whether that was so."""
    channel = link.default_channel
    if title == "Redis":  # an empty list does not exist: what there is to delete is the binding
        with channel.client.pipeline() as pipe:
            pipe.watch(QUEUE)
            if pipe.llen(QUEUE):
                return False
            pipe.multi()
            pipe.delete(QUEUE, f"_kombu.binding.{QUEUE}")
            return pipe.execute() is not None
    from amqp.exceptions import PreconditionFailed

    try:
        channel.queue_delete(QUEUE, if_empty=True)
    except PreconditionFailed:
        channel.close()
        link.default_channel  # noqa: B018 - opens another
        return False
    return True
