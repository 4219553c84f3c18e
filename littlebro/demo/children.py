"""The demo's child processes: each in a session of its own, stopped by its own pid, and never left behind.

Knows how a process is started, watched and ended, and nothing of what it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Child", "when_orphaned"]

_LOG_LINES = 15
_STRAGGLER_SECONDS = 5.0


class Child:
    """A process of ours: Ctrl-C on the terminal does not reach it, but the runner, which stops it in order.

    It ends by itself when its standard input is closed, since it calls `when_orphaned`; so it does not outlive a
    runner that is killed.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
        patience: float = 25.0,
    ) -> None:
        """Start it.

        Args:
            name: what it is called; what it has to say goes to a log of that name.
            words: the command line for our interpreter.
            folder: the demo's folder, where the log is.
            environment: what is to be changed in ours.
            keep: descriptors that it inherits.
            patience: seconds that it is given to end in order.
        """
        self.name = name
        self._log = folder / f"{name}.log"
        self._patience = patience
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                pass_fds=keep,
                start_new_session=True,
            )

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
                self._process.wait(self._patience)
        finally:
            # Without effect on a process that has ended and was waited for.
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._end_stragglers()

    def _end_stragglers(self) -> None:
        """See to it that none of its own children outlives it and writes into a folder that is removed.

        Children of a process that was killed notice within a second or two. They share its process group, which
        exists as long as one of them does.
        """
        end = time.monotonic() + _STRAGGLER_SECONDS
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < end:
                os.killpg(self._process.pid, 0)
                time.sleep(0.05)
            os.killpg(self._process.pid, signal.SIGKILL)


def when_orphaned(end: Callable[[], None]) -> None:
    """In a child: call `end` once the demo that started it has died, and its end of our standard input is closed."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        end()

    threading.Thread(target=watch, name="demo-watch", daemon=True).start()
