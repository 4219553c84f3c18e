"""A background thread of this process that can be started, called and stopped, by a signal handler as well.

A fork has none of its parent's threads: there the worker starts from nothing. Knows nothing of what the thread does.
"""

import os
import queue
import threading
import time
from typing import Final

__all__ = ["Worker"]


class Worker:
    """Derive from it and write `run(shift)`, which works until `is_on(shift)` is false, and in between may `wait`."""

    def __init__(self, name: str) -> None:
        self.thread_name: Final = f"littlebro-{name}"
        self.reset()

    def reset(self) -> None:
        """Start from nothing, in a fresh process: no thread, no calls."""
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._shift = 0  # a thread works as long as this is its own number
        # SimpleQueue.put may interrupt itself; Event.set, in a signal handler that tracks, would wait for itself.
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: at once, even from a back-off
        self._starting = threading.RLock()
        self._launching = False

    def run(self, shift: int) -> None:
        """Do the work, in the thread."""
        raise NotImplementedError(f"{type(self).__name__} must implement run().")

    def start(self) -> bool:
        """Make sure that the thread runs, and wake it; return False where the system has none left."""
        self.own_process()
        started = self.is_running() or self._launch()
        if self._calls.empty():
            self._calls.put(False)
        return started

    def own_process(self) -> None:
        """Start from nothing after a fork that Python did not see."""
        if os.getpid() != self._pid:
            self.reset()

    def _launch(self) -> bool:
        with self._starting:
            if self._launching or self.is_running():
                return True
            self._launching = True
            try:
                self._shift += 1
                fresh = threading.Thread(
                    target=self.run, args=(self._shift,), name=self.thread_name, daemon=True
                )
                fresh.start()
                self._thread = fresh
            except (RuntimeError, MemoryError):  # a limit is reached, or the interpreter goes down
                return False
            finally:
                self._launching = False
            return True

    def call(self) -> None:
        """Wake the thread at once, where it runs: else nobody would take the call out again."""
        if self.is_running():
            self._calls.put(True)

    def stop(self, timeout: float) -> None:
        """Ask the thread to end after what it is at, and wait up to `timeout` seconds."""
        self.own_process()
        self._shift += 1
        self._calls.put(True)
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def is_running(self) -> bool:
        """Return whether the thread of this process runs."""
        return os.getpid() == self._pid and self._thread is not None and self._thread.is_alive()

    def is_on(self, shift: int) -> bool:
        """Return whether the thread that was started with this number is to work on."""
        return shift == self._shift

    def wait(self, seconds: float, *, only_urgent: bool = False) -> None:
        """Wait until called, or for so long; with `only_urgent` a `start` does not shorten it, other calls do."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                urgent = self._calls.get(timeout=left)
                while not self._calls.empty():
                    urgent = self._calls.get_nowait() or urgent
            except queue.Empty:
                return
            if urgent or not only_urgent:
                return
