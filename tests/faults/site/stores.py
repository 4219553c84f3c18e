"""A store that is down whenever a file says so, and that takes no batch in which something is poison."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from littlebro.events import Event
from littlebro.exceptions import EventRefused
from littlebro.storage import SaveResult
from littlebro_backends.log import Backend

__all__ = ["Fragile"]


class Fragile(Backend):
    """Writes to LOCATION as `log` does; fails as long as there is a file LOCATION.down."""

    idempotent: ClassVar[bool] = False

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if Path(f"{self.location}.down").exists():
            raise ConnectionError("the store is down")
        if any(event.name == "poison" for event in events):
            raise EventRefused("something in this batch is poison")
        return super().save_many(events)
