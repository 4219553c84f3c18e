"""The weeks before the demo: believable, of one piece with what the shop itself tells, and imported whole and once."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from littlebro import Event, EventQuery
from littlebro.analysis import Step, funnel, retention
from littlebro.demo import history, stage
from littlebro.demo.stored import Stored
from littlebro.models import Annotation
from littlebro.storage import backends, iterate

NOW = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)
ACCOUNTS = [str(number) for number in range(2, 362)]


@pytest.fixture(scope="module")
def told() -> list[dict[str, Any]]:
    """Return the weeks before `NOW`."""
    return list(history.weeks(NOW, ACCOUNTS))


def test_the_weeks_are_the_same_each_time_and_end_now(told: list[dict[str, Any]]) -> None:
    """Same moment, same story; in order, six weeks long, nothing of the future."""
    assert told == list(history.weeks(NOW, ACCOUNTS))
    moments = [event["timestamp"] for event in told]
    assert moments == sorted(moments)
    assert NOW - timedelta(days=43) < datetime.fromisoformat(moments[0]) < NOW - timedelta(days=41)
    assert NOW - timedelta(hours=3) < datetime.fromisoformat(moments[-1]) < NOW
    assert 10_000 < len(told) < 30_000


def test_days_have_a_rhythm_and_the_shop_grows(told: list[dict[str, Any]]) -> None:
    """Fewer people at weekends and at night, more of them in the last two weeks than in the first two."""
    when = [datetime.fromisoformat(event["timestamp"]) for event in told]
    by_day = Counter(moment.weekday() for moment in when)
    assert max(by_day[5], by_day[6]) < min(by_day[day] for day in range(4))
    hours = Counter(moment.hour for moment in when)
    assert hours[20] > 3 * hours[3]
    early = sum(moment < NOW - timedelta(days=28) for moment in when)
    late = sum(moment >= NOW - timedelta(days=14) for moment in when)
    assert late > 1.3 * early


def test_it_tells_what_the_shop_tells(told: list[dict[str, Any]]) -> None:
    """Names and keys of params are those of the shop's views and of the middleware."""
    request = {"path", "method", "route", "status", "duration_ms"}
    keys = {event["name"]: set(event["params"]) for event in told}
    assert keys == {
        "page-accessed": request,
        "category-viewed": {*request, "category"},
        "product-viewed": {*request, "product"},
        "searched": {"words", "found"},
        "basket-added": {"product", "price", "in_basket"},
        "logged-in": set(),
        "order-paid": {"order", "total", "currency", "delivery", "items"},
    }
    assert all(event["user_id"] for event in told if event["name"] in {"logged-in", "order-paid"})
    assert all(event["context"]["user_agent"].endswith(history.MARK) for event in told)


@pytest.mark.django_db
def test_it_is_imported_whole_and_once(tmp_path: Path, settings: Any) -> None:
    """Every event is stored; a store that holds anything is left alone; reports find a shop in it."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    number = stage.tell_history(tmp_path, "secret")
    events: list[Event] = list(iterate(backends["default"], EventQuery()))
    assert number == len(events) > 10_000
    assert stage.tell_history(tmp_path, "secret") == 0
    assert list(tmp_path.iterdir()) == []
    assert Annotation.objects.count() == len(history.MILESTONES)
    stored = Stored("littlebro-demo/now")
    stored.count_anew()
    assert (stored.past, stored.total, stored.theirs.total()) == (number, number, 0)

    now = datetime.now(UTC)
    weeks = EventQuery(start=now - timedelta(days=50), end=now)
    steps = [Step("product-viewed"), Step("basket-added"), Step("order-paid")]
    seen, taken, paid = (step.people for step in funnel(weeks, steps).steps)
    assert seen > taken > paid > 30
    first_week = retention(weeks, Step(), Step(), period="week").cohorts[2]
    assert 0.15 < (first_week.cells[1].people or 0) / first_week.size < 0.6
    logged_in = {event.anonymous_id for event in events if event.user_id is not None}
    assert any(event.user_id is None and event.anonymous_id in logged_in for event in events)
