"""The shop's server as a child process: started on a socket that is already bound, stopped by its own pid.

Knows how gunicorn is run and nothing of what it serves.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from littlebro.demo.browser import Address

__all__ = ["Server", "ServerMissing", "demand", "listen"]

_LOG_LINES = 15
# More than the server's own grace for requests under way and than the tracker's for its journal.
_STOP_SECONDS = 25.0
_WORKER_SECONDS = 5.0


class ServerMissing(Exception):
    """The demo's server is not installed."""


def demand() -> None:
    """Raise `ServerMissing`, naming the extra, where there is no gunicorn."""
    if importlib.util.find_spec("gunicorn") is None:
        raise ServerMissing(
            "the demo needs a production server, gunicorn, which is not installed here. "
            "The extra `demo` brings it: pip install 'django-littlebro[demo]'"
        )


def listen(host: str, port: int) -> socket.socket:
    """Bind the shop's address now, so that a port in use is known before anything else is done (0: a free one)."""
    return socket.create_server((host, port))


class Server:
    """One gunicorn in a session of its own: Ctrl-C on the terminal reaches the runner, which stops it in order."""

    def __init__(self, listening: socket.socket, folder: Path, settings: str) -> None:
        """Start it.

        Args:
            listening: the bound socket; the server takes it over, and requests queue in it until it is up.
            folder: the demo's folder; what the server has to say goes to `server.log` in it.
            settings: the dotted path of the shop's Django settings.
        """
        host, port = listening.getsockname()[:2]
        self.address = Address(host, port)
        self._log = folder / "server.log"
        descriptor = listening.fileno()
        config = "python:littlebro.demo.gunicorn_conf"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": settings,
            "LITTLEBRO_DEMO_FOLDER": str(folder),
            # The user's own gunicorn settings are meant for another server.
            "GUNICORN_CMD_ARGS": "",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, "-m", "gunicorn", "--config", config, "--bind", f"fd://{descriptor}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[descriptor],
                start_new_session=True,
            )
        listening.close()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended (which it should not do by itself)."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return how it ended, and the last lines of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"exit code {self._process.poll()}", *lines[-_LOG_LINES:]])

    def stop(self) -> None:
        """Ask it to finish what it is doing and to end; make it end if it has not within its time."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        finally:
            # Without effect on a process that has ended and was waited for.
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._end_workers()

    def _end_workers(self) -> None:
        """See to it that no worker outlives the server and writes into a folder that is removed.

        Workers whose server was killed notice within a second or two. They share its process group, which
        exists as long as one of them does.
        """
        end = time.monotonic() + _WORKER_SECONDS
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < end:
                os.killpg(self._process.pid, 0)
                time.sleep(0.05)
            os.killpg(self._process.pid, signal.SIGKILL)
