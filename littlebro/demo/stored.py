"""What the shop's backend holds: looked at while the demo runs, and held against the visitors' ledger at its end.

Reads the tables in the order of storing, each row once; writes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Sum

from littlebro.models import LossCount, StoredEvent

__all__ = ["Stored", "losses"]


@dataclass(slots=True)
class Stored:
    """How many events there are, by name; `mark` ends the User-Agent of the visitors whose events are `theirs`."""

    mark: str
    names: Counter[str] = field(default_factory=Counter)
    theirs: Counter[str] = field(default_factory=Counter)
    newest: tuple[str, datetime] | None = None
    _last: int = 0

    @property
    def total(self) -> int:
        """How many events are stored, whoever caused them."""
        return self.names.total()

    def look(self) -> None:
        """Take in what was stored since the last look."""
        rows = StoredEvent.objects.filter(pk__gt=self._last).order_by("pk")
        for key, name, timestamp, context in rows.values_list(
            "pk", "name", "timestamp", "context"
        ).iterator():
            self.names[name] += 1
            if str(context.get("user_agent", "")).endswith(self.mark):
                self.theirs[name] += 1
            self.newest = (name, timestamp)
            self._last = key


def losses() -> dict[str, int]:
    """Return how many events were lost, by reason."""
    return dict(LossCount.objects.values_list("reason").annotate(Sum("n")).order_by("reason"))
