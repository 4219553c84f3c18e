"""What the demo says: a live line while it runs, and a summary that holds three accounts against each other.

Counts go in, text comes out. On a terminal the live line is written over itself, elsewhere one goes out now and
then.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from littlebro.demo.ledger import PAGE
from littlebro.demo.stored import Stored

__all__ = ["Screen", "Summary", "live_line"]

_TOP = 5
_SECONDS_BETWEEN_LINES = 5.0
_CLEAR_LINE = "\r\x1b[2K"


class Screen:
    """Writes for a person on a terminal, or into a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._next = 0.0

    def say(self, text: str) -> None:
        """Write something that stays."""
        self._write(f"{_CLEAR_LINE if self._terminal else ''}{text}\n")

    def live(self, text: str) -> None:
        """Show how it goes, in the place of what was shown before."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(_CLEAR_LINE + (text if len(text) <= width else text[: width - 1] + "…"))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def live_line(stored: Stored) -> str:
    """Put into one line what is stored: all, the newest that a visitor caused, the most frequent names."""
    newest = []
    if stored.newest is not None:
        name, when = stored.newest
        newest = [f"newest {name} {max((datetime.now(UTC) - when).total_seconds(), 0):.1f} s ago"]
    top = [f"{name} {number:,}" for name, number in stored.names.most_common(_TOP)]
    return " · ".join([f"stored {stored.total:,}", *newest, *top])


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a demo.

    `requests` and `tracked` (name -> number) are the visitors' own account, `stored` (likewise) is what the
    backend holds of theirs, `past` how many events it holds of the weeks before, `others` of other people, `lost`
    the counts by reason, `troubles` what went wrong, and `waiting` what is still on the way (empty: nothing).
    """

    seconds: float
    requests: int
    tracked: Mapping[str, int]
    stored: Mapping[str, int]
    past: int
    others: int
    lost: Mapping[str, int]
    troubles: Sequence[str]
    waiting: str

    @property
    def agrees(self) -> bool:
        """Whether each request made one `page-accessed`, and each event tracked is stored once."""
        return (
            not self.troubles
            and self.tracked.get(PAGE, 0) == self.requests
            and Counter(self.tracked) == Counter(self.stored)
        )

    def __str__(self) -> str:
        counts = {
            "requests made": self.requests,
            "events tracked": sum(self.tracked.values()),
            "events stored": sum(self.stored.values()),
            **{f"lost, {reason}": number for reason, number in self.lost.items()},
        }
        names = sorted({*self.tracked, *self.stored}, key=lambda name: -self.tracked.get(name, 0))
        width = max(map(len, (*counts, *names)))
        lines = [f"Summary of {self.seconds:.1f} seconds"]
        lines += [f"  {what:<{width}}{number:>10,}" for what, number in counts.items()]
        lines += ["", f"  {'by name':<{width}}{'tracked':>10}{'stored':>10}"]
        lines += [
            f"  {name:<{width}}{self.tracked.get(name, 0):>10,}{self.stored.get(name, 0):>10,}"
            for name in names
        ]
        lines.append("")
        if self.past:
            lines.append(f"  Before that, {self.past:,} events were imported: the weeks before.")
        if self.others:
            lines.append(
                f"  Besides, {self.others:,} {'event' if self.others == 1 else 'events'} of other people:"
                " yours, if you looked around in the shop."
            )
        if self.waiting:
            lines.append(f"  Still on the way: {self.waiting}")
        lines += [f"  Trouble: {what}" for what in self.troubles]
        lines.append(f"  {self._verdict()}")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.agrees:
            return f"They agree: one {PAGE} for each request, and each event tracked is stored once."
        apart = [
            f"{name} (tracked {self.tracked.get(name, 0):,}, stored {self.stored.get(name, 0):,})"
            for name in sorted({*self.tracked, *self.stored})
            if self.tracked.get(name, 0) != self.stored.get(name, 0)
        ]
        return f"They do NOT agree: {', '.join(apart) or 'see above'}."
