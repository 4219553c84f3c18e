"""Trends: every measure, interval and comparison against plain Python over the same events."""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from littlebro.analysis import Key, Person, atrend, trend
from littlebro.analysis.calendar import Bucket, compared, first_moment
from littlebro.analysis.question import Span
from littlebro.analysis.reports.trend import MEASURES
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery
from tests.analysis_logs import DAY, T0, event, fill, people

WEEK = EventQuery(start=T0, end=T0 + 7 * DAY)
LATER = T0 + 400 * DAY
TOTAL = ("params", "total")
PLAN = ("params", "plan")


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) or isinstance(expected, float):
        return (
            found is not None
            and expected is not None
            and found == pytest.approx(expected, rel=1e-9, abs=1e-12)
        )
    return bool(found == expected)


def reckon(measure: str, chosen: Sequence[Event], who: dict[str, Any]) -> Any:
    """The measure of some events."""
    crowd = {who[each.id] for each in chosen} - {None}
    if measure == "events":
        return len(chosen)
    if measure in {"people", "weekly_people", "monthly_people"}:
        return len(crowd)
    if measure == "events_per_person":
        return sum(who[each.id] is not None for each in chosen) / len(crowd) if crowd else None
    numbers: list[float] = sorted(
        float(n) for e in chosen if type(n := e.params.get("total", "")) in {int, float}
    )
    if not numbers:
        return None
    if measure in {"median", "p95"}:
        place = (len(numbers) - 1) * (0.5 if measure == "median" else 0.95)
        low = int(place)
        high = min(low + 1, len(numbers) - 1)
        return numbers[low] + (numbers[high] - numbers[low]) * (place - low)
    reckoned: dict[str, Any] = {"sum": sum, "average": statistics.fmean, "min": min, "max": max}
    return reckoned[measure](numbers)


def text_of(each: Event) -> str | None:
    plan = each.params.get("plan")
    if plan is None or plan == "":
        return None
    if isinstance(plan, float) and plan.is_integer():
        plan = int(plan)
    return json.dumps(plan, ensure_ascii=False, separators=(",", ":"))


def expected_lines(
    measure: str,
    log: list[Event],
    span: Span,
    found: list[Bucket],
    keys: list[str | tuple[()] | None],
    tops: list[str],
) -> list[tuple[list[Any], Any]]:
    """Values and total of each series; a key is a text, None for none, () for other, "all" for all."""
    who = people(log)

    def lies_in(key: Any, each: Event) -> bool:
        text = text_of(each)
        return key == "all" or (text == key if key != () else text is not None and text not in tops)

    lines = []
    for key in keys:
        chosen = [each for each in log if lies_in(key, each)]
        values = []
        for bucket in found:
            first, last = max(bucket.start, span.start), min(bucket.end, span.end)
            if measure in {"weekly_people", "monthly_people"}:
                wall = bucket.end.astimezone(span.zone).replace(tzinfo=None, fold=0)
                wall -= timedelta(days=7 if measure == "weekly_people" else 30)
                first = first_moment(wall, span.zone)
            values.append(reckon(measure, [e for e in chosen if first <= e.timestamp < last], who))
        whole = [e for e in chosen if span.start <= e.timestamp < span.end]
        lines.append((values, reckon(measure, whole, who)))
    return lines


MOMENTS = st.builds(
    lambda hours, extra: T0 + timedelta(hours=hours, microseconds=extra),
    st.one_of(st.integers(-40 * 24, 12 * 24), st.integers(0, 80)),
    st.sampled_from([0, 0, 0, -1, 1, 1_800_000_000]),
)
EVENTS = st.builds(
    lambda moment, name, user, device, params: event(
        0, name, None, timestamp=moment, user_id=user, anonymous_id=device, params=params
    ),
    MOMENTS,
    st.sampled_from(["view", "pay"]),
    st.sampled_from([None, None, "1", "2"]),
    st.sampled_from([None, "x", "y", "1"]),
    st.fixed_dictionaries(
        {},
        optional={
            "plan": st.sampled_from(["pro", "free", "", None, 1, 1.0, "1", True, [1], "other", "é"]),
            "total": st.sampled_from([1, 2, 10, 0.5, -3, "7", True, None, 2**62]),
        },
    ),
)


