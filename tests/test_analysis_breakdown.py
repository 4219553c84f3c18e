"""Breakdowns: rows, other, none, totals and comparisons against plain Python over the same events."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from littlebro.analysis import Key, Person, abreakdown, breakdown
from littlebro.analysis.calendar import compared
from littlebro.analysis.question import Span
from littlebro.analysis.reports.breakdown import ROW_MEASURES
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery
from tests.analysis_logs import DAY, T0, event, fill, people

WEEK = EventQuery(start=T0, end=T0 + 7 * DAY)
LATER = T0 + 400 * DAY
PLAN = ("params", "pl.an", "$~/\"'")

VALUES = st.one_of(
    st.sampled_from(["pro", "free", "", None, "other", "1", "true", "é", "a\nb", "\\", '"', "null"]),
    st.sampled_from([1, 1.0, 2, 0, -1, 0.5, 1e300, 2**62, True, False]),
    st.sampled_from([[], [1], {"a": 1}, {}]),
)
EVENTS = st.builds(
    lambda day, user, device, value, total: event(
        day, who=None, user_id=user, anonymous_id=device,
        params=({} if value == "missing" else {"pl.an": {"$~/\"'": value}}) | {"total": total},
    ),
    st.sampled_from([0, 1, 2.5, 6.999, 7, -1, -3, -7, -365]),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, "x", "1"]),
    st.just("missing") | VALUES,
    st.sampled_from([1, 2, 2.5, "7", None]),
)  # fmt: skip


def text_of(each: Event) -> str | None:
    found = each.params.get("pl.an", {}).get("$~/\"'")
    if found is None or found == "":
        return None
    if isinstance(found, float) and found.is_integer() and found < 1e38:
        found = int(found)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("1e+300", "1e300")


def count(chosen: list[Event], who: dict[str, Any], measure: str | None) -> tuple[int, int, Any]:
    crowd = {who[each.id] for each in chosen} - {None}
    numbers = sorted(float(n) for e in chosen if type(n := e.params["total"]) in {int, float})
    value = None
    if measure == "events_per_person":
        value = sum(who[each.id] is not None for each in chosen) / len(crowd) if crowd else None
    elif measure is not None and numbers:
        middle = len(numbers) // 2
        place = 0.95 * (len(numbers) - 1)
        low, high = numbers[int(place)], numbers[min(int(place) + 1, len(numbers) - 1)]
        value = {
            "sum": sum(numbers),
            "average": sum(numbers) / len(numbers),
            "min": numbers[0],
            "max": numbers[-1],
            "median": numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2,
            "p95": low + (high - low) * (place % 1),
        }[measure]
    return len(chosen), len(crowd), value


@hypothesis_settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    log=st.lists(EVENTS, max_size=20),
    limit=st.integers(1, 4),
    measure=st.sampled_from([None, *ROW_MEASURES]),
    compare=st.sampled_from([None, "previous", "year"]),
)
def test_a_breakdown_is_what_plain_python_counts(
    settings: Any, log: list[Event], limit: int, measure: Any, compare: Any
) -> None:
    """Any log, limit, measure and comparison gives the rows that are counted event by event."""
    fill(settings, log)
    total = None if measure in {None, "events_per_person"} else ("params", "total")
    asked: Any = {
        "by": PLAN,
        "limit": limit,
        "measure": measure,
        "value": total,
        "compare": compare,
        "now": LATER,
    }
    found = breakdown(WEEK, tz="UTC", **asked)
    who = people(log)
    spans = [Span(T0, T0 + 7 * DAY, ZoneInfo("UTC"), LATER)]
    if compare:
        spans.append(compared(spans[0], compare))
    groups: list[dict[str | None, list[Event]]] = []
    for span in spans:
        groups.append(defaultdict(list))
        for each in log:
            if span.start <= each.timestamp < span.end:
                groups[-1][text_of(each)].append(each)
    tops = sorted((key for key in groups[0] if key is not None), key=lambda k: (-len(groups[0][k]), k))[
        :limit
    ]
    expected: list[Any] = []
    for key in [*tops, "OTHER", None]:
        chosen = [
            [e for text, held in group.items() for e in held if _is(key, text, tops)] for group in groups
        ]
        if key in tops or any(chosen):
            kind = {"OTHER": "other", None: "none"}.get(key, "value")
            expected.append(
                (kind, key if kind == "value" else None, [count(c, who, measure) for c in chosen])
            )
    assert [(row.key.kind, _text(row.key)) for row in found.rows] == [line[:2] for line in expected]
    for row, (_, _, numbers) in zip(found.rows, expected, strict=True):
        assert (row.events, row.people) == numbers[0][:2]
        assert row.value == (None if numbers[0][2] is None else pytest.approx(numbers[0][2]))
        if compare:
            assert (row.previous_events, row.previous_people) == numbers[1][:2]
            assert row.previous_value == (None if numbers[1][2] is None else pytest.approx(numbers[1][2]))
    events, persons, value = count([e for held in groups[0].values() for e in held], who, measure)
    assert (found.total_events, found.total_people) == (events, persons)
    assert found.total_value == (None if value is None else pytest.approx(value))
    assert sum(row.events for row in found.rows) == found.total_events
    json.dumps(found.as_json(), allow_nan=False)
    values = breakdown(WEEK, tz="UTC", rest=False, **asked)
    assert values.rows == [row for row in found.rows if row.key.kind == "value"]
    assert (values.total_events, values.total_people, values.total_value) == (events, None, None)


def _is(key: str | None, text: str | None, tops: list[str]) -> bool:
    return text is not None and text not in tops if key == "OTHER" else text == key


def _text(key: Key) -> str | None:
    if key.kind != "value":
        return None
    return json.dumps(key.value, ensure_ascii=False, separators=(",", ":")).replace("1e+300", "1e300")


def test_types_are_kept_and_a_value_called_other(settings: Any) -> None:
    """The text "1" is not the number, 1.0 is; a value named like a kind is a value; null, "" and nothing are none."""
    values = ["1", 1, 1.0, "other", "other", "none", None, "", True]
    fill(settings, [event(params={"plan": value}) for value in values] + [event()])
    found = breakdown(WEEK, by=("params", "plan"), tz="UTC", now=LATER)
    assert [(row.key, row.events) for row in found.rows] == [
        (Key("value", "other"), 2),
        (Key("value", 1), 2),
        (Key("value", "1"), 1),
        (Key("value", "none"), 1),
        (Key("value", True), 1),
        (Key("none"), 3),
    ]


def test_by_columns_context_and_person(settings: Any) -> None:
    """The name, the user and the context are paths too; filters and the resolved person hold."""
    fill(
        settings,
        [
            event(name="a", who="ad", context={"os": "linux"}),
            event(name="a", who="u1", anonymous_id="d"),
            event(name="b", who="u2", context={"os": "linux"}),
            event(name="b", who=None),
        ],
    )
    found = breakdown(WEEK, by=("name",), tz="UTC", now=LATER)
    assert [(row.key.value, row.events, row.people) for row in found.rows] == [("a", 2, 1), ("b", 2, 1)]
    assert (found.total_events, found.total_people) == (4, 2)
    found = breakdown(WEEK, by=("context", "os"), person=Person("1"), tz="UTC", now=LATER)
    assert [(row.key.label, row.events, row.people) for row in found.rows] == [
        ("linux", 1, 1),
        ("(none)", 1, 1),
    ]
    query = EventQuery(start=T0, end=T0 + DAY, where=(Condition(("context", "os"), "set"),), names=("b",))
    found = breakdown(query, by=("user_id",), tz="UTC", now=LATER)
    assert [(row.key.label, row.events) for row in found.rows] == [("2", 1)]


def test_the_table(settings: Any) -> None:
    """The table has a row for each value, and the comparison and the measure where they were asked for."""
    fill(settings, [event(params={"plan": "pro", "total": 2.5}), event(-1, params={"plan": "pro"})])
    found = breakdown(WEEK, by=("params", "plan"), tz="UTC", now=LATER)
    assert str(found).splitlines() == [
        "params.plan  events  people",
        "-----------  ------  ------",
        "pro               1       1",
    ]
    found = breakdown(
        WEEK, by=("params", "plan"), measure="sum", value=("params", "total"), compare="previous", now=LATER
    )
    assert found.table().columns == [
        "params.plan", "events", "people", "sum", "before: events", "before: people", "before: sum",
    ]  # fmt: skip
    assert found.table().rows == [["pro", 1, 1, 2.5, 1, 1, None]]
    assert (found.previous_total_events, found.previous_total_people) == (1, 1)


async def test_the_twin_and_empty_ranges(settings: Any) -> None:
    """The asynchronous twin answers alike; nothing gives no rows and totals of zero."""
    fill(settings, [event(-3)])
    found = await abreakdown(WEEK, by=("name",), tz="UTC", now=LATER)
    assert (found.rows, found.total_events, found.total_people) == ([], 0, 0)
    assert str(found).splitlines()[0] == "name  events  people"


def test_a_range_to_date_is_compared_with_the_same_part(settings: Any) -> None:
    """On Wednesday noon this week is compared with last week up to Wednesday noon."""
    monday = datetime(2026, 3, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    week = timedelta(days=7)
    fill(settings, [event(timestamp=monday - week + timedelta(hours=h)) for h in (0, 59, 61, 100)])
    query = EventQuery(start=monday, end=monday + week)
    found = breakdown(
        query, by=("name",), compare="previous", tz="Europe/Berlin", now=monday + timedelta(hours=60)
    )
    assert found.previous_total_events == 2
    assert [(row.key.kind, row.previous_events) for row in found.rows] == [("other", 2)]


def test_wrong_questions() -> None:
    """What makes no sense is refused with a sentence that says what would."""
    for options, message in (
        ({"by": ("nope",)}, "by is a path"),
        ({"by": ("name",), "measure": "people"}, "no measure 'people'"),
        ({"by": ("name",), "measure": "sum"}, "needs value"),
        ({"by": ("name",), "value": ("params", "a")}, "takes no value"),
        ({"by": ("name",), "limit": 1001}, "limit is a whole number from 1 to 1000"),
    ):
        with pytest.raises(InvalidQuery, match=message):
            breakdown(WEEK, **options)


@pytest.mark.parametrize("users", [3, 70], ids=["few", "more than are looked up one by one"])
@pytest.mark.parametrize("measure", [None, "events_per_person"])
def test_the_most_active_users_alone(settings: Any, users: int, measure: Any) -> None:
    """Without the rest users are found by number: the same rows as with it, ties by id, comparison and filter too."""
    log = [
        event(day, who=f"u{user}", params={"n": user % 2})
        for user in range(users)
        for day in (1, 2, -5)
        if day != -5 or user % 3 == 0
    ]
    log += [event(3), event(3, who="a1"), event(3, who=None)]
    fill(settings, log)
    for where in ((), (Condition(("params", "n"), "eq", 1),)):
        query = EventQuery(start=T0, end=T0 + 7 * DAY, where=where)
        asked: Any = {
            "by": ("user_id",), "limit": 2, "measure": measure, "compare": "previous", "now": LATER, "tz": "UTC",
        }  # fmt: skip
        whole, alone = breakdown(query, **asked), breakdown(query, rest=False, **asked)
        odd = {3: ["1"], 70: ["1", "11"]}[users]
        assert [row.key.value for row in alone.rows] == (odd if where else ["1", "0"])
        assert alone.rows == [row for row in whole.rows if row.key.kind == "value"]
        assert (alone.total_events, alone.total_people) == (whole.total_events, None)
        assert alone.previous_total_events == whole.previous_total_events
    empty = EventQuery(start=T0 - 90 * DAY, end=T0 - 80 * DAY)
    assert breakdown(empty, by=("user_id",), rest=False, tz="UTC", now=LATER).rows == []
