"""The table of the trials: a row each, its verdict, and the file that the documentation includes.

In: what a trial found, and the control run of its path. Out: PASS, FAIL, or SHOWN where the documentation says that
events are lost, and they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.felt import Felt
from tests.faults.harness import World
from tests.faults.stories import Story
from tests.faults.trial import Trial

__all__ = ["HEADS", "Row", "of_story", "of_trial", "rst"]

_SHARE: Final = 99.9  # per cent of calls under 10 ms
_MORE: Final = 10.0  # ms beyond the control's longest call
_GROWTH: Final = 30.0  # MB

HEADS: Final = (
    "fault", "path", "events", "refused", "lost", "doubled", "% < 10 ms", "longest ms", "bound",
    "web MB", "worker MB", "",
)  # fmt: skip


@dataclass
class Row:
    """A row of the table; `broken` says what is not as promised, `missed` which bounds of time and memory."""

    fault: str
    path: str
    events: int = 0
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    within: float | None = None
    longest: float | None = None
    bound: float | None = None
    web: float | None = None
    workers: float | None = None
    loses: bool = False
    broken: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return how it ended, in a word."""
        if self.broken or self.missed:
            return "FAIL"
        return "SHOWN" if self.loses else "PASS"

    def cells(self) -> list[str]:
        """Return the row as text."""
        return [
            self.fault, self.path, f"{self.events:,}", f"{self.refused:,}", f"{self.lost:,}", f"{self.doubled:,}",
            *(_shown(value, digits) for value, digits in (
                (self.within, 2), (self.longest, 1), (self.bound, 1), (self.web, 1), (self.workers, 1),
            )), self.verdict,
        ]  # fmt: skip


def _shown(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{int(value * 100) / 100:.2f}" if digits == 2 else f"{value:.{digits}f}"  # 99.999 is not 100.00


def of_trial(case: Felt, seen: Trial, control: Row | None, log: str) -> Row:
    """Return the row of an outage."""
    verdict = seen.verdict
    row = Row(
        case.fault, case.path, verdict.accepted, seen.refused, verdict.lost, verdict.duplicated, seen.within,
        seen.longest, None, seen.grown, seen.grown_workers,
        loses=bool(case.warning) or 0 < verdict.lost <= case.at_most,
    )  # fmt: skip
    if case.warning:
        _must(row, verdict.lost > 0, "nothing was lost, where the documentation says so")
        _must(row, case.warning in log, "no worker warned of it")
    elif not row.loses:
        _must(row, seen.exact(), f"what is missing is not what is counted: {seen}")
        _must(row, case.refuses or not (seen.refused or verdict.lost), "events were refused or lost")
    _must(row, not verdict.duplicated and not seen.raised, f"doubled or raised: {seen}")
    _bound(row, seen.within >= _SHARE, "calls took longer than 10 ms")
    if control is not None and control.longest is not None:
        row.bound = control.longest + _MORE
        _bound(row, seen.longest <= row.bound, "the longest call took too long")
    _bound(row, seen.grown < _GROWTH, "the web process grew")
    _bound(row, (seen.grown_workers or 0) < _GROWTH, "the workers grew")
    return row


def of_story(story: Story, world: World) -> Row:
    """Return the row of a story."""
    verdict, times = world.verdict(), world.times()
    row = Row(story.fault, story.path, verdict.accepted, 0, verdict.lost, verdict.duplicated)
    if times:
        row.within = 100 * sum(took < 10 for took in times) / len(times)
        row.longest = times[-1]
        # Of fewer than a thousand calls, 99.9 % would be all of them.
        _bound(row, row.within >= _SHARE or len(times) < 1000, "calls took longer than 10 ms")
    dead = len(world.dead_letters())
    _must(row, verdict.lost == dead == story.refused, f"lost, or dead letters ({dead}): {verdict}")
    _must(row, verdict.counted == story.refused, f"counted: {world.losses()}")
    _must(row, not verdict.duplicated, f"doubled: {verdict}")
    row.refused, row.lost = dead, verdict.lost - dead
    return row


def _must(row: Row, holds: bool, otherwise: str) -> None:
    if not holds:
        row.broken.append(otherwise)


def _bound(row: Row, holds: bool, otherwise: str) -> None:
    if not holds:
        row.missed.append(otherwise)


def rst(rows: Sequence[Row], command: str) -> str:
    """Return the tables for the documentation, one a path, which say where they come from."""
    parts = [f".. Written by ``{command}``; do not edit.", ""]
    for path in dict.fromkeys(row.path for row in rows):
        parts += [f".. rubric:: {path}", "", ".. list-table::", "   :header-rows: 1", ""]
        for cells in ([*HEADS[:-1], ""], *(row.cells() for row in rows if row.path == path)):
            shown = [cell for head, cell in zip(HEADS, cells, strict=True) if head != "path"]
            parts += [
                f"   {'* -' if not place else '  -'} {cell}".rstrip() for place, cell in enumerate(shown)
            ]
        parts.append("")
    return "\n".join(parts)
