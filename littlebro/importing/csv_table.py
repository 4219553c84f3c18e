"""CSV with the columns of our own export: a header, then one event a row.

`params` and `context` are columns of JSON text, or single values in columns such as `params.total`, where a number,
true, false and null are read as such and anything else as text. The apostrophe that the export puts before what a
spreadsheet would run as a formula is taken off again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from littlebro.exporting import plain_cell
from littlebro.importing.jsonl import arguments_of, check_keys
from littlebro.importing.records import BadLine, Record
from littlebro.importing.source import MAX_LINE, SourceError

__all__ = ["read_csv"]


def read_csv(lines: Iterable[tuple[int, bytes | BadLine]]) -> Iterator[Record | BadLine]:
    """Read rows under a header line; raises `SourceError` for a header that cannot be one."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    feed = _Feed(lines)
    rows = csv.reader(feed, strict=True)
    columns: list[str] | None = None
    while True:
        start = feed.number + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(f"not CSV: {error}", start)
            continue
        except BadLine as error:
            yield BadLine(error.reason, start)
            continue
        if not cells:
            continue
        if columns is None:
            columns = _header(cells)
        elif len(cells) != len(columns):
            yield BadLine(f"{len(cells)} cells under {len(columns)} columns", start)
        else:
            yield _record(start, columns, cells)


class _Feed:
    """Text lines for the csv module, and the number of the last one that it took."""

    def __init__(self, lines: Iterable[tuple[int, bytes | BadLine]]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, BadLine):
            raise line
        # What is no UTF-8 becomes lone surrogates, which the validator refuses with the path.
        return line.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape")


def _header(cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    try:
        check_keys(column for column in columns if not column.startswith(("params.", "context.")))
    except BadLine as error:
        hint = " Cells are separated by commas." if len(columns) == 1 else ""
        raise SourceError(f"The first line is no header of ours: {error.reason}.{hint}") from error
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise SourceError(f"The header names {', '.join(sorted(twice))} twice.")
    for needed in ("name", "timestamp"):
        if needed not in columns:
            raise SourceError(f"The header has no column {needed!r}.")
    return columns


def _record(line: int, columns: list[str], cells: list[str]) -> Record | BadLine:
    fields: dict[str, Any] = {}
    single: list[tuple[str, str, Any]] = []
    try:
        for column, cell in zip(columns, cells, strict=True):
            if not cell:
                continue
            group, _, key = column.partition(".")
            if key:
                single.append((group, key, _guess(cell)))
            elif column in {"params", "context"}:
                fields[column] = _object(column, cell)
            elif column == "v":
                fields[column] = _guess(cell)
            else:
                fields[column] = plain_cell(cell)
        for group, key, value in single:
            fields.setdefault(group, {})[key] = value
        arguments = arguments_of(fields)
    except BadLine as error:
        return BadLine(error.reason, line)
    content = "\x1f".join([*columns, *cells]).encode("utf-8", "surrogateescape")
    return Record(line, content, arguments)


def _object(column: str, cell: str) -> Any:
    try:
        value = msgspec.json.decode(plain_cell(cell))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadLine(f"{column}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadLine(f"{column}: not a JSON object")
    return value


def _guess(cell: str) -> Any:
    """Return the number, true, false or null that a cell spells, or else its text."""
    text = plain_cell(cell)
    if text is not cell:
        return text
    try:
        value = msgspec.json.decode(cell)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text
    return text if isinstance(value, str | list | dict) else value
