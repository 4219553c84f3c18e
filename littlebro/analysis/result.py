"""What reports answer with: keys of groups, tables, and the base of every result.

A result is a frozen struct that says as of when it holds, becomes JSON by `as_json` and a table by `table`;
what is exported is exactly that table. Knows nothing of how an answer was found.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

__all__ = ["ALL", "NONE", "OTHER", "Key", "Result", "Table", "as_text"]

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


class Table(msgspec.Struct, frozen=True):
    """Columns' names, and rows of as many cells: text, numbers, True, False, aware datetimes or None."""

    columns: list[str]
    rows: list[list[Any]]

    def __str__(self) -> str:
        """Return the table for a terminal: numbers to the right, long text cut, control characters escaped."""
        cells = [[_cell(value) for value in row] for row in self.rows]
        heads = [_shown(column) for column in self.columns]
        widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
        right = [
            all(value is None or isinstance(value, int | float) for value in (row[i] for row in self.rows))
            for i in range(len(heads))
        ]
        lines = [heads, ["-" * width for width in widths], *cells]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        )


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


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool | str | list | dict):
        return _shown(as_text(value))
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" if value.second else f"{value:%Y-%m-%d %H:%M}"
    return str(value)


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
