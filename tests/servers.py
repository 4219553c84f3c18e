"""One class for each kind of server that the suite runs against.

A kind names its programs, its Debian packages and the account it runs under, and says how an empty store is
made, how the server is started in the foreground and how it is greeted. A new kind is a subclass and a line
in `tests.services`; databases are here, what else there is in the modules beside. Knows nothing of who needs a
server, or when.
"""

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

from tests.ports import free_port

__all__ = ["MariaDB", "PostgreSQL", "Service", "UnavailableError", "die_with_parent"]

_SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0


class UnavailableError(Exception):
    """A server that cannot be had on this machine; the text says why."""


class Service(ABC):
    """One kind of server. A subclass names its programs and says how to prepare, run and greet it."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # Debian's
    account: ClassVar[str]  # who runs it where we are root: these servers refuse to be root
    programs: ClassVar[Mapping[str, tuple[str, ...]]]  # role -> names it goes by
    stop_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.folder = Path()
        self.port = 0
        self.password = secrets.token_hex(12)
        self.paths: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def variable(cls) -> str:
        """Return the name of the environment variable that holds, or is given, the server's URL."""
        return f"LITTLEBRO_TEST_{cls.name.upper()}_URL"

    @classmethod
    def reason_variable(cls) -> str:
        """Return the name of the environment variable that says why there is no server."""
        return f"LITTLEBRO_TEST_{cls.name.upper()}_MISSING"

    @abstractmethod
    def prepare(self) -> None:
        """Fill `self.folder` with an empty store that knows the account `littlebro`."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that serves `self.folder` on `self.port` in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """Return whether the server answers."""

    @abstractmethod
    def url(self) -> str:
        """Return where the server is, with account, password and database."""

    def folders(self) -> Iterator[str]:
        """Yield the folders in which its programs may lie besides PATH, best first."""
        yield from _SYSTEM_FOLDERS

    def find(self) -> bool:
        """Look for the programs; return whether all are there."""
        path = os.pathsep.join([*self.folders(), os.environ.get("PATH", os.defpath)])
        for role, names in self.programs.items():
            found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
            if found is None:
                return False
            self.paths[role] = found
        return True

    def demand(self) -> None:
        """Raise `UnavailableError` where its programs are not installed, or the environment says that it is missing."""
        reason = os.environ.get(self.reason_variable())
        if reason or not self.find():
            raise UnavailableError(reason or f"{self.name} is not installed")

    def call(self, *command: str, **environment: str) -> None:
        """Run one of its programs to the end, as the account it runs under."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self.folder,
            user=self.owner(),
            group=self.owner_group(),
            extra_groups=[] if self.owner() else None,
            env={**os.environ, **environment},
        )
        if done.returncode:
            raise UnavailableError(
                f"{command[0]} failed: {done.stdout.decode(errors='replace')[-2000:].strip()}"
            )

    def owner(self) -> str | None:
        """Return the account to switch to, or None where this process's own will do."""
        return self.account if os.geteuid() == 0 else None

    def owner_group(self) -> int | None:
        """Return the group that goes with `owner`."""
        owner = self.owner()
        return pwd.getpwnam(owner).pw_gid if owner else None

    def make_folder(self) -> None:
        """Make the private folder."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"littlebro-{self.name}-"))
        owner = self.owner()
        if owner:
            try:
                shutil.chown(self.folder, owner, pwd.getpwnam(owner).pw_gid)
            except (KeyError, LookupError):
                raise UnavailableError(
                    f"no account {owner!r} to run {self.name} as, and root must not"
                ) from None

    def launch(self) -> None:
        """Start the server, again on its port; it does not outlive this process, whatever ends it (on Linux)."""
        self.port = self.port or free_port()
        self.process = self.spawn(self.command())

    def spawn(self, command: list[str], log: str = "log", **environment: str) -> subprocess.Popen[bytes]:
        """Start one process of the server, as the account it runs under, writing to a log in its folder."""
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=self.owner(),
                group=self.owner_group(),
                extra_groups=[] if self.owner() else None,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for us; we then stop it in order
                preexec_fn=die_with_parent(self.stop_signal),  # noqa: PLW1509 - one thread at this point
            )

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise UnavailableError(f"{self.name} did not start: {tail.strip()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server by its process id and remove its folder."""
        self.end(self.process)
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def end(self, process: subprocess.Popen[bytes] | None) -> None:
        """Stop one process in order, or else by force."""
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class PostgreSQL(Service):
    """Debian's `postgresql`, or any other's; durable enough for tests, that is: not at all."""

    name = "postgresql"
    packages = ("postgresql",)
    account = "postgres"
    programs: ClassVar = {"initdb": ("initdb",), "postgres": ("postgres",), "pg_isready": ("pg_isready",)}
    stop_signal = signal.SIGINT  # "fast": sessions are ended, the store is closed in order

    def folders(self) -> Iterator[str]:
        versions = Path("/usr/lib/postgresql").glob("*/bin")
        yield from map(str, sorted(versions, key=lambda path: float(path.parent.name), reverse=True))
        yield from super().folders()

    def prepare(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(self.password)
        secret.chmod(0o644)  # read by another account, in a folder that only that account enters
        self.call(
            self.paths["initdb"], "--pgdata=data", "--username=littlebro", f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": 100,
        }
        return [self.paths["postgres"], "-D", "data", *(f"--{key}={value}" for key, value in options.items())]

    def ready(self) -> bool:
        address = ["--host=127.0.0.1", f"--port={self.port}", "--dbname=postgres", "--quiet"]
        return subprocess.run([self.paths["pg_isready"], *address], check=False).returncode == 0

    def url(self) -> str:
        return f"postgresql://littlebro:{self.password}@127.0.0.1:{self.port}/postgres"


class MariaDB(Service):
    """Debian's `mariadb-server`, or any other's."""

    name = "mariadb"
    packages = ("mariadb-server",)
    account = "mysql"
    programs: ClassVar = {
        "install": ("mariadb-install-db", "mysql_install_db"),
        "serve": ("mariadbd", "mysqld"),
    }
    stop_signal = signal.SIGTERM

    def prepare(self) -> None:
        self.call(
            self.paths["install"], "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db",
            "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        account = f"'littlebro'@'127.0.0.1' IDENTIFIED BY '{self.password}'"
        (self.folder / "accounts.sql").write_text(
            f"CREATE USER IF NOT EXISTS {account};\nGRANT ALL ON *.* TO {account} WITH GRANT OPTION;\n"
        )

    def command(self) -> list[str]:
        options = {
            "datadir": self.folder / "data",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "init-file": self.folder / "accounts.sql",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "character-set-server": "utf8mb4",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "64M",
            "max-connections": 100,
        }
        switches = ["--no-defaults", "--skip-name-resolve", "--skip-log-bin"]
        return [self.paths["serve"], *switches, *(f"--{key}={value}" for key, value in options.items())]

    def ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as link:
            link.settimeout(1)
            return link.recv(5)[4:] == b"\x0a"  # the greeting: three bytes of length, a number, protocol 10
        return False

    def url(self) -> str:
        return f"mysql://littlebro:{self.password}@127.0.0.1:{self.port}/mysql"


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child calls so that the kernel ends it with the thread that started it."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: a child between fork and exec must not load anything
    pr_set_pdeathsig = 1
    return lambda: prctl(pr_set_pdeathsig, int(number), 0, 0, 0)
