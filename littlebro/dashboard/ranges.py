"""Ranges of time as a person names them ("last 30 days"), turned into moments by the calendar of a zone.

In: the words of a URL, a zone, the present moment. Out: half-open ranges, their neighbours, the interval that
suits them. Days are the zone's own; a last day that a person names is part of what they asked for.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, get_args

import msgspec

from littlebro.analysis.calendar import compared, first_moment
from littlebro.analysis.question import Interval, Span
from littlebro.exceptions import InvalidQuery

__all__ = [
    "DEFAULT",
    "INTERVALS",
    "RANGES",
    "Range",
    "day_of",
    "intervals_for",
    "neighbours",
    "range_of",
    "suiting",
]

RANGES: Final = {
    "today": "Today",
    "yesterday": "Yesterday",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "month": "This month",
    "last-month": "Last month",
    "year": "This year",
    "12mo": "Last 12 months",
    "all": "All time",
}
DEFAULT: Final = "30d"
INTERVALS: Final = tuple(get_args(Interval))
_DAY: Final = timedelta(days=1)
_LENGTHS: Final = {"hour": timedelta(hours=1), "day": _DAY, "week": 7 * _DAY, "month": 28 * _DAY}
_MOST: Final = 800  # buckets that a chart can show


class Range(msgspec.Struct, frozen=True):
    """A half-open range in UTC; `start` is None for all time, which begins with the first event."""

    slug: str
    label: str
    start: datetime | None
    end: datetime


def range_of(slug: str, since: str, until: str, zone: tzinfo, now: datetime) -> Range:
    """Return the range that a URL names: by `slug`, or by `since` and `until` for one's own.

    A day in `until` is part of the range, a moment is not. Raises `InvalidQuery`.
    """
    if slug == "custom" or (not slug and (since or until)):
        return _custom(since, until, zone, now)
    slug = slug or DEFAULT
    if slug not in RANGES:
        raise InvalidQuery(f"There is no range {slug[:40]!r}; there are {', '.join(RANGES)}.")
    midnight = now.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    begin, end = _walls(slug, midnight)
    if slug == "24h":
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        return Range(slug, RANGES[slug], hour - _DAY, hour)
    start = None if begin is None else first_moment(begin, zone)
    return Range(slug, RANGES[slug], start, first_moment(end, zone))


def _walls(slug: str, midnight: datetime) -> tuple[datetime | None, datetime]:
    """Return the local readings that bound a named range, given today's 00:00."""
    tomorrow, month = midnight + _DAY, midnight.replace(day=1)
    following = (month + 32 * _DAY).replace(day=1)
    match slug:
        case "yesterday":
            return midnight - _DAY, midnight
        case "7d" | "30d" | "90d":
            return tomorrow - int(slug[:-1]) * _DAY, tomorrow
        case "month":
            return month, following
        case "last-month":
            return (month - _DAY).replace(day=1), month
        case "year":
            return month.replace(month=1), month.replace(month=1, year=month.year + 1)
        case "12mo":
            return following.replace(year=following.year - 1), following
        case "all":
            return None, tomorrow
        case _:
            return midnight, tomorrow


def _custom(since: str, until: str, zone: tzinfo, now: datetime) -> Range:
    if not since:
        raise InvalidQuery("A range of one's own needs a first day.")
    start = _moment(since, zone, last=False)
    end = _moment(until, zone, last=True) if until else first_moment(_midnight_after(now, zone), zone)
    if start >= end:
        raise InvalidQuery("The range ends before it begins.")
    return Range("custom", _label(start, end, zone), start, end)


def _moment(text: str, zone: tzinfo, *, last: bool) -> datetime:
    try:
        if len(text) == 10:
            moment = datetime.combine(date.fromisoformat(text) + last * _DAY, time.min)
        else:
            moment = datetime.fromisoformat(text)
        found = first_moment(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidQuery(f"{text[:40]!r} is no day; 2026-05-17 is one.") from error
    if not 1 < found.year < 9999:  # elsewhere it may be a day later, or earlier, than any calendar has
        raise InvalidQuery(f"{text[:40]!r} is in no year that an event can be of.")
    return found


def day_of(moment: datetime, zone: tzinfo) -> datetime:
    """Return when the day of a moment begins in a zone; the moment itself where that is before all calendars."""
    try:
        midnight = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return min(midnight.astimezone(UTC), moment)
    except OverflowError:
        return moment


def _midnight_after(now: datetime, zone: tzinfo) -> datetime:
    return datetime.combine(now.astimezone(zone).date() + _DAY, time.min)


def _label(start: datetime, end: datetime, zone: tzinfo) -> str:
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first.time() == last.time() == time.min:
        final = last.date() - _DAY
        return f"{first:%-d %b %Y}" if final == first.date() else f"{first:%-d %b %Y} – {final:%-d %b %Y}"
    if first.date() == last.date() or (last - first <= timedelta(hours=1)):
        return f"{first:%-d %b %Y, %H:%M} – {last:%H:%M}"
    return f"{first:%-d %b %Y, %H:%M} – {last:%-d %b %Y, %H:%M}"


def suiting(start: datetime, end: datetime) -> str:
    """Return the interval that suits a range: some ten to a hundred buckets."""
    length = end - start
    if length <= 2 * _DAY + timedelta(hours=2):
        return "hour"
    if length <= 100 * _DAY:
        return "day"
    return "week" if length < 300 * _DAY else "month"


def intervals_for(start: datetime, end: datetime) -> list[str]:
    """Return the intervals that cut a range into no more buckets than a chart can show."""
    found = [name for name, length in _LENGTHS.items() if (end - start) / length <= _MOST]
    return found or ["month"]


def neighbours(start: datetime, end: datetime, zone: tzinfo, now: datetime) -> tuple[str | None, str | None]:
    """Return the spans before and after a range of the same length, as `since/until` of a URL.

    The earlier one is None where it begins before the year 1, the later one where all of it lies in the future.
    """
    return _earlier(start, end, zone), None if end > now else _later(start, end, zone)


def _earlier(start: datetime, end: datetime, zone: tzinfo) -> str | None:
    try:
        before = compared(Span(start, end, zone, end), "previous")
        return bounds_text(before.start, before.end, zone)
    except (InvalidQuery, OverflowError):
        return None


def _later(start: datetime, end: datetime, zone: tzinfo) -> str:
    last = end.astimezone(zone).replace(tzinfo=None)
    wall = last - start.astimezone(zone).replace(tzinfo=None)
    return bounds_text(end, first_moment(last + (wall or end - start), zone), zone)


def bounds_text(start: datetime, end: datetime, zone: tzinfo) -> str:
    """Return a range as `since/until`: by days where it begins and ends with one."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first.time() == last.time() == time.min:
        return f"{first.date().isoformat()}/{(last.date() - _DAY).isoformat()}"
    return f"{first.isoformat(timespec='seconds')}/{last.isoformat(timespec='seconds')}"
