"""Funnels, retention and paths against the oracle, on random logs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littlebro import Event, EventQuery
from littlebro.analysis import Step, funnel, paths, retention
from littlebro.analysis.reports.funnel import Exclusion
from littlebro.events.query import Condition
from tests.analysis_logs import fill
from tests.oracle import journeys, logs

LATER = datetime(2030, 1, 1, tzinfo=UTC)
# Each as we write it and as the oracle does.
STEPS: list[tuple[Step, journeys.Step]] = [
    *((Step(name), lambda event, name=name: event.name == name) for name in logs.NAMES[:3]),
    (Step(), lambda event: True),
    (
        Step("view", (Condition(("params", "plan"), "set"),)),
        lambda event: event.name == "view" and event.params.get("plan") is not None,
    ),
]
random_logs = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def spans(draw: st.DrawFn) -> tuple[list[Event], datetime, datetime, datetime]:
    """Return a log, a range, and the moment that is asked at."""
    centre = draw(st.sampled_from(logs.CENTRES))
    start = draw(st.one_of(st.just(centre - timedelta(hours=2)), logs.moments(centre)))
    end = start + timedelta(hours=draw(st.sampled_from([1, 24, 24 * 8, 24 * 50])))
    now = draw(st.sampled_from([LATER, LATER, start + timedelta(hours=30), end]))
    return draw(logs.events(centre, 16)), start, end, now


@random_logs
@given(
    spans(),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=3),
    st.sampled_from(["ordered", "ordered", "strict", "any"]),
    st.sampled_from(
        [timedelta(microseconds=1), *[timedelta(hours=1)] * 4, timedelta(days=3), timedelta(days=100)]
    ),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1)), max_size=1),
)
def test_funnels(
    settings: Any,
    given_log: tuple[list[Event], datetime, datetime, datetime],
    steps: list[Any],
    order: Any,
    window: timedelta,
    exclude: list[Any],
) -> None:
    """People, median time and open ones of each step."""
    log, start, end, now = given_log
    exclude = [one for one in exclude if order == "ordered" and one[1] + 1 < len(steps)]
    fill(settings, log)
    found = funnel(
        EventQuery(start=start, end=end), [ours for ours, _ in steps], order=order, window=window, now=now,
        exclude=[Exclusion(ours, after) for (ours, _), after in exclude],
    )  # fmt: skip
    asked = journeys.Funnel(
        [theirs for _, theirs in steps], start, end, now, order, window,
        [(theirs, after) for (_, theirs), after in exclude],
    )  # fmt: skip
    rows = [(step.people, step.median_seconds, step.open) for step in found.steps]
    for row, expected in zip(rows, journeys.funnel(log, asked), strict=True):
        assert (row[0], row[2]) == (expected[0], expected[2])
        assert row[1] == (None if expected[1] is None else pytest.approx(expected[1]))


@random_logs
@given(spans(), st.sampled_from(["ordered", "any"]), st.sampled_from([timedelta(hours=1), timedelta(days=3)]))
def test_the_oracle_has_two_ways(
    given_log: tuple[list[Event], datetime, datetime, datetime], order: str, window: timedelta
) -> None:
    """Where no event satisfies two steps, the oracle's short way is what every choice comes to."""
    log, start, end, now = given_log
    asked = journeys.Funnel([theirs for _, theirs in STEPS[:3]], start, end, now, order, window)
    for events in journeys.by_person(log, now).values():
        for entry in {e.timestamp for e in events if order == "any" or e.name == logs.NAMES[0]}:
            within = [e for e in events if entry <= e.timestamp <= entry + window]
            short = journeys.by_the_next(within, entry, asked)
            assert short == journeys.by_every_choice(within, entry, asked)


@random_logs
@given(
    spans(), st.sampled_from(STEPS), st.sampled_from(STEPS), st.sampled_from(["day", "week", "month"]),
    st.booleans(), st.booleans(), logs.zones(),
)  # fmt: skip
def test_retention(
    settings: Any,
    given_log: tuple[list[Event], datetime, datetime, datetime],
    begin: Any,
    back: Any,
    period: Any,
    first_time: bool,
    on_or_after: bool,
    zone: Any,
) -> None:
    """Sizes and cells of each cohort."""
    log, start, end, now = given_log
    fill(settings, log)
    found = retention(
        EventQuery(start=start, end=end), begin[0], back[0], period=period, periods=4, first_time=first_time,
        on_or_after=on_or_after, tz=zone, now=now,
    )  # fmt: skip
    asked = journeys.Retention(begin[1], back[1], start, end, now, zone, period, 4, first_time, on_or_after)
    rows = [(c.size, [(cell.people, cell.running) for cell in c.cells]) for c in found.cohorts]
    assert rows == journeys.retention(log, asked)


@random_logs
@given(
    spans(), st.sampled_from([None, *logs.NAMES]), st.booleans(), st.integers(1, 4),
    st.sampled_from([timedelta(minutes=30), timedelta(hours=1)]),
)  # fmt: skip
def test_paths(
    settings: Any,
    given_log: tuple[list[Event], datetime, datetime, datetime],
    anchor: str | None,
    backward: bool,
    steps: int,
    gap: timedelta,
) -> None:
    """People, sessions, people dropped and sessions ended at each node; links agree with nodes."""
    log, start, end, now = given_log
    backward = backward and anchor is not None
    fill(settings, log)
    anchored: dict[str, Any] = {"end": anchor} if backward else {"start": anchor}
    found = paths(EventQuery(start=start, end=end), steps=steps, gap=gap, now=now, **anchored)
    walks = journeys.walks(log, start, end, now, gap)
    nodes = {(n.step, n.key.value): (n.people, n.sessions, n.dropped, n.ended) for n in found.nodes}
    assert nodes == journeys.paths(walks, steps, anchor, backward=backward)
    for node in found.nodes:
        leaving = sum(
            link.sessions for link in found.links if (link.step, link.source) == (node.step, node.key)
        )
        assert node.step == steps - 1 or node.sessions == leaving + node.ended
