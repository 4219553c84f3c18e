"""Funnels, retention and paths: who does what after what."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from statistics import median
from typing import Any, NamedTuple

from littlebro import Event
from tests.oracle import times
from tests.oracle.people import Who, in_order, links, who
from tests.oracle.trends import first_moment

Step = Callable[[Event], bool]


def by_person(log: Sequence[Event], now: datetime) -> dict[Who, list[Event]]:
    """Return the events that are looked at, a list a person, in order."""
    known = links(log)
    found: dict[Who, list[Event]] = {}
    for event in in_order(log):
        person = who(event, known)
        if person is not None and event.collection == "littlebro" and event.timestamp <= now:
            found.setdefault(person, []).append(event)
    return found


class Funnel(NamedTuple):
    """What is asked for; `order` is ordered, strict or any; `exclude` is (step, number of the step it follows)."""

    steps: Sequence[Step]
    start: datetime
    end: datetime
    now: datetime
    order: str = "ordered"
    window: timedelta = timedelta(days=14)
    exclude: Sequence[tuple[Step, int]] = ()


def funnel(log: Sequence[Event], asked: Funnel) -> list[tuple[int, float | None, int]]:
    """Return for each step its people, the median of seconds since the step before, and how many are open there."""
    bests: list[tuple[list[datetime], bool]] = []
    for events in by_person(log, asked.now).values():
        entries = _entries(events, asked)
        attempts = [_attempt(events, entry, asked) for entry in entries]
        if attempts:
            best = max(attempts, key=len)  # the first of several: the earliest entry
            bests.append((best, asked.now <= entries[-1] + asked.window))
    rows = []
    for number in range(len(asked.steps)):
        reached = [(moments, still) for moments, still in bests if len(moments) > number]
        taken = [(moments[number] - moments[number - 1]).total_seconds() for moments, _ in reached if number]
        last = number == len(asked.steps) - 1
        waiting = sum(still and len(moments) == number + 1 and not last for moments, still in reached)
        rows.append((len(reached), median(taken) if taken else None, waiting))
    return rows


def _entries(events: Sequence[Event], asked: Funnel) -> list[datetime]:
    first = asked.steps if asked.order == "any" else asked.steps[:1]
    return sorted(
        {
            e.timestamp
            for e in events
            if asked.start <= e.timestamp < asked.end and any(step(e) for step in first)
        }
    )


def _attempt(events: Sequence[Event], entry: datetime, asked: Funnel) -> list[datetime]:
    """Return the moments at which the attempt of `entry` reaches its steps, within the window."""
    within = [e for e in events if entry <= e.timestamp <= entry + asked.window]
    if asked.order == "strict":
        return _strict(events, entry, asked)
    if any(sum(step(e) for step in asked.steps) > 1 for e in within):
        reached = by_every_choice(within, entry, asked)
    else:
        reached = by_the_next(within, entry, asked)
    for step, after in asked.exclude:
        if len(reached) > after + 1 and any(
            step(e) and reached[after] < e.timestamp < reached[after + 1] for e in events
        ):
            reached = reached[: after + 1]
    return reached


def by_every_choice(within: Sequence[Event], entry: datetime, asked: Funnel) -> list[datetime]:
    """Return when the steps are reached, by trying every choice of events."""
    chains = _any(within, asked.steps) if asked.order == "any" else _ordered(within, entry, asked.steps)
    reached: list[datetime] = []
    for length in range(1, len(asked.steps) + 1):
        ends = [chain[-1] for chain in chains if len(chain) == length]
        if not ends:
            break
        reached.append(min(ends))
    return reached


def by_the_next(within: Sequence[Event], entry: datetime, asked: Funnel) -> list[datetime]:
    """Return the same where no event satisfies two steps, so that none has to be left to another step.

    In order, each step is then its next event; in any order, each is its first event.
    """
    when = [[e.timestamp for e in within if step(e)] for step in asked.steps]
    if asked.order == "any":
        return sorted(min(moments) for moments in when if moments)
    reached = [entry]
    for moments in when[1:]:
        later = [moment for moment in moments if moment >= reached[-1]]
        if not later:
            break
        reached.append(min(later))
    return reached


def _ordered(events: Sequence[Event], entry: datetime, steps: Sequence[Step]) -> list[list[datetime]]:
    """Return the moments of every choice of an event of its own for the first steps, in order of time."""
    found: list[list[datetime]] = []

    def go_on(chosen: list[Event]) -> None:
        if chosen:
            found.append([e.timestamp for e in chosen])
        if len(chosen) == len(steps):
            return
        for event in events:
            fits = event not in chosen and steps[len(chosen)](event)
            if fits and (event.timestamp >= chosen[-1].timestamp if chosen else event.timestamp == entry):
                go_on([*chosen, event])

    go_on([])
    return found


def _any(events: Sequence[Event], steps: Sequence[Step]) -> list[list[datetime]]:
    """Return the moments, in order, of every choice of an event of its own for some of the steps."""
    found: list[list[datetime]] = []

    def go_on(number: int, chosen: list[Event]) -> None:
        if number == len(steps):
            if chosen:
                found.append(sorted(e.timestamp for e in chosen))
            return
        go_on(number + 1, chosen)
        for event in events:
            if event not in chosen and steps[number](event):
                go_on(number + 1, [*chosen, event])

    go_on(0, [])
    return found


def _strict(events: Sequence[Event], entry: datetime, asked: Funnel) -> list[datetime]:
    """Return the best of attempts that stand side by side in some order of the person's events by time."""
    looked_at = [e for e in events if e.timestamp >= asked.start]
    found: list[list[datetime]] = []
    for order in _orders(looked_at):
        for place, event in enumerate(order):
            if event.timestamp != entry:
                continue
            moments = []
            for step, one in zip(asked.steps, order[place:], strict=False):
                if not step(one) or one.timestamp > entry + asked.window:
                    break
                moments.append(one.timestamp)
            if moments:
                found.append(moments)
    return min(found, key=lambda moments: (-len(moments), moments), default=[])


