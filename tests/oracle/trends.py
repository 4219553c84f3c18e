"""Trends and breakdowns."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from littlebro import Event
from tests.oracle import times, values
from tests.oracle.people import links, who
from tests.oracle.values import NONE, OTHER, Group, Path

STEP = timedelta(minutes=5)


class Asked(NamedTuple):
    """What is asked for; `start` and `end` in UTC."""

    start: datetime
    end: datetime
    zone: tzinfo
    measure: str = "events"
    interval: str = "day"
    value: Path = ("params", "plan")
    by: Path | None = None
    limit: int = 10
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)


class Trend(NamedTuple):
    """Starts of buckets, whether each is partial, and a line for each group: values and total."""

    starts: list[datetime]
    partial: list[bool]
    lines: dict[Group, tuple[list[Any], Any]]


def first_moment(day: date, zone: tzinfo) -> datetime:
    """Return the first moment at which the clocks of `zone` show `day` or a later date."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=30)
    while times.local_date(moment, zone) < day:
        moment += STEP
    return moment


def earlier(moment: datetime, days: int, zone: tzinfo) -> datetime:
    """Return when the clocks showed the same time so many days before, or skipped it."""
    reading = moment.astimezone(zone).replace(tzinfo=None) - timedelta(days=days)
    found = reading.replace(tzinfo=UTC) - timedelta(hours=30)
    while not _reached(found, reading, zone):
        found += STEP
    return found


def _reached(moment: datetime, reading: datetime, zone: tzinfo) -> bool:
    """Return whether the clock shows `reading` at `moment`, or has just jumped over it."""
    shown = moment.astimezone(zone).replace(tzinfo=None)
    before = (moment - STEP).astimezone(zone).replace(tzinfo=None)
    return shown == reading or before < reading < shown


def edges(asked: Asked) -> list[tuple[datetime, datetime]]:
    """Return the bounds of all buckets."""
    if asked.interval == "hour":
        starts = times.hours(asked.start, asked.end, asked.zone)
        moment = starts[-1]
        while times.hour_start(moment, asked.zone) == starts[-1]:
            moment += STEP
        return list(zip(starts, [*starts[1:], moment], strict=True))
    days = times.days(asked.start, asked.end, asked.interval, asked.zone)
    return [
        (first_moment(day, asked.zone), first_moment(times.next_day(day, asked.interval), asked.zone))
        for day in days
    ]


def trend(log: Sequence[Event], asked: Asked) -> Trend:
    """Return the trend of the events in `log` (of the collections that are read, and links from all of it)."""
    known = links(log)
    log = [event for event in log if event.collection == "littlebro"]
    inside = [event for event in log if asked.start <= event.timestamp < asked.end]
    tops = values.ranked(inside, asked.by, asked.limit)
    groups = [
        *tops,
        *(g for g in (OTHER, NONE) if any(values.limited(e, asked.by, tops) == g for e in inside)),
    ]
    bounds = edges(asked)
    lines = {}
    for group in groups:
        mine = [event for event in log if values.limited(event, asked.by, tops) == group]
        whole = [event for event in mine if asked.start <= event.timestamp < asked.end]
        points = []
        for first, last in bounds:
            span = (max(first, asked.start), min(last, asked.end))
            if asked.measure in {"weekly_people", "monthly_people"}:
                days = 7 if asked.measure == "weekly_people" else 30
                span = (earlier(last, days, asked.zone), min(last, asked.end))
            points.append(_number([e for e in mine if span[0] <= e.timestamp < span[1]], known, asked))
        lines[group] = (points, _number(whole, known, asked))
    cut = [first < asked.start or last > asked.end or last > asked.now for first, last in bounds]
    return Trend([first for first, _ in bounds], cut, lines)


def _number(events: Sequence[Event], known: dict[str, str], asked: Asked) -> Any:
    persons = [who(event, known) for event in events]
    crowd = {person for person in persons if person is not None}
    match asked.measure:
        case "events":
            return len(events)
        case "people" | "weekly_people" | "monthly_people":
            return len(crowd)
        case "events_per_person":
            return sum(person is not None for person in persons) / len(crowd) if crowd else None
    return values.measured(asked.measure, values.numbers(events, asked.value))


def breakdown(log: Sequence[Event], asked: Asked) -> list[tuple[Group, int, int, Any]]:
    """Return a row a group: events, people and the measure."""
    known = links(log)
    inside = [e for e in log if e.collection == "littlebro" and asked.start <= e.timestamp < asked.end]
    tops = values.ranked(inside, asked.by, asked.limit)
    rows = []
    for group in [*tops, OTHER, NONE]:
        mine = [event for event in inside if values.limited(event, asked.by, tops) == group]
        if mine:
            crowd = {who(event, known) for event in mine} - {None}
            rows.append((group, len(mine), len(crowd), _number(mine, known, asked)))
    return rows
