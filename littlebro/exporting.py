"""Events as text for elsewhere: JSON lines, which import again exactly, and CSV, which spreadsheets open safely.

Events flow in, pieces of text flow out, so that memory stays flat whatever the number. Knows neither backends nor
files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec

from littlebro.events.event import Event, encode

__all__ = ["COLUMNS", "as_csv", "as_jsonl", "check_columns", "plain_cell", "safe_cell"]

COLUMNS: Final = (
    "id",
    "name",
    "timestamp",
    "received_at",
    "collection",
    "user_id",
    "anonymous_id",
    "params",
    "context",
    "v",
)

_CHUNK: Final = 200
# https://owasp.org/www-community/attacks/CSV_Injection lists these; apostrophes before them are the mark itself.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula: with a leading apostrophe where it might.

    The rule is OWASP's: a cell that begins with ``= + - @``, their full-width forms, tab, carriage return or
    line feed. `plain_cell` undoes it.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(cell: str) -> str:
    """Return what `safe_cell` was given; the same object where there was nothing to undo."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def as_jsonl(events: Iterable[Event]) -> Iterator[str]:
    """Yield pieces of text that together hold one JSON object a line, every field of every event."""
    for chunk in _chunks(events):
        yield "".join(f"{encode(event).decode()}\n" for event in chunk)


def as_csv(events: Iterable[Event], columns: Sequence[str] = COLUMNS) -> Iterator[str]:
    """Yield pieces of a CSV text (RFC 4180, commas) with a header.

    `columns` are names of fields, or paths such as ``params.total``: the value under that one key, empty where
    there is none. Arrays and objects are JSON text. Numbers are written as they are, text by `safe_cell`.
    """
    check_columns(columns)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([safe_cell(column) for column in columns])
    for chunk in _chunks(events):
        for event in chunk:
            writer.writerow([_cell(event, column) for column in columns])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    rest = text.getvalue()
    if rest:
        yield rest


def _chunks(events: Iterable[Event]) -> Iterator[list[Event]]:
    source = iter(events)
    while chunk := list(islice(source, _CHUNK)):
        yield chunk


def check_columns(columns: Sequence[str]) -> None:
    """Raise `ValueError` naming the column that no event can have."""
    for column in columns:
        group, _, key = column.partition(".")
        if column not in COLUMNS and (group not in {"params", "context"} or not key):
            message = (
                f"There is no column {column!r}; there are {', '.join(COLUMNS)}, and params.KEY, context.KEY."
            )
            raise ValueError(message)


def _cell(event: Event, column: str) -> str | int | float | None:
    group, _, key = column.partition(".")
    value: Any = getattr(event, group)
    if key:
        value = value.get(key)
    if isinstance(value, str):
        return safe_cell(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bool | Mapping | list):
        return msgspec.json.encode(value).decode()
    if value is None or isinstance(value, int | float):
        return value
    return safe_cell(str(value))
