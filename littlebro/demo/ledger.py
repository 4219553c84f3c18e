"""What the visitors did, written down by themselves: the demo's own account, to hold the stored events against.

Filled by the visitors' threads, read by the runner. Knows nothing of the shop's process: that is its worth.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

__all__ = ["PAGE", "Ledger"]

PAGE = "page-accessed"
_KEPT_TROUBLES = 20


class Ledger:
    """Requests made, and how often each event must have been tracked because of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._troubles: list[str] = []
        self._in_trouble = 0
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return self._requests

    @property
    def events(self) -> Mapping[str, int]:
        """How many events of each name the shop must have tracked for the visitors."""
        with self._lock:
            return dict(self._events)

    @property
    def troubles(self) -> list[str]:
        """What went wrong: requests without an answer and answers that make no sense; the first few of them."""
        with self._lock:
            more = self._in_trouble - len(self._troubles)
            return [*self._troubles, f"and {more} more"] if more else list(self._troubles)

    def answered(self, method: str, path: str, status: int) -> None:
        """Write down a request that was answered; the middleware must have seen it."""
        with self._lock:
            self._requests += 1
            self._events[PAGE] += 1
        if status >= 500 or status == 403:
            self.trouble(f"{method} {path}: the shop answered {status}")

    def unanswered(self, what: str) -> None:
        """Write down a request of which nobody knows whether the shop has seen it."""
        self.trouble(f"no answer to {what}")

    def did(self, event: str) -> None:
        """Write down what a visitor did that the shop must have tracked under this name."""
        with self._lock:
            self._events[event] += 1

    def trouble(self, what: str) -> None:
        """Write down what should not have happened."""
        with self._lock:
            self._in_trouble += 1
            if len(self._troubles) < _KEPT_TROUBLES:
                self._troubles.append(what)
