"""What is exported is exactly what is shown: the same rows, in the same order, figures whole."""

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from django.test import Client

from littlebro.analysis.result import Table
from littlebro.dashboard.export import FORMATS, unique
from littlebro.dashboard.panels import PANELS, Answer
from littlebro.exporting import plain_cell
from tests.dashboard.site import BOARD, STEPS, AwayStore, event, export, fill, noon, panel, store

pytestmark = pytest.mark.django_db

ASKED = {
    "figures": "compare=previous", "chart": "by=name&measure=events", "list": "by=params.path",
    "breakdown": "by=name&sort=people&dir=asc", "funnel": STEPS, "funnel-people": f"{STEPS}&people=1",
    "retention": "start=signed-up", "paths": "", "people": "", "person": "who=u:1", "live": "",
}  # fmt: skip


class _Result:
    def as_json(self) -> dict[str, Any]:
        return {"all": "of it"}


def answer(columns: list[str], *rows: list[Any]) -> Answer:
    return Answer(_Result(), Table(columns, list(rows)), noon(1))


def read_parquet(content: bytes, folder: Path) -> tuple[list[str], list[str], list[tuple[Any, ...]]]:
    """Return names and types of columns and the rows, as a stranger's DuckDB reads them."""
    path = folder / "file.parquet"
    path.write_bytes(content)
    with duckdb.connect() as link:
        found = link.execute("SELECT * FROM read_parquet(?)", [str(path)])
        columns = [(column[0], str(column[1])) for column in found.description]
        return [name for name, _ in columns], [kind for _, kind in columns], found.fetchall()


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("slug", PANELS)
def test_each_format_holds_the_same_table(admin_client: Client, slug: str, tmp_path: Path) -> None:
    fill()
    query = ASKED[slug]
    files = {kind: admin_client.get(export(slug, kind, query)) for kind in FORMATS}
    for kind, response in files.items():
        assert response.status_code == 200
        assert response["Content-Type"] == FORMATS[kind].media
        assert response["Content-Disposition"].startswith(f'attachment; filename="littlebro-{slug}-')
    rows = read_csv(files["csv"].content)
    lines = [json.loads(line) for line in files["jsonl"].content.splitlines()]
    columns, _, parquet = read_parquet(files["parquet"].content, tmp_path)
    assert len(rows) - 1 == len(lines) == len(parquet) > 0
    assert columns == (list(lines[0]) if lines else columns)
    for row, line, record in zip(rows[1:], lines, parquet, strict=True):
        for cell, value, stored in zip(row, line.values(), record, strict=True):
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert (float(cell), float(stored)) == (value, value)
            elif value is None:
                assert (cell, stored) == ("", None)
            elif isinstance(value, str) and not isinstance(stored, datetime):
                assert (plain_cell(cell), stored) == (value, value)
    json.loads(files["json"].content)


def test_the_export_is_what_the_page_shows(admin_client: Client) -> None:
    """Sorted and filtered as the list is; the chart without what is still to come."""
    fill()
    query = "by=params.path&sort=people&dir=asc&name=page-accessed"
    rows = read_csv(admin_client.get(export("breakdown", "csv", query)).content)
    shown = admin_client.get(panel("breakdown", query)).content.decode()
    places = [shown.index(f"<bdi>{plain_cell(row[0])}</bdi>") for row in rows[1:]]
    assert places == sorted(places)
    assert len(places) == 3
    rows = read_csv(admin_client.get(export("chart", "csv", "range=month")).content)
    shown = admin_client.get(panel("chart", "range=month")).content.decode()
    assert len(rows) - 1 == shown.count('<th scope="row">')
    total = read_csv(admin_client.get(export("figures", "csv")).content)
    assert [row[0] for row in total[1:]] == ["People", "Events", "Events per person"]
    assert f'lb-figure-value">{total[2][1]}<' in admin_client.get(panel("figures")).content.decode()


def test_what_cannot_be_answered_is_said(admin_client: Client) -> None:
    fill()
    for query, said in (
        ("by=plan", b"no field"),
        ("range=never", b"no range"),
        ("measure=sum", b"Name a number"),
    ):
        response = admin_client.get(export("chart", "csv", query))
        assert (response.status_code, said in response.content) == (400, True)
        assert response["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("slug", PANELS)
def test_a_store_that_is_away_is_said(admin_client: Client, settings: Any, slug: str) -> None:
    """In the file's stead, and to the forms that ask for proposals; the client's own words go to the log alone."""
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": f"{AwayStore.__module__}.AwayStore"}}
    admin_client.raise_request_exception = False
    for address in (export(slug, "csv", ASKED[slug]), f"{BOARD}suggest/", f"{BOARD}suggest/?by=params.plan"):
        response = admin_client.get(address)
        assert response.status_code == 500
        assert b"The store of 'default' could not be asked (ConnectionError)" in response.content
        assert b"hunter2" not in response.content


def test_no_spreadsheet_takes_a_cell_for_a_formula() -> None:
    given = answer(["=1+1", "n"], ["=cmd()", -3], ["'=x", 1.5], ["\u202eevil", None], ['a"b,c\n', True])
    rows = read_csv(FORMATS["csv"].write(given))
    assert rows[0] == ["'=1+1", "n"]
    assert [row[0] for row in rows[1:]] == ["'=cmd()", "''=x", "\u202eevil", 'a"b,c\n']
    assert [row[1] for row in rows[1:]] == ["-3", "1.5", "", "true"]


def test_columns_have_names_of_their_own() -> None:
    """Series may be called alike; DuckDB does not tell upper from lower case."""
    assert unique(["a", "A", "a", "b"]) == ["a", "A (2)", "a (3)", "b"]
    assert len(set(unique(["a", "a (2)", "a"]))) == 3


def test_parquet_keeps_types(tmp_path: Path) -> None:
    given = answer(
        ["whole", "number", "text", "moment", "truth", "mixed", "nothing", "a \"b\" 'c'", "huge"],
        [1, 1.5, "x", noon(1), True, 1, None, "'", 2**70],
        [None, 2, None, noon(2), None, "a", None, '"', 1],
    )
    names, kinds, rows = read_parquet(FORMATS["parquet"].write(given), tmp_path)
    assert kinds == [
        "BIGINT", "DOUBLE", "VARCHAR", "TIMESTAMP WITH TIME ZONE", "BOOLEAN", "VARCHAR", "VARCHAR", "VARCHAR", "DOUBLE",
    ]  # fmt: skip
    assert names[7] == "a \"b\" 'c'"
    assert rows[0][:3] == (1, 1.5, "x")
    assert rows[0][3] == noon(1)
    assert (rows[0][5], rows[1][5]) == ("1", "a")
    assert read_parquet(FORMATS["parquet"].write(answer(["a"])), tmp_path)[2] == []


def test_numbers_in_json_lines_are_exact(admin_client: Client) -> None:
    store(event("x", 1, user_id="1", params={"n": 2**53 + 1, "t": "é\u202e"}))
    line = json.loads(admin_client.get(export("person", "jsonl", "who=u:1")).content)
    assert line["params"] == {"n": 2**53 + 1, "t": "é\u202e"}
