"""Every report on backends of strangers: the example in Redis, and the least that a backend can be, two methods.

With and without a lake; the answers are the oracle's.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from littlebro import Event, EventQuery
from littlebro.analysis import (
    Person,
    Step,
    breakdown,
    funnel,
    funnel_people,
    live,
    paths,
    people,
    person,
    retention,
    trend,
)
from littlebro.analysis.lake import sync
from littlebro.storage import BaseBackend, SaveResult
from littlebro.storage.handler import backends
from tests.oracle import journeys, logs, trends
from tests.oracle.people import in_order, links, who
from tests.test_examples import installed, server  # noqa: F401 - fixtures
from tests.test_oracle_trends import given_to, group_of, near

LATER = datetime(2030, 1, 1, tzinfo=UTC)
CENTRE = logs.CENTRES[0]
START, END = CENTRE - timedelta(days=3), CENTRE + timedelta(days=5)
RANGE, PLAN = EventQuery(start=START, end=END), ("params", "plan")


class Least(BaseBackend):
    """Two methods, and a dict a LOCATION."""

    stores: ClassVar[dict[str | None, dict[tuple[str, str], Event]]] = {}

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """Keep those that are new."""
        kept = self.stores.setdefault(self.location, {})
        new = {(e.collection, e.id): e for e in events if (e.collection, e.id) not in kept}
        kept.update(new)
        return SaveResult(stored=len(new), duplicates=len(events) - len(new))

    def scan(self, query: EventQuery, after: Any = None) -> Iterator[Event]:
        """Return a superset in order, as the contract allows."""
        kept = self.stores.get(self.location, {})
        found = sorted(kept.values(), key=lambda event: event.position, reverse=query.newest_first)
        for event in found:
            if after is None or (event.position < after if query.newest_first else event.position > after):
                yield event


def check_numbers(log: list[Event]) -> None:
    """Trends and breakdowns."""
    asked = trends.Asked(START, END, UTC, "people", by=PLAN, limit=2, now=LATER)
    found, expected = given_to(trend, asked, interval="day"), trends.trend(log, asked)
    assert [bucket.start for bucket in found.buckets] == expected.starts
    assert [group_of(series.key, PLAN) for series in found.series] == list(expected.lines)
    assert [(s.values, s.total) for s in found.series] == list(expected.lines.values())
    rows = given_to(breakdown, asked._replace(measure="sum")).rows
    for row, (group, events, crowd, value) in zip(
        rows, trends.breakdown(log, asked._replace(measure="sum")), strict=True
    ):
        assert (group_of(row.key, PLAN), row.events, row.people) == (group, events, crowd)
        assert near(row.value, value)


def check_journeys(log: list[Event]) -> None:
    """Funnels and the people behind them, retention, paths."""
    names = [Step("view"), Step("basket")]
    tests: list[journeys.Step] = [lambda e: e.name == "view", lambda e: e.name == "basket"]
    asked = journeys.Funnel(tests, START, END, LATER, window=timedelta(days=2))
    expected = journeys.funnel(log, asked)
    found = funnel(RANGE, names, window=asked.window, now=LATER)
    assert [(step.people, step.open) for step in found.steps] == [(row[0], row[2]) for row in expected]
    behind = funnel_people(RANGE, names, step=1, window=asked.window, now=LATER)
    assert len(behind) == expected[1][0]
    cohorts = retention(RANGE, names[0], Step(), periods=4, tz=UTC, now=LATER).cohorts
    rows = [(c.size, [(cell.people, cell.running) for cell in c.cells]) for c in cohorts]
    assert rows == journeys.retention(
        log, journeys.Retention(tests[0], lambda _: True, START, END, LATER, UTC)
    )
    nodes = paths(RANGE, steps=3, now=LATER).nodes
    walks = journeys.walks(log, START, END, LATER, timedelta(minutes=30))
    assert {
        (n.step, n.key.value): (n.people, n.sessions, n.dropped, n.ended) for n in nodes
    } == journeys.paths(walks, 3)


def check_people(log: list[Event]) -> None:
    """One person, all people, and what came in last."""
    known = links(log)
    mine: dict[Any, list[str]] = {}
    for event in in_order(log):
        if event.collection == "littlebro" and (found := who(event, known)):
            mine.setdefault(found, []).append(event.id)
    everybody = people(limit=100)
    assert {row.person.key: row.events for row in everybody.rows} == {
        f"{kind}:{key}": len(ids) for (kind, key), ids in mine.items()
    }
    for (kind, key), ids in mine.items():
        report = person(Person.parse(f"{kind}:{key}"), limit=100)
        assert [event.id for event in report.timeline] == ids[::-1]
    newest = live(limit=3, now=LATER)
    ours = [event for event in log if event.collection == "littlebro"]
    expected = sorted(ours, key=lambda event: (event.received_at, event.id), reverse=True)[:3]
    assert [event.id for event in newest.events] == [event.id for event in expected]


def check_all(log: list[Event]) -> None:
    check_numbers(log)
    check_journeys(log)
    check_people(log)


NUMBERS = count()
random_logs = hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def in_store(settings: Any, folder: Path, log: list[Event], alias: Callable[[str], dict[str, Any]]) -> None:
    """Ask everything of a store that holds `log`: without a lake; and with one, half of it synced, then all."""
    number = next(NUMBERS)
    settings.LITTLEBRO_LAKE = None
    settings.LITTLEBRO = {"default": alias(f"plain{number}")}
    backends["default"].save_many(log)
    check_all(log)
    settings.LITTLEBRO_LAKE = str(folder / f"lake{number}")
    settings.LITTLEBRO = {"default": alias(f"lake{number}")}
    backends["default"].save_many(log[: len(log) // 2])
    sync()
    check_all(log[: len(log) // 2])
    backends["default"].save_many(log[len(log) // 2 :])
    sync()
    check_all(log)


@random_logs
@given(logs.events(CENTRE, 16))
def test_two_methods(settings: Any, tmp_path: Path, log: list[Event]) -> None:
    """A backend that can store and scan, and nothing else."""
    in_store(
        settings,
        tmp_path,
        log,
        lambda name: {"BACKEND": "tests.test_oracle_examples.Least", "LOCATION": name},
    )


@pytest.mark.usefixtures("installed")
@random_logs
@given(logs.events(CENTRE, 16))
def test_the_example_in_redis(settings: Any, tmp_path: Path, server: Any, log: list[Event]) -> None:  # noqa: F811 - the fixture
    """The backend of the tutorial."""

    def alias(name: str) -> dict[str, Any]:
        return {"BACKEND": "redis", "LOCATION": server.url, "OPTIONS": {"PREFIX": f"{{{name}}}"}}

    in_store(settings, tmp_path, log, alias)
