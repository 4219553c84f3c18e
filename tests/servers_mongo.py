"""A server that speaks MongoDB's protocol: FerretDB over PostgreSQL with the DocumentDB extension.

MongoDB's own is in no registry. The engine is Debian's, from its newest suite, in a folder made by debootstrap from
the mirror of this machine's own apt sources; the front is a Go program of twenty lines (`tests/ferretdb`). Both are
made once, which takes two minutes, into `LITTLEBRO_TEST_CACHE` (default ~/.cache/littlebro-tests); then a start
takes two seconds. Needs root, for chroot, and Debian.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, ClassVar, Final

from tests.ports import free_port
from tests.servers import Service, UnavailableError, die_with_parent

__all__ = ["MongoDB"]

_SOURCE: Final = Path(__file__).parent / "ferretdb"
_SUITE: Final = "sid"
_PACKAGES: Final = ("postgresql-18", "postgresql-18-documentdb")
_PROGRAMS: Final = "usr/lib/postgresql/18/bin"
_ENGINE: Final = {
    "listen_addresses": "127.0.0.1",
    "shared_memory_type": "mmap",
    "dynamic_shared_memory_type": "mmap",  # there is no /dev/shm in the folder
    "shared_preload_libraries": "pg_cron,pg_documentdb_core,pg_documentdb,pg_documentdb_extended_rum",
    "cron.database_name": "postgres",
    "documentdb.enableUserCrud": "off",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}
_START_SECONDS: Final = 60.0


class MongoDB(Service):
    """The front, whose process this is, and the engine behind it."""

    name = "mongodb"
    packages = ("debootstrap",)
    account = "root"  # the engine runs as the folder's own account postgres
    programs: ClassVar = {"debootstrap": ("debootstrap",)}
    stop_signal = signal.SIGINT  # to the engine: "fast"

    def __init__(self) -> None:
        super().__init__()
        home = os.environ.get("LITTLEBRO_TEST_CACHE") or Path.home() / ".cache" / "littlebro-tests"
        self.cache = Path(home)
        self.root = self.cache / f"documentdb-{_SUITE}"
        self.front = self.cache / f"ferretdb-{_digest()}"
        self.engine: subprocess.Popen[bytes] | None = None
        self.engine_port = 0
        self._data = Path()
        self._claim: IO[bytes] | None = None

    def find(self) -> bool:
        """Return whether what is needed is there, or can be made."""
        return self.root.exists() or super().find()

    def make_folder(self) -> None:
        """Make what is not in the cache yet, and a private folder."""
        if os.geteuid() != 0:
            raise UnavailableError(f"only root can run mongodb (chroot); {self.variable()} is not set")
        self.cache.mkdir(parents=True, exist_ok=True)
        with _locked(self.cache / "lock"), ThreadPoolExecutor() as pool:
            made = [pool.submit(self._make_root), pool.submit(self._make_front)]
            for each in made:
                each.result()
            self._sweep()
            self._data = Path(tempfile.mkdtemp(prefix="littlebro-", dir=self.root / "tmp"))
            self._claim = (self._data / "claim").open("wb")
            fcntl.flock(self._claim, fcntl.LOCK_EX)
        user, group = self._account()
        os.chown(self._data, user, group)
        super().make_folder()

    def _make_root(self) -> None:
        if self.root.exists():
            return
        if not super().find():
            raise UnavailableError(f"no debootstrap to make {self.root} with")
        mirror = _mirror()
        print(f"services: making {self.root} (once, about a minute)", flush=True)

        def make(folder: Path) -> None:
            options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
            command = [self.paths["debootstrap"], *options, _SUITE, str(folder), mirror]
            _build(command, _with_apt_proxy(mirror))
            shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
            if not (folder / _PROGRAMS / "postgres").exists():
                raise UnavailableError(f"debootstrap left no {_PROGRAMS}/postgres in {folder}")

        _atomically(self.root, make)

    def _make_front(self) -> None:
        if self.front.exists():
            return
        go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin")
        if go is None:
            raise UnavailableError(f"no Go compiler to build {_SOURCE} with; {self.variable()} is not set")
        print(f"services: building {self.front} (once, about a minute)", flush=True)
        command = [go, "build", "-C", str(_SOURCE), "-trimpath", "-mod=readonly", "-o"]
        _atomically(self.front, lambda made: _build([*command, str(made), "."], dict(os.environ)))

    def _sweep(self) -> None:
        """Remove the data of runs that were killed: nobody holds a claim on it."""
        for folder in (self.root / "tmp").glob("littlebro-*"):
            with contextlib.suppress(OSError), (folder / "claim").open("wb") as claim:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)

    def _account(self) -> tuple[int, int]:
        """Return the ids of the account postgres in the folder; this machine's may have others."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == "postgres":
                return int(user), int(group)
        raise UnavailableError(f"no account postgres in {self.root}")

    def prepare(self) -> None:
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        if self._inside("initdb", *options, f"--pgdata={self._inner}/data").wait():
            raise UnavailableError(f"initdb failed: {self._tail('log-engine')}")

    @property
    def _inner(self) -> str:
        """The private folder's path as the engine sees it."""
        return f"/tmp/{self._data.name}"

    def _inside(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL's in the folder made for it, as its account postgres."""
        user, group = self._account()
        root, mortal = os.fsencode(self.root), die_with_parent(self.stop_signal)

        def enter() -> None:
            os.chroot(root)
            os.chdir("/tmp")
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            if mortal:  # last: a change of account unsets it
                mortal()

        with (self.folder / "log-engine").open("ab") as log:
            return subprocess.Popen(
                [f"/{_PROGRAMS}/{program}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": f"/{_PROGRAMS}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp"},
                start_new_session=True,
                preexec_fn=enter,  # noqa: PLW1509 - it loads nothing and takes no lock
            )

    def launch(self) -> None:
        """Start the engine, wait for it, teach it documents, start the front."""
        self.port, self.engine_port = self.port or free_port(), self.engine_port or free_port()
        options = _ENGINE | {"port": str(self.engine_port), "unix_socket_directories": self._inner}
        settings = [f"--{key}={value}" for key, value in options.items()]
        self.engine = self._inside("postgres", "-D", f"{self._inner}/data", *settings)
        deadline = time.monotonic() + _START_SECONDS
        while self._sql("CREATE EXTENSION IF NOT EXISTS documentdb CASCADE"):
            if self.engine.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(f"the engine did not start: {self._tail('log-engine')}")
            time.sleep(0.05)
        self.process = self.spawn(self.command())

    def _sql(self, statement: str) -> int:
        """Run a statement in the engine; return psql's exit code."""
        address = ["-h", "127.0.0.1", "-p", str(self.engine_port), "-U", "postgres", "-d", "postgres"]
        return self._inside("psql", *address, "-q", "-c", statement).wait()

    def command(self) -> list[str]:
        engine = f"postgres://postgres@127.0.0.1:{self.engine_port}/postgres"
        return [str(self.front), engine, f"127.0.0.1:{self.port}", str(self.folder)]

    def ready(self) -> bool:
        """Ask for nothing but the answer to `ping`, in an OP_MSG (MongoDB's wire protocol)."""
        ping = b"\x10ping\0\1\0\0\0\2$db\0\6\0\0\0admin\0\0"
        body = b"\0\0\0\0\0" + (len(ping) + 4).to_bytes(4, "little") + ping
        head = (16 + len(body)).to_bytes(4, "little") + b"\1\0\0\0\0\0\0\0" + (2013).to_bytes(4, "little")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as link:
            link.settimeout(2)
            link.sendall(head + body)
            return b"\1ok\0\0\0\0\0\0\0\xf0\x3f" in link.recv(4096)
        return False

    def stop(self) -> None:
        self.end(self.process)
        self.end(self.engine)
        if self._claim is not None:
            shutil.rmtree(self._data, ignore_errors=True)
            self._claim.close()
        super().stop()

    def _tail(self, log: str) -> str:
        return (self.folder / log).read_text(errors="replace")[-2000:].strip()

    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/littlebro"


def _digest() -> str:
    """Return what names a build of the front: its source."""
    source = b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return hashlib.sha256(source).hexdigest()[:12]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _atomically(target: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a path beside `target`, and move it there once it is whole."""
    partial = target.with_name(f"{target.name}.partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    make(partial)
    partial.rename(target)


def _build(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace")[-2000:].strip()
        raise UnavailableError(f"{' '.join(command[:2])} failed: {output}")


def _mirror() -> str:
    """Return the mirror of Debian that this machine's own apt uses."""
    if shutil.which("apt-get") is None:
        raise UnavailableError("no apt here to say where Debian's packages come from")
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    done = subprocess.run(
        [*asked, "Origin: Debian", "Label: Debian"], capture_output=True, text=True, check=False
    )
    mirrors = [
        line.strip() for line in done.stdout.splitlines() if line.startswith(("http:", "https:", "file:"))
    ]
    if not mirrors:
        raise UnavailableError("apt knows no mirror of Debian here (after apt-get update it may)")
    return mirrors[0]


def _with_apt_proxy(mirror: str) -> dict[str, str]:
    """Return the environment for debootstrap, which does not read apt's settings: a proxy may be among them."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    scheme = mirror.partition(":")[0]
    asked = ["apt-config", "--format", "%v%n", "dump", f"Acquire::{scheme}::Proxy"]
    proxy = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return environment | ({f"{scheme}_proxy": proxy} if proxy and proxy != "DIRECT" else {})
