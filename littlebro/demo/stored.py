"""What the shop's backend holds: looked at while the demo runs, and held against the visitors' ledger at its end.

Reads through the backend, whichever it is; writes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Sum

from littlebro.demo.history import MARK as HISTORY
from littlebro.events import Event, EventQuery
from littlebro.models import LossCount
from littlebro.storage import backends, iterate

__all__ = ["Stored", "losses"]

_ALIAS = "default"


@dataclass(slots=True)
class Stored:
    """How many events there are, by name; `mark` ends the User-Agent of the visitors whose events are `theirs`.

    Of those, `past` were imported before any visitor came; `newest`, by name and time, is one of the others.
    """

    mark: str
    names: Counter[str] = field(default_factory=Counter)
    theirs: Counter[str] = field(default_factory=Counter)
    past: int = 0
    newest: tuple[str, datetime] | None = None
    _last: str | None = None

    @property
    def total(self) -> int:
        """How many events are stored, whoever caused them."""
        return self.names.total()

    def look(self) -> None:
        """Take in what was stored since the last look."""
        for position, event in backends[_ALIAS].scan_stored(self._last):
            past = self.past
            self._take(event)
            if self.past == past and (self.newest is None or event.timestamp > self.newest[1]):
                self.newest = (event.name, event.timestamp)
            self._last = position

    def count_anew(self) -> None:
        """Count what is there, from the first event to the last: the account that the summary gives."""
        self.names.clear()
        self.theirs.clear()
        self.past = 0
        for event in iterate(backends[_ALIAS], EventQuery()):
            self._take(event)

    def _take(self, event: Event) -> None:
        self.names[event.name] += 1
        agent = str(event.context.get("user_agent", ""))
        if agent.endswith(self.mark):
            self.theirs[event.name] += 1
        elif agent.endswith(HISTORY):
            self.past += 1


def losses() -> dict[str, int]:
    """Return how many events were lost, by reason."""
    return dict(LossCount.objects.values_list("reason").annotate(Sum("n")).order_by("reason"))
