"""The calendar, from each event's side: which local hour, day, week or month a moment is in.

A bucket is what the clock shows. The doubled hour is told apart by the offset that holds; where a clock jumps
to the middle of an hour, or back to it, that is an hour of its own.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

MINUTE = timedelta(minutes=1)


def local_date(moment: datetime, zone: tzinfo) -> date:
    """Return the local date."""
    return moment.astimezone(zone).date()


def first_day(day: date, interval: str) -> date:
    """Return the day with which the day, week or month of `day` begins."""
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def next_day(day: date, interval: str) -> date:
    """Return the day with which the next one begins."""
    if interval == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)


def days(start: datetime, end: datetime, interval: str, zone: tzinfo) -> list[date]:
    """Return the days, weeks or months (by their first day) of which the range holds some moment, in order.

    A day that never was (a zone that jumped over it) is none of them.
    """
    last = local_date(end - timedelta(microseconds=1), zone)
    found = [first_day(local_date(start, zone), interval)]
    while found[-1] <= last:
        found.append(next_day(found[-1], interval))
    found.pop()
    return [day for day in found if interval != "day" or exists(day, zone)]


def exists(day: date, zone: tzinfo) -> bool:
    """Return whether the clocks of `zone` ever showed that date."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return any(
        local_date(noon + timedelta(minutes=15 * quarter), zone) == day for quarter in range(-4 * 27, 4 * 27)
    )


def hour_start(moment: datetime, zone: tzinfo) -> datetime:
    """Return, in UTC, when the local hour of `moment` began: going back until the clock shows another hour."""
    local = moment.astimezone(zone)
    offset = local.utcoffset()
    whole = moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    if whole.astimezone(zone).utcoffset() == offset:
        return whole.astimezone(UTC)
    # The clock changed within this hour: it began with the change.
    minute = moment.replace(second=0, microsecond=0)
    while (minute - MINUTE).astimezone(zone).utcoffset() == offset:
        minute -= MINUTE
    return _before_change(minute, zone).astimezone(UTC)


def _before_change(change: datetime, zone: tzinfo) -> datetime:
    """Return where the hour that follows `change` begins: with it, unless the clock shows the same hour as before."""
    before = (change - timedelta(microseconds=1)).astimezone(zone)
    after = change.astimezone(zone)
    if (before.date(), before.hour) == (after.date(), after.hour):
        return hour_start(change - timedelta(microseconds=1), zone)
    return change


def hours(start: datetime, end: datetime, zone: tzinfo) -> list[datetime]:
    """Return the starts, in UTC, of the local hours of which the range holds some moment."""
    moments: Iterable[datetime] = (
        start + 5 * MINUTE * number for number in range(int((end - start) / (5 * MINUTE)) + 1)
    )
    last = end - timedelta(microseconds=1)
    return sorted({hour_start(moment, zone) for moment in [*moments, last] if moment <= last})
