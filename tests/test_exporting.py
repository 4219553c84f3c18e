"""Exports: JSON lines import again exactly, CSV opens in a spreadsheet without running anything."""

import csv
import datetime
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlebro import trackers
from littlebro.events import Event, EventQuery
from littlebro.events.event import decode
from littlebro.exporting import COLUMNS, as_csv, as_jsonl, check_columns, plain_cell, safe_cell
from littlebro.importing import Importer, open_source
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate

MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)


def event(n: int = 0, **fields: Any) -> Event:
    values = {
        "id": f"id-{n}",
        "name": "n",
        "timestamp": MOMENT,
        "received_at": MOMENT,
        "params": {},
        "context": {},
    }
    return Event(**{**values, **fields})


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


ODD: list[dict[str, Any]] = [
    {"params": {"a": [1, {"b": None}], "f": 1.5, "big": 2**53 + 1, "t": True, "s": "é\u202e😀", "$k.": "=1"}},
    {"name": "=cmd()", "user_id": "-1", "anonymous_id": "'@x ", "context": {"ip": "1.2.3.0"}},
    {"params": {"lines": 'a\r\nb\t"c",\'d', "": "", "n": -0.5}, "collection": "other"},
    {"id": "@id", "timestamp": MOMENT.replace(microsecond=0)},
]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra", "\na", "\uff1d1", "'=1", "''@"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    """What a spreadsheet would run is text for it, and comes back as it was."""
    assert safe_cell(text) == f"'{text}"
    assert plain_cell(safe_cell(text)) == text


@given(st.text(alphabet="'=+-@\t\r\n1a "))
def test_cells_come_back(text: str) -> None:
    """The apostrophe can always be told from one of the text's own."""
    assert plain_cell(safe_cell(text)) == text
    assert safe_cell(text)[:1] not in set("=+-@\t\r\n")


def test_json_lines_hold_every_field() -> None:
    """Each line is the event, as it travels."""
    events = [event(n, **fields) for n, fields in enumerate([{}, *ODD[:3]])]
    lines = "".join(as_jsonl(events)).splitlines()
    assert [decode(line.encode()) for line in lines] == events


def test_csv_columns() -> None:
    """Numbers stay numbers, text is safe, arrays and objects are JSON, what is missing is empty."""
    one = event(params={"n": -5, "f": -0.5, "t": "-5", "b": False, "l": [1], "x": None, "a.b": 2}, v=1)
    columns = ("timestamp", "v", *(f"params.{key}" for key in ("n", "f", "t", "b", "l", "x", "no", "a.b")))
    header, row = rows("".join(as_csv([one], columns)))
    assert header == list(columns)
    assert row == ["2026-01-02T03:04:05.000006Z", "1", "-5", "-0.5", "'-5", "false", "[1]", "", "", "2"]


def test_csv_of_nothing_is_a_header() -> None:
    """So that whoever reads it knows the columns."""
    assert rows("".join(as_csv([]))) == [list(COLUMNS)]


@pytest.mark.parametrize("column", ["nme", "params.", "person.id", ""])
def test_unknown_columns_are_refused(column: str) -> None:
    """By name, with what there is."""
    with pytest.raises(ValueError, match="There is no column"):
        check_columns(["id", column])
    check_columns(["id", "params.x", "context.a.b"])


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.django_db
def test_round_trip(file_format: str, tmp_path: Path, settings: Any) -> None:
    """What is exported from one alias and imported into another is equal to the last bit, in either format."""
    settings.LITTLEBRO = {
        name: {"BACKEND": "memory", "LOCATION": f"{tmp_path}{name}"} for name in ("default", "copy")
    }
    events = [event(n, **fields) for n, fields in enumerate(ODD)]
    trackers["default"].deliver(events)
    pieces = {"jsonl": as_jsonl, "csv": as_csv}[file_format](_all("default"))
    path = tmp_path / "events"
    path.write_text("".join(pieces), newline="")
    with open_source(str(path)) as source:
        summary = Importer(file_format, "copy").run(source)
    assert (summary.stored, summary.bad) == (len(ODD), 0)
    assert list(_all("copy")) == list(_all("default"))


def _all(alias: str) -> Iterator[Event]:
    return iterate(backends[alias], EventQuery())


@pytest.mark.parametrize("export", [as_jsonl, as_csv])
def test_memory_is_flat(export: Any) -> None:
    """Forty times as many events need no more memory."""
    peaks = []
    for n in (500, 20_000):
        source = (event(i, params={"text": "x" * 100}) for i in range(n))
        tracemalloc.start()
        for _ in export(source):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + 50_000
