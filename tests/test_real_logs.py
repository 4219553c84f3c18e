"""The reports on real logs, imported into `simple` and into `mongo`: equal to the oracle, and to each other."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from littlebro import Condition, Event, EventQuery
from littlebro.analysis import Exclusion, Step, breakdown, funnel, paths, retention, trend
from littlebro.importing import Importer, open_source
from tests.oracle import files, journeys, trends
from tests.test_importing import ACCESS_LOG, COMMITS, needs_data
from tests.test_oracle_trends import given_to, group_of, near

pytestmark = [needs_data, pytest.mark.slow]

LONDON = ZoneInfo("Europe/London")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
CODE, TESTS, DOCS, MERGE = "commit-code", "commit-tests", "commit-docs", "merge"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


YEARS = utc(2010, 12, 1), utc(2014, 3, 1)
MAY = utc(2015, 5, 17), utc(2015, 5, 21)


@cache
def log() -> list[Event]:
    return [*files.commits(COMMITS), *files.requests(ACCESS_LOG)]


def fill(settings: Any, **options: str) -> None:
    """Import both files."""
    settings.LITTLEBRO = {"default": options}
    for file, form in ((COMMITS, "jsonl"), (ACCESS_LOG, "combined")):
        with open_source(str(file)) as source:
            assert Importer(form).run(source).bad == 0


@cache
def expected_trend(asked: trends.Asked) -> trends.Trend:
    return trends.trend(log(), asked)


@cache
def expected_rows(asked: trends.Asked) -> list[Any]:
    return trends.breakdown(log(), asked)


TRENDS = [
    trends.Asked(*MAY, LONDON, "events", "hour", by=("params", "status"), limit=3),
    trends.Asked(*MAY, ZoneInfo("Asia/Kathmandu"), "p95", "day", ("params", "bytes"), ("params", "method")),
    trends.Asked(*YEARS, LONDON, "people", "month", by=("params", "top"), limit=4),
    trends.Asked(*YEARS, LONDON, "events_per_person", "week"),
    trends.Asked(utc(2012, 3, 10, 13), utc(2012, 6, 10, 5), LONDON, "weekly_people", "day"),
    trends.Asked(*YEARS, LONDON, "sum", "month", ("params", "added"), ("name",)),
    trends.Asked(*YEARS, LONDON, "median", "week", ("params", "files")),
]
BREAKDOWNS = [
    trends.Asked(*MAY, LONDON, "sum", value=("params", "bytes"), by=("params", "path"), limit=20),
    trends.Asked(*MAY, LONDON, "average", value=("params", "bytes"), by=("params", "status")),
    trends.Asked(*YEARS, LONDON, "events_per_person", by=("params", "top"), limit=15),
    trends.Asked(*YEARS, LONDON, "max", value=("params", "added"), by=("user_id",), limit=50),
    trends.Asked(*YEARS, LONDON, "median", value=("params", "removed"), by=("params", "files"), limit=30),
]


def check_trends() -> list[Any]:
    answers = []
    for asked in TRENDS:
        found, expected = given_to(trend, asked, interval=asked.interval), expected_trend(asked)
        assert [bucket.start for bucket in found.buckets] == expected.starts
        assert [bucket.partial for bucket in found.buckets] == expected.partial
        assert [group_of(series.key, asked.by) for series in found.series] == list(expected.lines)
        for series, (points, total) in zip(found.series, expected.lines.values(), strict=True):
            assert all(map(near, series.values, points))
            assert near(series.total, total)
        answers.append(found)
    return answers


def check_breakdowns() -> list[Any]:
    answers = []
    for asked in BREAKDOWNS:
        found, expected = given_to(breakdown, asked), expected_rows(asked)
        assert len(found.rows) == len(expected) > 3
        for row, (group, events, people, value) in zip(found.rows, expected, strict=True):
            assert (group_of(row.key, asked.by), row.events, row.people) == (group, events, people)
            assert near(row.value, value)
        answers.append(found)
    return answers


def by_name(name: str) -> tuple[Step, journeys.Step]:
    return Step(name), lambda event: event.name == name


ANY: tuple[Step, journeys.Step] = (Step(), lambda event: True)
LARGE: tuple[Step, journeys.Step] = (
    Step(CODE, (Condition(("params", "added"), "ge", 50), Condition(("params", "top"), "set"))),
    lambda e: e.name == CODE and e.params["added"] >= 50 and e.params["top"] is not None,
)
WEEKS = utc(2013, 12, 2), utc(2013, 12, 23)
# Steps, order, window, range, exclusions; where all is tried out, or events stand side by side, three weeks of them.
FUNNELS: list[tuple[Any, str, timedelta, tuple[datetime, datetime], Any]] = [
    ([by_name(CODE), by_name(TESTS), by_name(MERGE)], "ordered", timedelta(days=7), YEARS, []),
    ([LARGE, by_name(DOCS), by_name(TESTS)], "ordered", timedelta(days=30), YEARS, [(by_name(MERGE), 0)]),
    ([by_name(MERGE), by_name(CODE)], "ordered", timedelta(hours=1), YEARS, []),
    ([by_name(CODE), by_name(DOCS), by_name(TESTS)], "any", timedelta(days=2), YEARS, []),
    ([by_name(CODE), ANY, by_name(CODE)], "ordered", timedelta(hours=3), WEEKS, []),
    ([by_name(CODE), by_name(CODE), by_name(MERGE)], "strict", timedelta(days=1), WEEKS, []),
]


@cache
def expected_funnel(number: int) -> list[tuple[int, float | None, int]]:
    steps, order, window, span, exclude = FUNNELS[number]
    now = LATER if span == YEARS else span[1]
    barred = [(theirs, after) for (_, theirs), after in exclude]
    return journeys.funnel(log(), journeys.Funnel([s for _, s in steps], *span, now, order, window, barred))


def check_funnels() -> list[Any]:
    answers = []
    for number, (steps, order, window, span, exclude) in enumerate(FUNNELS):
        found = funnel(
            EventQuery(start=span[0], end=span[1]), [ours for ours, _ in steps], order=order, window=window,  # type: ignore[arg-type]
            exclude=[Exclusion(ours, after) for (ours, _), after in exclude], now=LATER if span == YEARS else span[1],
        )  # fmt: skip
        expected = expected_funnel(number)
        assert [(step.people, step.open) for step in found.steps] == [(row[0], row[2]) for row in expected]
        assert all(near(step.median_seconds, row[1]) for step, row in zip(found.steps, expected, strict=True))
        assert found.steps[1].people > 2, "there is something to compare"
        answers.append(found)
    return answers


RETENTIONS = [
    journeys.Retention(ANY[1], ANY[1], *YEARS, LATER, LONDON, "month", 12),
    journeys.Retention(by_name(CODE)[1], by_name(MERGE)[1], *YEARS, LATER, LONDON, "week", 4, False),
    journeys.Retention(
        ANY[1], by_name(TESTS)[1], *YEARS, utc(2013, 1, 17, 3), LONDON, "month", 6, True, True
    ),
    journeys.Retention(ANY[1], ANY[1], *WEEKS, LATER, ZoneInfo("Asia/Kathmandu"), "day", 7, False),
]
RETENTION_STEPS = [(ANY, ANY), (by_name(CODE), by_name(MERGE)), (ANY, by_name(TESTS)), (ANY, ANY)]


@cache
def expected_cohorts(number: int) -> list[Any]:
    # Requests are nobody's; cohorts of the years alone need not look at them.
    return journeys.retention(log(), RETENTIONS[number])


def check_retention() -> list[Any]:
    answers = []
    for number, (asked, (begin, back)) in enumerate(zip(RETENTIONS, RETENTION_STEPS, strict=True)):
        found = retention(
            EventQuery(start=asked.start, end=asked.end), begin[0], back[0], period=asked.period,  # type: ignore[arg-type]
            periods=asked.periods, first_time=asked.first_time, on_or_after=asked.on_or_after, tz=asked.zone,
            now=asked.now,
        )  # fmt: skip
        rows = [(c.size, [(cell.people, cell.running) for cell in c.cells]) for c in found.cohorts]
        assert rows == expected_cohorts(number)
        answers.append(found)
    return answers


@cache
def expected_paths(gap: timedelta, steps: int, anchor: str | None, *, backward: bool) -> dict[Any, Any]:
    sessions = journeys.walks(log(), *YEARS, LATER, gap)
    return journeys.paths(sessions, steps, anchor, backward=backward)


def check_paths() -> list[Any]:
    answers = []
    for gap, steps, anchor, backward in (
        (timedelta(minutes=30), 5, None, False),
        (timedelta(hours=8), 8, MERGE, False),
        (timedelta(hours=8), 6, TESTS, True),
    ):
        found = paths(
            EventQuery(start=YEARS[0], end=YEARS[1]), steps=steps, gap=gap, now=LATER,
            start=None if backward else anchor, end=anchor if backward else None,
        )  # fmt: skip
        nodes = {(n.step, n.key.value): (n.people, n.sessions, n.dropped, n.ended) for n in found.nodes}
        assert nodes == expected_paths(gap, steps, anchor, backward=backward)
        answers.append(found)
    return answers


ANSWERS: dict[str, list[dict[str, Any]]] = {}


def check(store: str) -> None:
    """Hold every report against the oracle, and against what the other store gave."""
    found = [*check_trends(), *check_breakdowns(), *check_funnels(), *check_retention(), *check_paths()]
    ANSWERS[store] = [
        {key: value for key, value in result.as_json().items() if key != "as_of"} for result in found
    ]
    assert all(answers == ANSWERS[store] for answers in ANSWERS.values())


@pytest.mark.django_db(transaction=True)
def test_in_simple(settings: Any) -> None:
    """Trends, breakdowns, funnels, retention and paths are what the oracle says."""
    fill(settings, BACKEND="simple", LOCATION="default")
    check("simple")


@pytest.mark.django_db(transaction=True)
def test_in_mongo(settings: Any, mongodb_url: str) -> None:
    """And in the other store they are the same."""
    fill(settings, BACKEND="mongo", LOCATION=mongodb_url)
    check("mongo")
