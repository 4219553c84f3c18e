"""What is broken for a while, and mended: a database behind a proxy, a full disk, a journal's folder.

Each outage is a context: broken from entry to exit. Real parts only: a private PostgreSQL that is stopped or
frozen, a proxy that cuts or swallows, a small tmpfs, a folder that is deleted or made read-only.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.faults.harness import World
from tests.servers import PostgreSQL, UnavailableError

__all__ = ["FOLDER_OUTAGES", "Database", "Disk", "Proxy", "locked_table"]

_SLOW_SECONDS = 0.3

Outage = Callable[[], AbstractContextManager[None]]


class Proxy:
    """Passes TCP connections on to `target`, a port of this machine, unless told to do it badly.

    ``cut`` closes connections and refuses new ones. ``hole`` lets nothing through until it is over, as a network
    that drops packets, which are sent again. ``swallow`` eats what comes and never lets go: the connections that
    it had are dead for good, as after a firewall forgot them. ``slow`` makes every piece wait a third of a second.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._mode: str = "pass"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def in_mode(self, mode: Literal["cut", "hole", "swallow", "slow"]) -> Iterator[None]:
        """Be in a bad way for a while."""
        self._mode = mode
        try:
            yield
        finally:
            self._mode = "pass"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._mode == "cut":
                    near.close()
                else:
                    threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        self._wait_out()
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self.target)) as far:
            while self._mode != "cut":
                if self._mode == "swallow":
                    self._swallow(near)
                    return
                for side in select.select([near, far], [], [], 0.05)[0]:
                    data = side.recv(65536)
                    self._wait_out()
                    if not data or self._mode == "cut":
                        return
                    if self._mode != "swallow":
                        (far if side is near else near).sendall(data)

    def _wait_out(self) -> None:
        if self._mode == "slow":
            time.sleep(_SLOW_SECONDS)
        while self._mode == "hole":
            time.sleep(0.02)

    @staticmethod
    def _swallow(near: socket.socket) -> None:
        while near.recv(65536):
            pass


class Database:
    """A private PostgreSQL behind a proxy; raises `UnavailableError` where there is none to be had."""

    def __init__(self, folder: Path) -> None:
        self._service = PostgreSQL()
        self._service.demand()
        try:
            self._service.make_folder()
            self._service.prepare()
            self._service.launch()
            self._service.wait()
            self.proxy = Proxy(self._service.port)
            self._template = self._create("")
            World(folder / "template", self._template).run("migrate")
        except BaseException:
            self._service.stop()
            raise
        self.outages: dict[str, Outage] = {
            "database stopped": self.stopped,
            "database frozen": self.frozen,
            "network cut": lambda: self.proxy.in_mode("cut"),
            "network swallows": lambda: self.proxy.in_mode("hole"),
        }

    def close(self) -> None:
        self.proxy.close()
        self._service.stop()

    def fresh(self) -> str:
        """Return the URL, through the proxy, of a new database that is migrated."""
        return self._create(urlsplit(self._template).path.lstrip("/"))

    def _create(self, template: str) -> str:
        import psycopg

        name = f"trial_{uuid.uuid4().hex}"
        with psycopg.connect(self._service.url(), autocommit=True) as connection:
            made_of = f" TEMPLATE {template}" if template else ""
            connection.execute(f"CREATE DATABASE {name}{made_of}".encode())
        parts = urlsplit(self._service.url())
        place = f"{parts.username}:{parts.password}@127.0.0.1:{self.proxy.port}"
        return parts._replace(netloc=place, path=f"/{name}").geturl()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server; start it again at the end, on another port behind the proxy."""
        process = self._service.process
        assert process is not None
        process.send_signal(signal.SIGINT)
        process.wait(20)
        try:
            yield
        finally:
            self._service.launch()
            self._service.wait()
            self.proxy.target = self._service.port

    @contextlib.contextmanager
    def locked(self, url: str) -> Iterator[Any]:
        """Hold the table of events of the database at `url`; give a connection that may look around meanwhile."""
        import psycopg

        with psycopg.connect(self._direct(url)) as holder, psycopg.connect(self._direct(url)) as other:
            other.autocommit = True
            holder.execute("LOCK TABLE littlebro_storedevent IN ACCESS EXCLUSIVE MODE")
            yield other
            holder.rollback()

    def _direct(self, url: str) -> str:
        """Return the URL past the proxy."""
        parts = urlsplit(url)
        assert parts.port is not None
        return parts._replace(
            netloc=parts.netloc.replace(f":{parts.port}", f":{self._service.port}")
        ).geturl()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server's processes in their tracks (SIGSTOP)."""
        assert self._service.process is not None
        family = _family(self._service.process.pid)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)


def _family(parent: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [parent, *map(int, children.read_text().split())]


@contextlib.contextmanager
def locked_table(world: World) -> Iterator[None]:
    """Hold the write lock of the trial's SQLite database."""
    with contextlib.closing(sqlite3.connect(world.database.removeprefix("sqlite://"), timeout=20)) as link:
        link.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            link.rollback()


class Disk:
    """A small tmpfs at `place`; raises `UnavailableError` where it cannot be mounted."""

    def __init__(self, place: Path, size: str) -> None:
        place.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "littlebro-trial", str(place)]
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"no tmpfs can be mounted: {done.stderr.strip()}")
        self.place = place

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=False)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill it to the last byte, and again whenever something is freed."""
        filler = self.place / "filler"
        end = threading.Event()

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                while not end.is_set():
                    with contextlib.suppress(OSError):
                        while file.write(bytes(4096)):
                            pass
                    end.wait(0.02)

        thread = threading.Thread(target=fill)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            filler.unlink()


@contextlib.contextmanager
def removed(folder: Path) -> Iterator[None]:
    """Delete the folder, and again whenever it comes back, once a while."""
    end = threading.Event()

    def delete() -> None:
        while not end.is_set():
            shutil.rmtree(folder, ignore_errors=True)
            end.wait(0.7)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextlib.contextmanager
def removed_once(folder: Path) -> Iterator[None]:
    """Delete the folder."""
    shutil.rmtree(folder, ignore_errors=True)  # its owner is at work in it meanwhile
    yield


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody make, rename or delete anything in the folders of the journal."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o700)


FOLDER_OUTAGES: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "journal removed": removed_once,
    "journal removed again and again": removed,
    "journal read-only": read_only,
}
