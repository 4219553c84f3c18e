"""Figures as a person reads them: exact in tables, short on axes, and the change between two.

In: numbers and None. Out: text. Knows no HTML.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

__all__ = ["Change", "change", "compact", "duration", "exact", "percent"]

Number = int | float
NOTHING: Final = "–"
_UNITS: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_UNNAMED: Final = 1e15  # from here on by powers of ten
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def exact(value: Number | None) -> str:
    """Return a figure whole: thousands parted, two decimals at most, more where it is small; a dash for none."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}" if abs(value) < 1e18 else f"{value:.4g}"
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.2f}"


def compact(value: Number | None) -> str:
    """Return a figure in a few characters: 940, 1.2k, 34M, 2e+20."""
    if value is None:
        return NOTHING
    if abs(value) >= _UNNAMED:
        return f"{value:.3g}"
    for size, unit in _UNITS:
        if abs(value) >= size * 0.9995:
            short = value / size
            digits = 1 if abs(short) < 99.95 else 0
            return f"{short:.{digits}f}".removesuffix(".0") + unit
    if isinstance(value, int) or value == int(value):
        return str(int(value))
    return f"{value:.3g}"


def percent(part: Number | None, whole: Number | None) -> str:
    """Return `part` of `whole` in per cent; a dash where there is no whole."""
    if part is None or not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    return f"{share:.1f}%" if share not in {0, 100} else f"{share:.0f}%"


def duration(seconds: Number | None) -> str:
    """Return a length of time by its two largest units: 45 s, 3m 20s, 2d 4h."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    total = round(seconds)
    parts: list[str] = []
    for size, unit in _SPANS:
        count, total = divmod(total, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    parts.append(f"{total}s")
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


class Change(msgspec.Struct, frozen=True):
    """How a figure moved: `text` for the page, `tone` one of up, down, same."""

    text: str
    tone: str
    before: str


def change(now: Number | None, before: Number | None) -> Change | None:
    """Return the change from `before` to `now`, None where either is missing."""
    if now is None or before is None:
        return None
    if before == now:
        return Change("0%", "same", exact(before))
    if before == 0:
        return Change("new", "up" if now > 0 else "down", exact(before))
    share = 100 * (now - before) / abs(before)
    size = f"{abs(share):,.0f}" if abs(share) >= 10 else f"{abs(share):.1f}"
    if size == "0.0":
        return Change("0%", "same", exact(before))
    return Change(f"{size}%", "up" if share > 0 else "down", exact(before))