@pytest.mark.parametrize("measure", MEASURES)
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_trend_is_what_plain_python_counts(settings: Any, measure: Any, data: st.DataObject) -> None:
    """Any log, range, zone, interval, grouping and comparison gives what is counted event by event."""
    log = data.draw(st.lists(EVENTS, max_size=25))
    fill(settings, log)
    zone = ZoneInfo(
        data.draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]))
    )
    interval: Any = data.draw(st.sampled_from(["hour", "day", "week", "month"]))
    start = data.draw(st.sampled_from([T0, T0 - timedelta(hours=5), datetime(2026, 3, 1, tzinfo=zone)]))
    end = start + data.draw(st.sampled_from([timedelta(hours=3), DAY, 5 * DAY]))
    now = data.draw(st.sampled_from([LATER, start + timedelta(hours=2)]))
    compare: Any = data.draw(st.sampled_from([None, "previous", "year"]))
    by = data.draw(st.sampled_from([None, PLAN]))
    limit = data.draw(st.integers(1, 3))
    query = EventQuery(start=start, end=end)
    found = trend(
        query, interval=interval, measure=measure, by=by, limit=limit, compare=compare, tz=zone, now=now,
        value=TOTAL if measure in {"sum", "average", "min", "max", "median", "p95"} else None,
    )  # fmt: skip
    span = Span(start, end, zone, now)
    other = compared(span, compare) if compare else None
    keys: list[Any] = ["all"]
    tops: list[str] = []
    if by is not None:
        inside = [e for e in log if start <= e.timestamp < end]
        seen = Counter(text for e in inside if (text := text_of(e)) is not None)
        tops = sorted(seen, key=lambda text: (-seen[text], text))[:limit]
        both = inside + [e for e in log if other and other.start <= e.timestamp < other.end]
        keys = [*tops]
        keys += [()] if any(text_of(e) not in {None, *tops} for e in both) else []
        keys += [None] if any(text_of(e) is None for e in both) else []
    assert [_name(series.key) for series in found.series] == keys
    for series, (values, total) in zip(
        found.series, expected_lines(measure, log, span, found.buckets, keys, tops), strict=True
    ):
        assert all(map(same, series.values, values)), (series, values)
        assert len(series.values) == len(values) == len(found.buckets)
        assert same(series.total, total)
    if other is not None:
        assert found.comparison is not None
        assert found.comparison_buckets is not None
        for series, (values, total) in zip(
            found.comparison,
            expected_lines(measure, log, other, found.comparison_buckets, keys, tops),
            strict=True,
        ):
            assert all(map(same, series.values, values))
            assert same(series.total, total)


def _name(key: Key) -> Any:
    if key.kind == "value":
        return json.dumps(key.value, ensure_ascii=False, separators=(",", ":"))
    return {"all": "all", "other": (), "none": None}[key.kind]


def test_an_empty_store_has_its_buckets(settings: Any) -> None:
    """Buckets come from the calendar: without events every day is there and zero; numbers have no value."""
    fill(settings, [])
    found = trend(WEEK, tz="UTC", now=LATER)
    assert found.series[0].values == [0] * 7
    assert found.series[0].total == 0
    assert trend(WEEK, tz="UTC", now=LATER, measure="sum", value=TOTAL).series[0].values == [None] * 7
    assert trend(WEEK, tz="UTC", now=LATER, by=PLAN).series == []


def test_crowds_in_the_first_days_of_the_calendar(settings: Any) -> None:
    """Their windows begin with the calendar."""
    start = datetime(1, 1, 3, 20, tzinfo=UTC)
    fill(settings, [event(who="u1", timestamp=start - 2 * DAY), event(who="u2", timestamp=start)])
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        found = trend(EventQuery(start=start, end=start + 2 * DAY), measure="weekly_people", tz=zone)
        assert found.series[0].values == [2, 2, 2]


def test_more_than_64_buckets_of_people(settings: Any) -> None:
    """People of many hours are counted as exactly as those of few."""
    fill(
        settings,
        [event(hour / 24, who=f"u{hour % 5}") for hour in range(24 * 7) for _ in range(1 + hour % 2)],
    )
    found = trend(WEEK, interval="hour", measure="people", tz="UTC", now=LATER)
    assert found.series[0].values == [1] * (24 * 7)
    assert found.series[0].total == 5
    assert sum(trend(WEEK, interval="hour", tz="UTC", now=LATER).series[0].values) == 252  # type: ignore[arg-type]


