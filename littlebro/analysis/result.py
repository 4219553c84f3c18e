"""What reports answer with: keys of groups, tables, and the base of every result.

A result is a frozen struct that says as of when it holds, becomes JSON by `as_json` and a table by `table`;
what is exported is exactly that table. Knows nothing of how an answer was found.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import datetime, time
from typing import Any, Final, Literal

import msgspec

__all__ = ["ALL", "NONE", "OTHER", "Figure", "Key", "Result", "Table", "as_text", "columns_of", "to_left"]

_WIDEST: Final = 60


class Key(msgspec.Struct, frozen=True):
    """What the events of a group have in common.

    `kind` ``"value"``: the value at the path, in `value` (text, number, True, False, list or dict);
    ``"other"``: values beyond the limit; ``"none"``: missing, null or ``""``; ``"all"``: no grouping. So a
    real value ``"other"`` is not the kind other.
    """

    kind: Literal["value", "other", "none", "all"]
    value: Any = None

    @property
    def label(self) -> str:
        """Return the key as text: a text value as it is, others as JSON; the kinds in round brackets."""
        return as_text(self.value) if self.kind == "value" else f"({self.kind})"


ALL: Final = Key("all")
OTHER: Final = Key("other")
NONE: Final = Key("none")


class Figure(str):
    """Text that stands where a number would, ``12.5%`` or ``3m 20s``: to the right."""

    __slots__ = ()


class Table(msgspec.Struct, frozen=True):
    """Columns' names, and rows of as many cells: text, numbers, True, False, aware datetimes or None."""

    columns: list[str]
    rows: list[list[Any]]

    def __str__(self) -> str:
        """Return the table for a terminal: numbers to the right, long text cut, control characters escaped.

        A column of moments is written as exactly as they need: days alone where each is the beginning of one.
        """
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        shown = [[_shown(head), *_cells(column)] for head, column in zip(self.columns, columns, strict=True)]
        laid = []
        for cells, column in zip(shown, columns, strict=True):
            width = max(map(columns_of, cells))
            place = _to_right if all(map(_is_figure, column)) else to_left
            head, *rest = (place(cell, width) for cell in cells)
            laid.append([head, "-" * width, *rest])
        return "\n".join("  ".join(line).rstrip() for line in zip(*laid, strict=True))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what reports return; `as_of` is aware, in UTC: whatever was stored before it is in."""

    as_of: datetime

    def table(self) -> Table:
        """Return the result as a table, which is also what an export holds."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain dicts, lists, text and numbers; moments as ISO 8601."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def as_text(value: Any) -> str:
    """Return a value as a person reads it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def columns_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes: two a wide letter, none for a mark on one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def to_left(text: str, width: int) -> str:
    """Return `text` with spaces behind it up to `width` columns of a terminal."""
    return text + " " * (width - columns_of(text))


def _to_right(text: str, width: int) -> str:
    return " " * (width - columns_of(text)) + text


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Figure) and not isinstance(value, bool))


def _cells(column: Sequence[Any]) -> list[str]:
    """Return a column's cells as text."""
    moments = [value for value in column if isinstance(value, datetime)]
    form = "%Y-%m-%d"
    if any(value.timetz().replace(tzinfo=None) != time.min for value in moments):
        form += " %H:%M:%S" if any(value.second or value.microsecond for value in moments) else " %H:%M"
    places = 2 if any(isinstance(value, float) for value in column) else 0
    return [value.strftime(form) if isinstance(value, datetime) else _cell(value, places) for value in column]


def _cell(value: Any, places: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:,.{places}f}" if isinstance(value, int | float) else _shown(as_text(value))


def _shown(text: str) -> str:
    """Return `text` without what could move a terminal's cursor or turn the direction of writing."""
    if len(text) > _WIDEST:
        text = text[: _WIDEST - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else letter
        for letter in text
    )