def _orders(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield every order of events by time, those of one moment in any order."""
    if not events:
        yield []
        return
    first = min(e.timestamp for e in events)
    for event in [e for e in events if e.timestamp == first]:
        for rest in _orders([e for e in events if e is not event]):
            yield [event, *rest]


class Retention(NamedTuple):
    """What is asked for."""

    begin: Step
    back: Step
    start: datetime
    end: datetime
    now: datetime
    zone: tzinfo
    period: str = "day"
    periods: int = 4
    first_time: bool = True
    on_or_after: bool = False


def retention(log: Sequence[Event], asked: Retention) -> list[tuple[int, list[tuple[int | None, bool]]]]:
    """Return for each cohort its size and its cells, people and whether they are running."""
    people = by_person(log, asked.now)
    rows = []
    for day in times.days(asked.start, asked.end, asked.period, asked.zone):
        cohort = [events for events in people.values() if _began(events, day, asked)]
        cells: list[tuple[int | None, bool]] = []
        here = day
        for number in range(asked.periods):
            begin, last = first_moment(here, asked.zone), first_moment(_following(here, asked), asked.zone)
            came = len(cohort) if number == 0 else sum(_came(events, begin, last, asked) for events in cohort)
            running = last > asked.now
            cells.append((None if running and (not came or begin > asked.now) else came, running))
            here = _following(here, asked)
        rows.append((len(cohort), cells))
    return rows


def _following(day: Any, asked: Retention) -> Any:
    found = times.next_day(day, asked.period)
    while asked.period == "day" and not times.exists(found, asked.zone):
        found = times.next_day(found, asked.period)
    return found


def _began(events: Sequence[Event], day: Any, asked: Retention) -> bool:
    begins = [event.timestamp for event in events if asked.begin(event)]
    if asked.first_time:
        begins = begins[:1]
    return any(
        asked.start <= moment < asked.end
        and times.first_day(times.local_date(moment, asked.zone), asked.period) == day
        for moment in begins
    )


def _came(events: Sequence[Event], begin: datetime, last: datetime, asked: Retention) -> bool:
    return any(
        asked.back(event) and begin <= event.timestamp and (asked.on_or_after or event.timestamp < last)
        for event in events
    )


def walks(
    log: Sequence[Event], start: datetime, end: datetime, now: datetime, gap: timedelta
) -> list[tuple[Who, list[str]]]:
    """Return the names of every session, repeats collapsed."""
    found: list[tuple[Who, list[str]]] = []
    for person, events in by_person(log, now).items():
        before: datetime | None = None
        for event in events:
            if not start <= event.timestamp < end:
                continue
            if before is None or event.timestamp - before >= gap:
                found.append((person, [event.name]))
            elif found[-1][1][-1] != event.name:
                found[-1][1].append(event.name)
            before = event.timestamp
    return found


def paths(
    sessions: Sequence[tuple[Who, list[str]]],
    steps: int,
    anchor: str | None = None,
    *,
    backward: bool = False,
) -> dict[tuple[int, str], tuple[int, int, int, int]]:
    """Return for each step and name: people, sessions, people dropped, sessions ended."""
    taken: list[tuple[Who, list[str], bool]] = []
    for person, names in sessions:
        way = names
        if anchor is not None:
            if anchor not in names:
                continue
            place = names.index(anchor)
            way = names[place::-1] if backward else names[place:]
        taken.append((person, way[:steps], len(way) > steps))
    nodes: dict[tuple[int, str], list[tuple[Who, bool]]] = {}
    for person, way, more in taken:
        for step, name in enumerate(way):
            goes_on = step + 1 < len(way) or more
            nodes.setdefault((step, name), []).append((person, goes_on))
    return {
        node: (
            len({person for person, _ in passed}),
            len(passed),
            len({person for person, _ in passed} - {person for person, goes_on in passed if goes_on}),
            sum(not goes_on for _, goes_on in passed),
        )
        for node, passed in nodes.items()
    }