def test_filters_and_people(settings: Any) -> None:
    """Names, conditions and the resolved person restrict what is counted; a device that logged in is the user."""
    fill(
        settings,
        [
            event(0, "view", "ad", params={"plan": "pro"}),
            event(1, "login", "u1", anonymous_id="d"),
            event(2, "view", "u1", params={"plan": "pro"}),
            event(2, "view", "u2", params={"plan": "pro"}),
            event(3, "view", "u2", params={"plan": "free"}),
            event(3, "view", None, collection="audit"),
        ],
    )
    query = EventQuery(start=T0, end=T0 + 7 * DAY, names=("view",), where=(Condition(PLAN, "eq", "pro"),))
    for person, measure, values in (
        (None, "events", [1, 0, 2, 0, 0, 0, 0]),
        (Person("1"), "events", [1, 0, 1, 0, 0, 0, 0]),
        (Person("1"), "people", [1, 0, 1, 0, 0, 0, 0]),
        (Person(anonymous_id="d"), "weekly_people", [1, 1, 1, 1, 1, 1, 1]),
        (Person("9"), "people", [0] * 7),
    ):
        found = trend(query, measure=measure, person=person, tz="UTC", now=LATER)  # type: ignore[arg-type]
        assert found.series[0].values == values, (person, measure)
    audit = query.in_collections("audit")
    assert (
        trend(EventQuery(start=audit.start, end=audit.end, collections=("audit",)), now=LATER).series[0].total
        == 1
    )
    assert trend(EventQuery(start=audit.start, end=audit.end, collections=()), now=LATER).series[0].total == 0


def test_a_real_value_called_other(settings: Any) -> None:
    """A value named like a kind is a value; the kinds are apart in structure, in the table by brackets."""
    fill(settings, [event(params={"plan": plan}) for plan in ["other"] * 3 + ["(none)"] * 2 + ["a", None]])
    found = trend(WEEK, by=PLAN, limit=2, tz="UTC", now=LATER)
    assert [series.key for series in found.series] == [
        Key("value", "other"),
        Key("value", "(none)"),
        Key("other"),
        Key("none"),
    ]
    assert found.table().columns == ["day", "other", "(none)", "(other)", "(none)", "partial"]


def test_by_a_column(settings: Any) -> None:
    """Names, users, devices and collections are values too; an event of nobody is none."""
    fill(settings, [event(name="a"), event(name="b"), event(name="a", who=None)])
    found = trend(WEEK, by=("name",), tz="UTC", now=LATER)
    assert [(series.key.value, series.total) for series in found.series] == [("a", 2), ("b", 1)]
    found = trend(WEEK, by=("user_id",), tz="UTC", now=LATER)
    assert [(series.key.label, series.total) for series in found.series] == [("1", 2), ("(none)", 1)]


def test_sums_are_exact_and_never_fail(settings: Any) -> None:
    """Ten tenths are one; what is beyond floating point is None, and JSON can hold every answer."""
    huge = sys.float_info.max
    fill(
        settings,
        [
            *(event(params={"total": 0.1}) for _ in range(10)),
            event(1, params={"total": huge}),
            event(1, params={"total": huge}),
        ],
    )
    found = trend(WEEK, measure="sum", value=TOTAL, tz="UTC", now=LATER)
    assert found.series[0].values[:3] == [1, None, None]
    json.dumps(found.as_json(), allow_nan=False)


async def test_the_twin(settings: Any) -> None:
    """The asynchronous twin gives the same answer."""
    fill(settings, [event()])
    found = await atrend(WEEK, tz="UTC", now=LATER)
    assert found.series[0].total == 1
    assert atrend.__name__ == "atrend"


