"""Buckets come from a calendar: days of 23 and 25 hours, doubled hours, odd offsets, months; spans to compare with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littlebro.analysis.calendar import MAX_BUCKETS, Bucket, back, bounds, buckets, compared, first_moment
from littlebro.analysis.question import Interval, Span, zone_of
from littlebro.exceptions import InvalidQuery

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def local(text: str, tz: tzinfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=tz, fold=fold)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours_of(found: list[Bucket]) -> list[float]:
    return [(bucket.end - bucket.start) / HOUR for bucket in found]


@pytest.mark.parametrize(
    "zone, first, last, lengths",
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-31", [24, 23, 24]),
        ("Europe/Berlin", "2026-10-24", "2026-10-27", [24, 25, 24]),
        ("America/New_York", "2026-03-07", "2026-03-10", [24, 23, 24]),
        ("Asia/Kolkata", "2026-03-28", "2026-03-31", [24, 24, 24]),
        ("Asia/Kathmandu", "2026-10-24", "2026-10-27", [24, 24, 24]),
        ("Australia/Lord_Howe", "2026-04-04", "2026-04-07", [24, 24.5, 24]),
        ("America/Santiago", "2026-09-05", "2026-09-08", [24, 23, 24]),  # there is no midnight on the 6th
        ("Pacific/Apia", "2011-12-29", "2012-01-01", [24, 24]),  # there was no 30th
        ("America/St_Johns", "2010-11-06", "2010-11-09", [24, 25, 24]),  # the clock went back at 00:01
    ],
)
def test_days_are_as_long_as_they_are(zone: str, first: str, last: str, lengths: list[float]) -> None:
    """A day runs from its first midnight, or from where the clock skips it, to the next."""
    tz = ZoneInfo(zone)
    found = buckets(
        first_moment(datetime.fromisoformat(first), tz),
        first_moment(datetime.fromisoformat(last), tz),
        "day",
        tz,
    )
    if zone == "America/St_Johns":
        assert sum(hours_of(found)) == sum(lengths)
    else:
        assert hours_of(found) == lengths
    assert not any(bucket.partial for bucket in found)


def test_the_doubled_hour_is_two_buckets() -> None:
    """The hour from 02:00 to 03:00 happens twice when the clock goes back, and not at all when it goes forward."""
    found = buckets(local("2026-10-25T01:00"), local("2026-10-25T04:00"), "hour", BERLIN)
    assert [bucket.start.astimezone(BERLIN).hour for bucket in found] == [1, 2, 2, 3]
    assert [bucket.start for bucket in found[:3]] == [
        utc("2026-10-24T23:00"),
        utc("2026-10-25T00:00"),
        utc("2026-10-25T01:00"),
    ]
    found = buckets(local("2026-03-29T01:00"), local("2026-03-29T04:00"), "hour", BERLIN)
    assert [bucket.start.astimezone(BERLIN).hour for bucket in found] == [1, 3]
    assert hours_of(found) == [1, 1]


def test_half_an_hour_of_summer_time() -> None:
    """Where the clock goes back by half an hour that hour is longer, where it goes forward it is shorter."""
    tz = ZoneInfo("Australia/Lord_Howe")
    found = buckets(local("2026-04-05T00:00", tz), local("2026-04-05T03:00", tz), "hour", tz)
    assert hours_of(found) == [1, 1.5, 1]
    found = buckets(local("2026-10-04T01:00", tz), local("2026-10-04T04:00", tz), "hour", tz)
    assert hours_of(found) == [1, 0.5, 1]


@pytest.mark.parametrize(
    "zone, minutes", [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("UTC", 0), ("UTC+05:45", 15)]
)
def test_hours_are_local_hours(zone: str, minutes: int) -> None:
    """Hours begin on the local clock's full hour, which is not UTC's everywhere; a cut one is partial."""
    found = buckets(utc("2026-03-01T12:10"), utc("2026-03-01T14:10"), "hour", zone_of(zone))
    assert {bucket.start.minute for bucket in found} == {minutes}
    assert [bucket.partial for bucket in found] == [True, *[False] * (len(found) - 2), True]
    assert found[0].start <= utc("2026-03-01T12:10") < found[0].end


def test_weeks_and_months() -> None:
    """Weeks begin on Monday, months on the first; months are as long as the calendar says, in local time."""
    found = buckets(local("2026-03-04"), local("2026-03-20"), "week", BERLIN)
    assert [bucket.start.astimezone(BERLIN).date().isoformat() for bucket in found] == [
        "2026-03-02",
        "2026-03-09",
        "2026-03-16",
    ]
    assert [bucket.partial for bucket in found] == [True, False, True]
    found = buckets(local("2024-01-01"), local("2024-05-01"), "month", BERLIN)
    assert hours_of(found) == [31 * 24, 29 * 24, 31 * 24 - 1, 30 * 24]


def test_what_has_not_ended_is_partial() -> None:
    """The running bucket and those to come are partial, though the range holds the whole of them."""
    found = buckets(local("2026-03-01"), local("2026-03-05"), "day", BERLIN, local("2026-03-03T12:00"))
    assert [bucket.partial for bucket in found] == [False, False, True, True]
    found = buckets(local("2026-03-01"), local("2026-03-03"), "day", BERLIN, local("2026-03-03"))
    assert not any(bucket.partial for bucket in found)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
         "Africa/Casablanca", "America/Santiago", "Asia/Beirut"]),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.datetimes(datetime(2008, 1, 1), datetime(2030, 1, 1)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=20)),
)  # fmt: skip
def test_buckets_cover_the_range(zone: str, interval: Interval, start: datetime, length: timedelta) -> None:
    """Buckets stand side by side, cover the range and nothing more, and do not depend on where it starts."""
    tz = ZoneInfo(zone)
    first = start.replace(tzinfo=UTC)
    edges = bounds(first, first + length, interval, tz)
    assert edges == sorted(set(edges))
    assert edges[0] <= first < edges[1]
    assert edges[-2] < first + length <= edges[-1]
    for edge in edges:
        shown = edge.astimezone(tz)
        before = (edge - timedelta(microseconds=1)).astimezone(tz)
        if interval == "hour":
            assert (before.date(), before.hour, before.utcoffset()) != (
                shown.date(),
                shown.hour,
                shown.utcoffset(),
            )
        else:
            assert before.date() < shown.date()
            assert interval != "week" or shown.weekday() == 0
            assert interval != "month" or shown.day == 1
    elsewhere = bounds(first - timedelta(days=3), first + length, interval, tz)
    assert edges == elsewhere[-len(edges) :]


def test_too_many_buckets_are_refused() -> None:
    """A range of more buckets than anybody can look at is an error that says what would be right."""
    with pytest.raises(InvalidQuery, match=f"more than {MAX_BUCKETS} parts of one hour"):
        bounds(utc("2020-01-01"), utc("2026-01-01"), "hour", BERLIN)
    with pytest.raises(InvalidQuery, match="beyond the calendar"):
        bounds(utc("9999-12-01"), utc("9999-12-31T23:00"), "month", BERLIN)
    with pytest.raises(InvalidQuery, match="interval 'year'"):
        bounds(utc("2020-01-01"), utc("2026-01-01"), "year", BERLIN)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "compare, start, end, now, first, last",
    [
        ("previous", "2026-03-10", "2026-03-17", "2026-05-01", "2026-03-03", "2026-03-10"),
        ("previous", "2026-03-28", "2026-04-04", "2026-05-01", "2026-03-21", "2026-03-28"),  # over a change
        ("previous", "2026-03-01", "2026-04-01", "2026-05-01", "2026-02-01", "2026-03-01"),  # a month
        ("previous", "2026-01-01", "2026-04-01", "2026-05-01", "2025-10-01", "2026-01-01"),  # a quarter
        ("previous", "2026-03-01T10:00", "2026-03-01T14:00", "2026-05-01", "2026-03-01T06:00", "2026-03-01T10:00"),
        ("previous", "2026-03-09", "2026-03-16", "2026-03-11T15:30", "2026-03-02", "2026-03-04T15:30"),  # to date
        ("previous", "2026-03-01", "2026-04-01", "2026-03-30T15:00", "2026-02-01", "2026-03-01"),
        ("previous", "2026-03-01", "2026-04-01", "2026-03-20T15:00", "2026-02-01", "2026-02-20T15:00"),
        ("previous", "2026-06-01", "2026-07-01", "2026-05-20", "2026-05-01", "2026-06-01"),  # all to come
        ("year", "2026-03-01", "2026-03-08", "2026-05-01", "2025-03-01", "2025-03-08"),
        ("year", "2024-02-29", "2024-03-02", "2026-05-01", "2023-03-01", "2023-03-02"),
        ("year", "2026-03-01", "2026-04-01", "2026-03-20T15:00", "2025-03-01", "2025-03-20T15:00"),
    ],
)  # fmt: skip
def test_spans_to_compare_with(compare: Any, start: str, end: str, now: str, first: str, last: str) -> None:
    """The span before has the same length by the calendar, ranges to date are compared with the same part."""
    found = compared(Span(local(start), local(end), BERLIN, local(now)), compare)
    assert (found.start, found.end) == (local(first), local(last))


def test_going_back_by_the_calendar() -> None:
    """The same local time so much earlier; the first of two, and the end of a month that is too short."""
    assert back(local("2026-10-26T02:30"), BERLIN, wall=timedelta(days=1)) == utc("2026-10-25T00:30")
    assert back(local("2026-03-30T02:30"), BERLIN, wall=timedelta(days=1)) == utc("2026-03-29T01:00")
    assert back(local("2026-05-31T10:00"), BERLIN, months=1) == local("2026-05-01")
    with pytest.raises(InvalidQuery, match="before the year 1"):
        compared(Span(utc("0001-01-02"), utc("0001-12-01"), UTC, utc("2026-01-01")), "year")


def test_neighbours_differ_by_instants() -> None:
    """No two bounds are one moment, in the hours around a change either."""
    edges = bounds(local("2026-10-24"), local("2026-10-27"), "hour", BERLIN)
    assert {later - earlier for earlier, later in pairwise(edges)} == {HOUR}
    assert len(edges) == 24 * 3 + 2


class Nameless(tzinfo):
    """A zone with summer time, and a name that nobody knows."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        """Tell none that always holds."""
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        """Tell what it calls itself."""
        return "home"


def test_zones_by_name() -> None:
    """A zone is a name, a fixed offset's own name, an object, or Django's current one."""
    assert str(zone_of(None)) == "Asia/Kathmandu"
    assert zone_of("+0530").utcoffset(None) == timedelta(hours=5, minutes=30)
    assert zone_of(BERLIN) is BERLIN
    for hours in (-9.5, 0, 5.5 + 15 / 3600):
        home = zone_of(timezone(timedelta(hours=hours), "home"))
        assert zone_of(str(home)).utcoffset(None) == home.utcoffset(None) == timedelta(hours=hours)
    with pytest.raises(InvalidQuery, match="no time zone"):
        zone_of(Nameless())
    for name in ("Nowhere/At all", "../etc/passwd", "", "Europe"):
        with pytest.raises(InvalidQuery, match="no time zone"):
            zone_of(name)
