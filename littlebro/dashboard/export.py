"""A panel's table as a file: CSV that spreadsheets open safely, JSON lines, JSON, Parquet.

In: the `Answer` that a page shows. Out: bytes and what they are. What is written is the table as it is shown, every
row in its order, with figures whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from littlebro import conf
from littlebro.analysis.engine import engine
from littlebro.analysis.result import Table
from littlebro.dashboard.panels.base import Answer
from littlebro.exporting import safe_cell

__all__ = ["FORMATS", "Format", "csv_text", "unique"]


class Format(msgspec.Struct, frozen=True):
    """A kind of file: its name for a person, its media type, and how an answer is written."""

    label: str
    media: str
    write: Callable[[Answer], bytes]


def unique(columns: Sequence[str]) -> list[str]:
    """Return the columns' names, each once whatever its case: a second one of the same gets a number."""
    seen: dict[str, int] = {}
    found = []
    for column in columns:
        name, number = column, 1
        while name.casefold() in seen:
            number += 1
            name = f"{column} ({number})"
        seen[name.casefold()] = number
        found.append(name)
    return found


def as_csv(answer: Answer) -> bytes:
    """Return `csv_text`, with a mark that tells spreadsheets it is UTF-8."""
    return b"\xef\xbb\xbf" + csv_text(answer.table).encode()


def csv_text(table: Table) -> str:
    """Return a table as CSV (RFC 4180), text as `safe_cell` makes it, halves of characters spelt out."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([safe_cell(column) for column in table.columns])
    for row in table.rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return safe_cell(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, datetime) else msgspec.json.encode(value).decode()


def as_jsonl(answer: Answer) -> bytes:
    """Return an object a row; values keep their types."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in _objects(answer.table))


def _objects(table: Table) -> Iterator[dict[str, Any]]:
    columns = unique(table.columns)
    for row in table.rows:
        yield dict(zip(columns, row, strict=True))


def as_json(answer: Answer) -> bytes:
    """Return the result with all that belongs to it, not its table alone."""
    return msgspec.json.encode(answer.as_json())


def as_parquet(answer: Answer) -> bytes:
    """Return Parquet: a column of whole numbers, numbers, moments or truths where all its values are, else text."""
    columns = unique(answer.table.columns)
    types = [_type([row[place] for row in answer.table.rows]) for place in range(len(columns))]
    with engine.session(conf.setting("LITTLEBRO_ANALYSIS_SECONDS")) as session:
        source, target = session.instance.scratch.file(".jsonl"), session.instance.scratch.file(".parquet")
        try:
            with source.open("wb") as lines:
                for row in answer.table.rows:
                    cells = {f"c{place}": _typed(row[place], kind) for place, kind in enumerate(types)}
                    lines.write(msgspec.json.encode(cells) + b"\n")
            session.rows(_copy(columns, types, str(source), str(target)))
            return target.read_bytes()
        finally:
            source.unlink(missing_ok=True)
            target.unlink(missing_ok=True)


def _copy(columns: Sequence[str], types: Sequence[str], source: str, target: str) -> str:
    """Return the statement; names of columns come from events, and are quoted as identifiers."""
    read = ", ".join(f"c{place}: '{kind}'" for place, kind in enumerate(types))
    named = ", ".join(f"c{place} AS {_quoted(column, chr(34))}" for place, column in enumerate(columns))
    return (
        f"COPY (SELECT {named} FROM read_json({_quoted(source)}, format = 'newline_delimited', columns = {{{read}}}))"  # noqa: S608 - names are quoted, values are in the file
        f" TO {_quoted(target)} (FORMAT parquet, COMPRESSION zstd)"
    )


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\0", "").replace(mark, mark * 2) + mark


def _type(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return "BOOLEAN"
    if known and all(isinstance(value, datetime) for value in known):
        return "TIMESTAMPTZ"
    if not known or not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in known
    ):
        return "VARCHAR"
    whole = all(isinstance(value, int) and abs(value) < 2**63 for value in known)
    return "BIGINT" if whole else "DOUBLE"


def _typed(value: Any, kind: str) -> Any:
    return _text(value) if kind == "VARCHAR" and value is not None else value


FORMATS: Final[Mapping[str, Format]] = {
    "csv": Format("CSV", "text/csv; charset=utf-8", as_csv),
    "jsonl": Format("JSON lines", "application/x-ndjson", as_jsonl),
    "parquet": Format("Parquet", "application/vnd.apache.parquet", as_parquet),
    "json": Format("JSON", "application/json", as_json),
}
