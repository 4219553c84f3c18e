"""Answers of reports are values: of their own types, printable, and JSON from which they can be made again."""

import json
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from littlebro import EventQuery
from littlebro.analysis import (
    Breakdown,
    Cell,
    Cohort,
    Funnel,
    FunnelGroup,
    FunnelStep,
    IdLink,
    Live,
    NameCount,
    PathLink,
    PathNode,
    Paths,
    People,
    PersonReport,
    PersonRow,
    Result,
    Retention,
    Row,
    Series,
    Step,
    Table,
    Trend,
    breakdown,
    funnel,
    live,
    paths,
    people,
    person,
    retention,
    trend,
)
from littlebro.analysis import Person as Who
from tests.analysis_logs import DAY, T0, event, fill

WEEK = EventQuery(start=T0, end=T0 + 7 * DAY)
LATER = T0 + 90 * DAY
PLAN = ("params", "plan")
STEPS = [Step("view"), Step("pay")]

REPORTS = {
    Trend: lambda: trend(WEEK, by=PLAN, compare="previous", tz="UTC", now=LATER),
    Breakdown: lambda: breakdown(WEEK, by=PLAN, compare="year", tz="UTC", now=LATER),
    Funnel: lambda: funnel(WEEK, STEPS, by=PLAN, window=timedelta(hours=30), tz="UTC", now=LATER),
    Retention: lambda: retention(WEEK, *STEPS, tz="UTC", now=LATER),
    Paths: lambda: paths(WEEK, gap=timedelta(hours=12), tz="UTC", now=LATER),
    PersonReport: lambda: person(Who(user_id="1"), tz="UTC", limit=2),
    People: lambda: people(tz="UTC"),
    Live: lambda: live(tz="UTC", now=LATER),
}


@pytest.fixture(autouse=True)
def _log(settings: Any) -> None:
    """Fill a store with people who view and pay, one of them first without a name."""
    fill(
        settings,
        [
            event(0.1, "view", "ax", params={"plan": "pro"}),
            event(0.2, "view", "u1", anonymous_id="x", params={"plan": 7}),
            event(0.3, "pay", "u1", params={"total": 2.5}),
            event(1.5, "view", "u2", params={"plan": None}),
            event(2.5, "pay", "u2"),
        ],
    )


@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)
def test_an_answer_is_a_value(kind: type[Result]) -> None:
    """It says as of when, is a table of whole rows, prints as one, and comes back from JSON as it was."""
    found: Any = REPORTS[kind]()
    assert type(found) is kind
    assert isinstance(found.as_of, datetime)
    assert found.as_of.utcoffset() == timedelta(0)
    table = found.table()
    assert isinstance(table, Table)
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert len(str(found).splitlines()) == len(table.rows) + 2
    again = msgspec.convert(json.loads(json.dumps(found.as_json())), kind)
    assert again.table() == table
    assert again == found
    with pytest.raises(AttributeError):
        setattr(found, "as_of", None)  # noqa: B010 - a type checker would refuse what is tried here


def test_the_parts_of_answers() -> None:
    """Each list in an answer holds parts of one type."""

    def parts(kind: type[Result], name: str) -> set[type]:
        return {type(part) for part in getattr(REPORTS[kind](), name)}

    assert parts(Trend, "series") == parts(Trend, "comparison") == {Series}
    assert parts(Breakdown, "rows") == {Row}
    assert parts(Funnel, "steps") == {FunnelStep}
    assert parts(Funnel, "groups") == {FunnelGroup}
    assert parts(Retention, "cohorts") == {Cohort}
    cohort: Cohort = REPORTS[Retention]().cohorts[0]  # type: ignore[attr-defined]
    assert {type(cell) for cell in cohort.cells} == {Cell}
    assert parts(Paths, "nodes") == {PathNode}
    assert parts(Paths, "links") == {PathLink}
    assert parts(PersonReport, "names") == {NameCount}
    assert parts(PersonReport, "links") == {IdLink}
    assert parts(People, "rows") == {PersonRow}