def test_table_and_json(settings: Any) -> None:
    """A result prints as a table in its zone, becomes JSON, and says as of when."""
    fill(settings, [event(0.5, params={"plan": "\x1b[31m"}), event(8)])
    found = trend(
        EventQuery(start=T0 - timedelta(hours=5.75), end=T0 + DAY), by=PLAN, compare="previous", now=LATER
    )
    assert found.tz == "Asia/Kathmandu"
    lines = str(found).splitlines()
    assert lines[0].split() == ["day", r"\x1b[31m", "before:", r"\x1b[31m", "partial"]
    assert lines[2].startswith("2026-03-27  ")
    answer = json.loads(json.dumps(found.as_json()))
    assert answer["series"][0]["key"] == {"kind": "value", "value": "\x1b[31m"}
    assert datetime.fromisoformat(answer["as_of"]).tzinfo is not None
    assert answer["buckets"][0]["start"] == "2026-03-26T18:15:00Z"
    fixed = trend(WEEK, tz=timezone_of(5.5), now=LATER)
    assert fixed.table().rows[0][0].utcoffset() == timedelta(hours=5.5)


def timezone_of(hours: float) -> Any:
    from datetime import timezone

    return timezone(timedelta(hours=hours))


def test_wrong_questions() -> None:
    """What makes no sense is refused with a sentence that says what would."""
    for options, message in (
        ({"measure": "mode"}, "no measure 'mode'"),
        ({"measure": "sum"}, "needs value"),
        ({"value": TOTAL}, "takes no value"),
        ({"interval": "year"}, "no interval 'year'"),
        ({"by": ("total",)}, "by is a path"),
        ({"by": "name"}, "by is a path"),
        ({"measure": "sum", "value": ("params",)}, "value is a path"),
        ({"limit": 0}, "limit is a whole number"),
        ({"compare": "before"}, "no comparison"),
        ({"tz": "Nowhere"}, "no time zone"),
        ({"now": datetime(2026, 1, 1)}, "with a time zone"),
    ):
        with pytest.raises(InvalidQuery, match=message):
            trend(WEEK, **options)
    with pytest.raises(InvalidQuery, match="start and end"):
        trend(EventQuery(start=T0))
    with pytest.raises(InvalidQuery, match="empty"):
        trend(EventQuery(start=T0, end=T0))


def test_answers_about_the_past_are_kept(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed range is answered once, until events change; the caller may do to the answer what they like."""
    from littlebro.analysis.reports import trend as module
    from littlebro.storage.handler import backends

    fill(settings, [event()])
    asked: list[int] = []
    answer = module._answer

    def counted(*given: Any) -> Any:
        asked.append(1)
        return answer(*given)

    monkeypatch.setattr(module, "_answer", counted)
    first = trend(WEEK, tz="UTC", now=LATER)
    first.series[0].values.clear()
    again = trend(WEEK, tz="UTC", now=LATER)
    assert (len(asked), again.series[0].values) == (1, [1, 0, 0, 0, 0, 0, 0])
    assert again.as_of >= first.as_of
    one = Condition(("params", "a"), "eq", 1)
    text = Condition(("params", "a"), "eq", "1")
    for where in ((one,), (text,), (one,)):
        trend(EventQuery(start=WEEK.start, end=WEEK.end, where=where), tz="UTC", now=LATER)
    assert len(asked) == 3
    trend(WEEK, tz="UTC", now=T0 + DAY)
    trend(WEEK, tz="UTC", now=T0 + DAY)
    assert len(asked) == 5, "an open range changes with the clock"
    backends["default"].save_many([event()])
    assert trend(WEEK, tz="UTC", now=LATER).series[0].values[0] == 2


def test_answers_kept_are_bounded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answers go where there are too many; one that is too big is not kept at all."""
    from littlebro.analysis import cache

    monkeypatch.setattr(cache, "MAX_BYTES", 32_000)
    answers = cache._Answers()
    for number in range(100):
        answers.put(f"{number}", b"x" * 1900)
        answers.put(f"{number}", b"y" * 1900)
    assert answers.get("99") == b"y" * 1900
    assert answers.get("0") is None
    assert answers._size == sum(len(key) + len(value) for key, value in answers._kept.items()) <= 32_000
    answers.put("big", b"x" * 2001)
    assert answers.get("big") is None


def test_a_moment_before_and_after(settings: Any) -> None:
    """Ranges are half-open to the microsecond, before 1970 too."""
    moment = datetime(1969, 12, 31, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    fill(settings, [event(timestamp=moment + offset) for offset in (-tick, timedelta(0), DAY - tick, DAY)])
    found = trend(EventQuery(start=moment, end=moment + DAY), interval="hour", tz="UTC", now=LATER)
    assert found.series[0].values == [1, *[0] * 22, 1]
