"""The servers that the suite runs against: found, started privately, stopped again.

A server's URL comes from its environment variable if one is set (`LITTLEBRO_TEST_POSTGRESQL_URL`, …), else
the server is started from what is installed, else, for root on Debian, installed first. Each runs in a
temporary folder of its own, on a free port of 127.0.0.1, with a password of its own, and is stopped by its
process id; a server that was there before is never touched. Knows nothing of Django or of littlebro, and
needs the standard library alone, so that it also runs as a program:

    python tests/services.py run -- COMMAND ...      COMMAND with the URLs in its environment
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn, Self

if __name__ == "__main__":  # a program finds its neighbours by the folder it lies in, not by the project's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tests.servers import MariaDB, PostgreSQL, Service, UnavailableError
from tests.servers_brokers import RabbitMQ, Redis
from tests.servers_mongo import MongoDB

__all__ = ["SERVICES", "Servers", "demanded"]

SERVICES: Final[Mapping[str, type[Service]]] = {
    kind.name: kind for kind in (PostgreSQL, MariaDB, Redis, RabbitMQ, MongoDB)
}


def demanded() -> bool:
    """Return whether a missing server is a failure, not a reason to skip: under continuous integration."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


class Servers:
    """The servers `names`, up from `__enter__` to `__exit__`.

    `urls` holds by name where each is, `missing` by name why one is not to be had. A server that an
    environment variable gives is used and left alone.
    """

    def __init__(self, names: Sequence[str], *, install: bool) -> None:
        self.names = names
        self.urls: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._install = install
        self._ours: list[Service] = []

    def __enter__(self) -> Self:
        """Start what is not given."""
        try:
            self._start([SERVICES[name]() for name in self.names if not self._given(SERVICES[name])])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop what was started."""
        self.stop()

    def stop(self) -> None:
        """Stop what was started; a second call does nothing."""
        while self._ours:
            self._ours.pop().stop()

    def environment(self) -> dict[str, str]:
        """Return the variables that hand URLs and reasons on to another process."""
        found = {SERVICES[name].variable(): url for name, url in self.urls.items()}
        return found | {SERVICES[name].reason_variable(): reason for name, reason in self.missing.items()}

    def _given(self, kind: type[Service]) -> bool:
        """Take over what the environment says of a server; return whether it says anything."""
        url, reason = os.environ.get(kind.variable()), os.environ.get(kind.reason_variable())
        if url:
            self.urls[kind.name] = url
        elif reason:
            self.missing[kind.name] = reason
        return bool(url or reason)

    def _start(self, services: list[Service]) -> None:
        lacking = [service for service in services if not service.find()]
        failure = _install(lacking) if lacking and self._install else None
        for service in lacking:
            if not service.find():
                advice = f"not installed (Debian: {' '.join(service.packages)}), {service.variable()} not set"
                self.missing[service.name] = failure or advice
        self._ours = [service for service in services if service.name not in self.missing]
        with ThreadPoolExecutor() as pool:  # to make an empty store is what takes its time
            self._note(pool.map(_attempt(_prepare), self._ours))
        # One after the other from this thread: a server ends with the thread that started it.
        self._note(map(_attempt(_launch), self._ours))
        self._note(map(_attempt(_wait), self._ours))
        self.urls |= {one.name: one.url() for one in self._ours if one.name not in self.missing}

    def _note(self, outcomes: Iterable[str | None]) -> None:
        """Keep the first reason that each of our servers gave."""
        for service, reason in zip(self._ours, outcomes, strict=True):
            if reason:
                self.missing.setdefault(service.name, reason)


def _prepare(service: Service) -> None:
    service.make_folder()
    service.prepare()


def _launch(service: Service) -> None:
    service.launch()


def _wait(service: Service) -> None:
    service.wait()


def _attempt(step: Callable[[Service], None]) -> Callable[[Service], str | None]:
    """Return `step` as a function that answers with the reason if the server is not to be had."""

    def attempt(service: Service) -> str | None:
        try:
            step(service)
        except (UnavailableError, OSError, subprocess.SubprocessError) as error:
            return str(error)
        return None

    return attempt


def _install(services: Sequence[Service]) -> str | None:
    """Install what is lacking with apt, as root on Debian; return why that failed."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    packages = sorted({package for service in services for package in service.packages})
    print(f"services: installing {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    with _no_system_services():
        for step in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                [*apt, *step], env=environment, check=False, capture_output=True, stdin=subprocess.DEVNULL
            )
            if done.returncode:
                return f"apt-get {step[0]} failed: {done.stderr.decode(errors='replace')[-1000:].strip()}"
    return None


@contextlib.contextmanager
def _no_system_services() -> Iterator[None]:
    """Keep a package being installed from starting its server as a system service (Debian policy, 9.3.3)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _run(names: Sequence[str], command: Sequence[str], *, install: bool) -> int:
    """Run `command` with the servers up; return its exit code, or 1 if a demanded server is missing."""
    with Servers(names, install=install) as servers:
        for name in names:
            print(f"services: {name} {servers.missing.get(name, 'is up')}", flush=True)
        if servers.missing and demanded():
            print("services: CI is set, so a missing server is a failure", file=sys.stderr)
            return 1
        child = subprocess.Popen(command, env={**os.environ, **servers.environment()})
        try:
            return _exit_code(child.wait())
        except KeyboardInterrupt:  # the terminal has told the child as well
            return _exit_code(child.wait())
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


def _exit_code(status: int) -> int:
    """Return a status as a shell does: 128 and the number of the signal that ended the process."""
    return 128 - status if status < 0 else status


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="services.py", description="Servers for the suite.")
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser(
        "run", help="run a command with the servers up and their URLs in its environment"
    )
    run.add_argument(
        "--only", action="append", choices=sorted(SERVICES), help="this server (may be repeated)"
    )
    run.add_argument("--no-install", action="store_true", help="never install a package")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)
    return _run(options.only or list(SERVICES), options.command, install=not options.no_install)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
