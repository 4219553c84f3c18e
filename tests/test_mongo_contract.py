"""The backend `mongo` keeps the contract of all backends, on a server that speaks MongoDB's protocol."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from littlebro.events.event import Event
from littlebro.storage import BaseBackend
from littlebro.testing.contracts import BackendContract, make_event
from littlebro_backends import mongo
from tests.test_backends import BackendContract as OwnContract

OPTIONS: dict[str, Any] = dict(mongo.Backend.option_defaults)


class Gate:
    """A port in front of the server that can be shut: what is open breaks, what is new is refused."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                for source, sink in ((near, far), (far, near)):
                    self._links.add(source)
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        self._links.discard(source)


class TestContract(BackendContract):
    """What is asked of a stranger's backend, with a server that goes away and comes back."""

    @pytest.fixture(autouse=True)
    def _server(self, mongodb_url: str) -> Iterator[None]:
        parts = urlsplit(mongodb_url)
        self.gate = Gate(parts.hostname or "127.0.0.1", parts.port or 27017)
        account, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{self.gate.port}"))
        yield
        self.gate.shut()

    def make_backend(self) -> BaseBackend:
        return mongo.Backend("default", self.url, {**OPTIONS, "TIMEOUT": 3.0})

    def break_backend(self, backend: BaseBackend) -> None:
        self.gate.shut()

    def heal_backend(self, backend: BaseBackend) -> None:
        self.gate.open()

    def unstorable_event(self) -> Event:
        return make_event(params={"text": "x" * (17 * 1024 * 1024)})


class TestOwnContract(OwnContract):
    """What we ask of our own besides."""

    @pytest.fixture
    def backend(self, mongodb_url: str) -> Iterator[BaseBackend]:
        backend = mongo.Backend("default", mongodb_url, OPTIONS)
        yield backend
        backend.close()
