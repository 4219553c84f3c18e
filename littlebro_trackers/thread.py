"""Tracker ``thread``: one machine, no broker.

Features: durable before the call returns (journal), delivered in batches by a background thread straight into
the backend, sinks by threads of their own. Settings: TRACKER_OPTIONS, of which JOURNAL is required. Limits: the
backend must be reachable from every machine that tracks.
"""

from collections.abc import Sequence

from littlebro.delivery import JournalTracker
from littlebro.events import Event

__all__ = ["Tracker"]


class Tracker(JournalTracker):
    """Journal, then a background thread that writes to the backend."""

    def forward(self, events: Sequence[Event], sink: str) -> None:
        """Store the batch."""
        self.delivery_to(sink).save(events)
