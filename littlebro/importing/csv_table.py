"""CSV with the columns of our own export: a header, then one event a row.

`params` and `context` are columns of JSON text, or single values in columns such as `params.total`, where a number,
true, false and null are read as such and anything else as text. The apostrophe that the export puts before what a
spreadsheet would run as a formula is taken off again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from littlebro.exporting import plain_cell
from littlebro.importing.jsonl import arguments_of, check_keys
from littlebro.importing.records import BadLine, Record
from littlebro.importing.source import MAX_LINE, SourceError

__all__ = ["read_csv"]

_SINGLE: Final = re.compile(r"(?:params|context)\..+", re.DOTALL)
_LEFT_OPEN: Final = "not CSV: a quote is left open"
# How often a line is read again, on an average: every line of a hostile file may leave a quote open for all the others.
_MOST_AGAIN: Final = 8


def read_csv(lines: Iterable[tuple[int, bytes | BadLine]]) -> Iterator[Record | BadLine]:
    """Read rows under a header line; raises `SourceError` for a header that cannot be one.

    A row over several lines that turns out bad is taken for one line whose quote was left open: those after it
    are read again, each as a row of its own.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    feed = _Feed(lines)
    rows = csv.reader(feed, strict=True)
    columns: list[str] | None = None
    while True:
        start = feed.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except (csv.Error, BadLine) as error:
            reason = error.reason if isinstance(error, BadLine) else f"not CSV: {error}"
            if columns is None:
                raise SourceError(f"The first line is no header of ours: {reason}.") from error
            item: Record | BadLine = BadLine(reason, start)
        else:
            if not cells:
                continue
            if columns is None:
                columns = _header(cells)
                continue
            item = _record(start, columns, cells)
        if isinstance(item, BadLine):
            feed.give_back()
        yield item


class _Feed:
    """Text lines for the csv module, and the number of the last one that it took.

    The lines of the row that is being read are remembered, at most `MAX_LINE` bytes of them.
    """

    def __init__(self, lines: Iterable[tuple[int, bytes | BadLine]]) -> None:
        self._lines = iter(lines)
        self._row: list[bytes | BadLine] = []
        self._size = 0
        self._back: list[bytes | BadLine] = []  # the next one last
        self._given_back = 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._back:
            self.number, line = self.number + 1, self._back.pop()
        else:
            self.number, line = next(self._lines)
        self._row.append(line)
        if isinstance(line, BadLine):
            raise line if len(self._row) == 1 else BadLine(_LEFT_OPEN)
        self._size += len(line)
        if self._size > MAX_LINE:
            raise BadLine(_LEFT_OPEN)
        # What is no UTF-8 becomes lone surrogates, which the validator refuses with the path.
        return line.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape")

    def begin(self) -> int:
        """Note that a row begins with the next line; return its number."""
        self._row.clear()
        self._size = 0
        return self.number + 1

    def give_back(self) -> None:
        """Let the lines of the row be read again, but for the first; in a hostile file each becomes a bad one."""
        rest = self._row[1:]
        self._given_back += len(rest)
        if self._given_back > _MOST_AGAIN * self.number:
            rest = [BadLine(_LEFT_OPEN)] * len(rest)
        self._back.extend(reversed(rest))
        self.number -= len(rest)


def _header(cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    try:
        check_keys(column for column in columns if not _SINGLE.fullmatch(column))
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
    if len(cells) != len(columns):
        return BadLine(f"{len(cells)} cells under {len(columns)} columns", line)
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
