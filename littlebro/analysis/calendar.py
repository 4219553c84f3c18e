"""The calendar of reports: buckets of time in a zone, and spans to compare with.

In: moments and a zone. Out: moments in UTC, found by Python's zoneinfo and handed to the engine as numbers, so
that every report and every database counts by the same clock. Reads no events.

The rules, whole. A local reading that the clock shows twice means the first time; one that it skips means the
moment of the skip. A day begins when the clock first shows its 00:00, a week with its Monday, a month
with its first day; a day that a zone skips altogether is no bucket. An hour begins whenever the clock shows a
full hour, so that a doubled hour is two buckets, and where the clock skips into another hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

import msgspec

from littlebro.analysis.question import Compare, Interval, Span, check_choice, microseconds
from littlebro.exceptions import InvalidQuery

__all__ = [
    "INTERVALS",
    "MAX_BUCKETS",
    "Bucket",
    "back",
    "bounds",
    "buckets",
    "compared",
    "first_moment",
    "reach",
]

INTERVALS = ("hour", "day", "week", "month")
MAX_BUCKETS = 10_000
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_SHIFT = 2 * _DAY  # more than any clock is put back


class Bucket(msgspec.Struct, frozen=True):
    """One hour, day, week or month, half-open, in UTC: the whole of it, wherever the range cuts it.

    `partial`: the range holds less than the whole, or its end has not come yet.
    """

    start: datetime
    end: datetime
    partial: bool = False


def buckets(
    start: datetime, end: datetime, interval: Interval, tz: tzinfo, now: datetime | None = None
) -> list[Bucket]:
    """Return the buckets that overlap the range from `start` to `end`, in order and without a gap.

    Raises `InvalidQuery` for more than `MAX_BUCKETS`.
    """
    edges = bounds(start, end, interval, tz)
    return [
        Bucket(first, last, first < start or last > end or (now is not None and last > now))
        for first, last in pairwise(edges)
    ]


def bounds(start: datetime, end: datetime, interval: Interval, tz: tzinfo) -> list[datetime]:
    """Return where buckets begin, in UTC: from the last bound up to `start` to the first one from `end` on."""
    check_choice(interval, INTERVALS, "interval")
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    edges: list[datetime] = []
    try:
        for edge in _edges(start, interval, tz):
            if edge <= start:
                edges = [edge]
            elif not edges or edge > edges[-1]:
                edges.append(edge)
            if edge >= end:
                return edges
            if len(edges) > MAX_BUCKETS:
                break
    except OverflowError as error:
        raise InvalidQuery("The range reaches beyond the calendar (years 1 to 9999).") from error
    raise InvalidQuery(f"The range has more than {MAX_BUCKETS} parts of one {interval}; ask for longer ones.")


def first_moment(wall: datetime, tz: tzinfo) -> datetime:
    """Return, in UTC, when the clocks of `tz` first show the naive `wall`, or skip it."""
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if _wall(moment, tz) == wall:
        return moment
    return _transition(moment - 2 * _DAY, moment, tz)


def back(moment: datetime, tz: tzinfo, *, months: int = 0, wall: timedelta = timedelta(0)) -> datetime:
    """Return `moment` so many months and so much local time earlier (negative: later), in UTC.

    A day that the earlier month does not have means that month's end: the 30th of a month after February is
    the 1st of March, 00:00.
    """
    local = _wall(moment, tz) - wall
    if months:
        count = local.year * 12 + local.month - 1 - months
        try:
            local = local.replace(year=count // 12, month=count % 12 + 1)
        except ValueError as error:
            if not 12 <= count < 120_000:
                raise InvalidQuery("The range to compare with lies before the year 1.") from error
            count += 1
            local = datetime(count // 12, count % 12 + 1, 1)  # noqa: DTZ001 - a reading of a local clock
    return first_moment(local, tz)


def compared(span: Span, compare: Compare) -> Span:
    """Return the span to compare with.

    ``"previous"`` is the span just before, of the same length by the local calendar: as many months where both
    bounds are a month's first day, 00:00, else as much time by the local clock. ``"year"`` lies
    twelve months earlier. Of a range that reaches past now only what has passed is compared: the other
    span ends as much earlier, by the same calendar, than now (never beyond where its whole ends).
    """
    check_choice(compare, ("previous", "year"), "comparison")
    months, wall = 12, timedelta(0)
    try:
        start, end = _wall(span.start, span.zone), _wall(span.end, span.zone)
        if compare == "previous":
            months, wall = 0, end - start
            if _opens_month(start) and _opens_month(end):
                months, wall = (end.year - start.year) * 12 + end.month - start.month, timedelta(0)
        first = back(span.start, span.zone, months=months, wall=wall)
        last = span.start if compare == "previous" else back(span.end, span.zone, months=months)
        if span.start < span.now < span.end:
            last = min(last, back(span.now, span.zone, months=months, wall=wall))
    except OverflowError as error:
        raise InvalidQuery("The range to compare with lies before the year 1.") from error
    return Span(first, max(last, first), span.zone, span.now)


def reach(span: Span, other: Span | None, wall: timedelta = timedelta(0)) -> tuple[datetime | None, datetime]:
    """Return from when to when events matter: in both spans, and so much local time earlier; None is from ever."""
    start = span.start if other is None else min(span.start, other.start)
    try:
        return start - wall - (_SHIFT if wall else timedelta(0)), span.end
    except OverflowError:
        return None, span.end


def cuts(*spans: Span | None) -> list[int]:
    """Return where spans begin and end, in microseconds since 1970."""
    return [microseconds(moment) for span in spans if span for moment in (span.start, span.end)]


def edges(interval: Interval, *spans: Span | None) -> list[int]:
    """Return where the buckets of spans begin and end, in microseconds since 1970."""
    return [
        microseconds(moment)
        for span in spans
        if span
        for moment in bounds(span.start, span.end, interval, span.zone)
    ]


def _edges(start: datetime, interval: Interval, tz: tzinfo) -> Iterator[datetime]:
    """Yield bounds in order, the first of them no later than `start`."""
    if interval == "hour":
        moment = start - 4 * _HOUR
        while True:
            moment = _next_hour(moment, tz)
            yield moment
    wall = _wall(start, tz).replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
    if interval == "week":
        wall -= timedelta(days=wall.weekday())
    elif interval == "month":
        wall = wall.replace(day=1)
    while True:
        yield first_moment(wall, tz)
        if interval == "month":
            wall = (wall + timedelta(days=32)).replace(day=1)
        else:
            wall += _DAY * (7 if interval == "week" else 1)


def _next_hour(moment: datetime, tz: tzinfo) -> datetime:
    local = _wall(moment, tz)
    label = local.replace(minute=0, second=0, microsecond=0)
    while True:
        following = moment + (local.replace(minute=0, second=0, microsecond=0) + _HOUR - local)
        if _offset(following, tz) == _offset(moment, tz):
            return following
        moment = _transition(moment, following, tz)
        local = _wall(moment, tz)
        hour = local.replace(minute=0, second=0, microsecond=0)
        if local == hour or hour != label:
            return moment


def _transition(early: datetime, late: datetime, tz: tzinfo) -> datetime:
    """Return the first moment after `early` at which the offset of `late` holds; they differ."""
    early = early.replace(microsecond=0)
    while late - early > _SECOND:
        middle = early + ((late - early) / 2) // _SECOND * _SECOND
        if middle == early:
            break
        if _offset(middle, tz) == _offset(late, tz):
            late = middle
        else:
            early = middle
    return late.replace(microsecond=0)


def _wall(moment: datetime, tz: tzinfo) -> datetime:
    return moment.astimezone(tz).replace(tzinfo=None, fold=0)


def _offset(moment: datetime, tz: tzinfo) -> timedelta | None:
    return moment.astimezone(tz).utcoffset()


def _opens_month(wall: datetime) -> bool:
    return wall == wall.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
