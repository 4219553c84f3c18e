"""Figures in, a table and a verdict for each bound out.

Knows nothing of what was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Report", "percentile"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return float(median(values))


@dataclass
class Report:
    """One benchmark's table and bounds; `ok` tells whether all bounds hold."""

    title: str
    note: str
    columns: Sequence[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    bounds: list[tuple[bool, str]] = field(default_factory=list)

    def row(self, *cells: object) -> None:
        """Add a row; floats are shown with a figure or two behind the point."""
        self.rows.append(tuple(_shown(cell) for cell in cells))

    def at_most(self, what: str, value: float, bound: float, unit: str = "") -> None:
        """Hold `value` against an upper bound."""
        self.bounds.append((value <= bound, f"{what}: {_shown(value)}{unit} ≤ {_shown(bound)}{unit}"))

    def at_least(self, what: str, value: float, bound: float, unit: str = "") -> None:
        """Hold `value` against a lower bound."""
        self.bounds.append((value >= bound, f"{what}: {_shown(value)}{unit} ≥ {_shown(bound)}{unit}"))

    def equal(self, what: str, value: int, other: int) -> None:
        """Hold two counts against each other."""
        self.bounds.append((value == other, f"{what}: {_shown(value)} = {_shown(other)}"))

    @property
    def ok(self) -> bool:
        """Return whether every bound holds."""
        return all(holds for holds, _ in self.bounds)

    def show(self) -> None:
        """Print it all."""
        print(f"\n{self.title}\n{'=' * len(self.title)}\n{self.note}\n")
        table = [tuple(self.columns), *self.rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.columns))]
        for number, row in enumerate(table):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            print("  ".join(cells).rstrip())
            if number == 0:
                print("  ".join("-" * width for width in widths))
        print()
        for holds, text in self.bounds:
            print(f"{'PASS' if holds else 'FAIL'}  {text}")


def _shown(cell: object) -> str:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 20 else f"{cell:.2f}"
