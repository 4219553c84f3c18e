"""Tracker ``celery``: many machines, one broker, workers that store.

Features: durable before the call returns (journal); a background thread publishes each batch as ONE message, confirmed
by the broker, to the queue ``littlebro``; any worker may store it. Settings: TRACKER_OPTIONS, of which JOURNAL is
required; broker and app are the project's own. Limits: what the broker forgets is lost, see "Durability" in the
docs. Under ``task_always_eager`` there is no broker, and the thread writes straight to the backend.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from littlebro import carrying, publishing  # noqa: F401 - carrying is connected by being imported
from littlebro.delivery import JournalTracker
from littlebro.delivery.batch import Batch, untouched
from littlebro.events import Event

__all__ = ["Tracker"]


class Tracker(JournalTracker):
    """Journal, then a background thread that publishes to the broker of the project's Celery app."""

    broker: ClassVar[str] = "celery"  # by which the system checks know what to look at

    def forward(self, events: Sequence[Event], sink: str) -> None:
        """Publish the batch."""
        if _is_eager():
            self.delivery_to(sink).save(events)
        else:
            self._publish(self._address(sink), events)

    def pass_on(self, content: bytes, sink: str) -> bool:
        """Publish the lines as they are: the worker reads them, and knows what to do with each."""
        is_ours = type(self).forward is Tracker.forward  # one of a subclass wants to see the events
        text = untouched(content) if is_ours and not _is_eager() else None
        if text is None:
            return False
        publishing.publisher.publish(self._address(sink), text)
        return True

    def keep_notes(self, batch: Batch, source: str) -> None:
        """Publish the notes too: a web machine that is not allowed to reach a database needs none."""
        if _is_eager():
            super().keep_notes(batch, source)
        else:
            self._publish(self.alias, batch.notes(source))

    def _address(self, sink: str) -> str:
        return f"{self.alias}/{sink}" if sink else self.alias

    def _publish(self, to: str, items: Sequence[Any]) -> None:
        publishing.publisher.publish(to, msgspec.json.encode(items).decode())

    def close(self, timeout: float | None = None) -> None:
        """See JournalTracker.close(); the connection to the broker is closed as well."""
        super().close(timeout)
        publishing.publisher.close()


def _is_eager() -> bool:
    return bool(publishing.project_app().conf.task_always_eager)
