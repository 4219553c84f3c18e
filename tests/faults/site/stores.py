"""A store that is down, or slow, whenever a file says so, and that takes no batch in which something is poison."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from littlebro.events import Event
from littlebro.exceptions import EventRefused
from littlebro.storage import SaveResult
from littlebro_backends.log import Backend

__all__ = ["Fragile"]


class Fragile(Backend):
    """Writes to LOCATION as `log` does; fails while there is a file LOCATION.down, dawdles beside LOCATION.slow."""

    idempotent: ClassVar[bool] = False

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if Path(f"{self.location}.down").exists():
            raise ConnectionError("the store is down")
        if Path(f"{self.location}.slow").exists():
            time.sleep(0.02)
        if any(event.name == "poison" for event in events):
            raise EventRefused("something in this batch is poison")
        return super().save_many(events)
