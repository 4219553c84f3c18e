"""Tracker ``dummy``: the backend is written before the call returns, in one attempt.

Features: no thread, no file, atomic with the caller's transaction where the backend writes to its database.
Settings: with TRACKER_OPTIONS["JOURNAL"], what could not be stored waits there and is delivered later; without,
it is counted as lost and logged. Limits: the caller waits for the backend, and for the database's time-outs.
"""

import asyncio
import contextvars
import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from asgiref.sync import sync_to_async
from django.db import connections

from littlebro.delivery import JournalTracker, losses
from littlebro.delivery.pipeline import Built
from littlebro.events import Event
from littlebro.events.context import inside_delivery

__all__ = ["Tracker"]

logger = logging.getLogger("littlebro")


class Tracker(JournalTracker):
    """Deliver now, in the caller."""

    journal_required: ClassVar[bool] = False
    _warned = False

    def record(self, built: Built, on_commit: bool | str | None) -> bool:
        """Deliver the event; from a running event loop, through a helper thread (Django refuses ORM calls there)."""
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - no exception on the way
            return self._deliver_now(built, on_commit)
        with ThreadPoolExecutor(1, thread_name_prefix="littlebro-dummy") as helper:
            stored = helper.submit(
                contextvars.copy_context().run, self._deliver_and_close, built, on_commit
            ).result()
        if not self._warned:
            self._warned = True
            message = (
                "tracker.track_event() was called from a running event loop, which waits for the database now; "
                "use `await tracker.atrack_event(...)` there."
            )
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        return stored

    async def arecord(self, built: Built, on_commit: bool | str | None) -> bool:
        """See record()."""
        return await sync_to_async(self._deliver_now)(built, on_commit)

    def send(self, event: Event, line: bytes) -> bool:
        """Deliver an event that was not made just now, but imported for instance."""
        return self._deliver_now((event, line), on_commit=False, imported=True)

    def _deliver_and_close(self, built: Built, on_commit: bool | str | None) -> bool:
        try:
            return self._deliver_now(built, on_commit)
        finally:
            connections.close_all()

    def _deliver_now(self, built: Built, on_commit: bool | str | None, *, imported: bool = False) -> bool:
        event, _ = built
        # No tombstone is newer than what happened just now; one may be newer than what is dated back.
        fresh = not imported and event.timestamp >= event.received_at
        with inside_delivery():
            failed = [sink for sink in ("", *self.config.sinks) if not self._save(sink, event, fresh=fresh)]
        if failed and self.journal is not None:
            # Delivered later, to all: those that have it already are not harmed by a second time.
            # Held while a transaction is open, or a rollback would leave a ghost.
            return super().record(built, on_commit)
        for sink in failed:
            losses.count(self.alias, f"not-stored:{sink}" if sink else "not-stored")
        return "" not in failed

    def _save(self, sink: str, event: Event, *, fresh: bool) -> bool:
        try:
            self.delivery_to(sink).save([event], fresh=fresh)
        except Exception as error:  # noqa: BLE001 - a tracking call never breaks its caller, whatever a backend raises
            destination = f"sink {sink!r}" if sink else "the backend"
            message = "littlebro[%s]: %s did not take event %s (%s): %s: %s"
            logger.error(message, self.alias, destination, event.name, event.id, type(error).__name__, error)
            return False
        return True

    def forward(self, events: Sequence[Event], sink: str) -> None:
        """Store what the journal kept."""
        self.delivery_to(sink).save(events)
