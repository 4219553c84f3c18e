"""Trends and breakdowns against the oracle, on random logs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littlebro import EventQuery
from littlebro.analysis import Key, breakdown, trend
from tests.analysis_logs import fill
from tests.oracle import logs, trends, values

LATER = datetime(2030, 1, 1, tzinfo=UTC)
PATHS = [("params", key) for key in logs.KEYS] + [
    ("context", "a.b"),
    ("name",),
    ("user_id",),
    ("params", "a.b", "0"),
]
MEASURES = (
    "events", "people", "events_per_person", "sum", "average", "min", "max", "median", "p95", "weekly_people",
    "monthly_people",
)  # fmt: skip
random_logs = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Any], trends.Asked]:
    """Return a log and a question about it; now and then the range is empty of events, or now lies inside it."""
    centre = draw(st.sampled_from(logs.CENTRES))
    interval = draw(st.sampled_from(["hour", "day", "day", "week", "month"]))
    start = draw(logs.moments(centre))
    longest = 60 if interval == "hour" else 24 * 70
    end = start + timedelta(
        minutes=draw(st.sampled_from([1, 30, 60, 75, 1440, 60 * longest // 2, 60 * longest]))
    )
    now = draw(st.sampled_from([LATER, LATER, start + (end - start) / 2]))
    asked = trends.Asked(
        start, end, draw(logs.zones()), draw(st.sampled_from(MEASURES)), interval,
        draw(st.sampled_from(PATHS[:3])), draw(st.sampled_from([None, *PATHS])), draw(st.sampled_from([1, 2, 10])),
        now,
    )  # fmt: skip
    return draw(logs.events(centre)), asked


def group_of(key: Key, path: values.Path | None) -> values.Group:
    """Return a key of the engine's as the oracle has it."""
    return (key.kind, values.text(key.value, path or ()) if key.kind == "value" else None)


def near(found: Any, expected: Any) -> bool:
    """Compare numbers as floating point can."""
    if found is None or expected is None:
        return found is expected
    return bool(found == pytest.approx(expected, rel=1e-9, abs=1e-9))


def given_to(report: Any, asked: trends.Asked, **more: Any) -> Any:
    """Ask one of ours what the oracle is asked."""
    number = asked.measure in MEASURES[3:9]
    query = EventQuery(start=asked.start, end=asked.end)
    return report(
        query, measure=asked.measure, value=asked.value if number else None, by=asked.by, limit=asked.limit,
        tz=asked.zone, now=asked.now, **more,
    )  # fmt: skip


@random_logs
@given(questions())
def test_trends(settings: Any, question: tuple[list[Any], trends.Asked]) -> None:
    """Buckets, groups, values and totals."""
    log, asked = question
    fill(settings, log)
    found, expected = given_to(trend, asked, interval=asked.interval), trends.trend(log, asked)
    assert [bucket.start for bucket in found.buckets] == expected.starts
    assert [bucket.partial for bucket in found.buckets] == expected.partial
    assert [group_of(series.key, asked.by) for series in found.series] == list(expected.lines)
    for series, (points, total) in zip(found.series, expected.lines.values(), strict=True):
        assert all(map(near, series.values, points)), (series.values, points)
        assert near(series.total, total)


@random_logs
@given(questions())
def test_breakdowns(settings: Any, question: tuple[list[Any], trends.Asked]) -> None:
    """Rows in order, events, people and the measure."""
    log, asked = question
    asked = asked._replace(by=asked.by or ("params", "plan"))
    if asked.measure not in MEASURES[2:9]:
        asked = asked._replace(measure="sum")
    fill(settings, log)
    found, expected = given_to(breakdown, asked), trends.breakdown(log, asked)
    rows = [(group_of(row.key, asked.by), row.events, row.people, row.value) for row in found.rows]
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    assert all(near(row[3], other[3]) for row, other in zip(rows, expected, strict=True))
    assert found.total_events == sum(row[1] for row in expected)
