"""The best attempt of each person, against trying out every choice of events there is.

Thousands of small random logs, a person each, in one store: few moments, so that ties abound; steps that
share events, so that who serves what matters.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import Any

import pytest

from littlebro.analysis.question import Person, Step, microseconds, span_of
from littlebro.analysis.reader import open_reader
from littlebro.analysis.reports import funnel
from littlebro.analysis.reports.attempts import Order
from littlebro.analysis.reports.funnel import Exclusion
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
START, END, WINDOW, LAST = (
    2,
    14,
    5,
    17,
)  # seconds after T0; the window reaches beyond the range, and now cuts it

Log = list[tuple[int, int, str, bool]]  # (second, number, name, whether "big")

A, B, C = Step("a"), Step("b"), Step("c")
BIG = Condition(("params", "big"), "eq", True)
FUNNELS: dict[str, tuple[Step, ...]] = {
    "one": (A,),
    "apart": (A, B, C),
    "again": (A, A, B),
    "thrice": (A, A, A),
    "conditions": (A, Step("a", (BIG,)), B),
    "narrow first": (Step("a", (BIG,)), A, Step("b", (BIG,)), B),
    "anything": (A, Step(), B),
    "any big": (Step(None, (BIG,)), A, Step(), B),
    "four": (A, B, A, C),
}


def logs(seed: int, people: int) -> dict[str, Log]:
    """Return a log a person: up to eight events, in as little as two moments."""
    rng = random.Random(seed)
    found: dict[str, Log] = {}
    for number in range(people):
        spread = rng.choice([1, 3, 6, 19])
        first = rng.randrange(0, 20 - spread)
        found[f"p{number}"] = [
            (first + rng.randrange(spread + 1), rng.randrange(1000), rng.choice("aabbcd"), rng.random() < 0.5)
            for _ in range(rng.randrange(1, 9))
        ]
    return found


def satisfies(step: Step, event: tuple[int, int, str, bool]) -> bool:
    return (step.name is None or step.name == event[2]) and (not step.where or event[3])


def choices(log: Log, steps: Sequence[Step], entry: int) -> Iterator[tuple[int, ...]]:
    """Yield the moments of every choice of an event of its own for each of the first steps, in order of time."""

    def go_on(used: list[int], times: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        yield times
        if len(times) < len(steps):
            for index, event in enumerate(log):
                fits = event[0] >= times[-1] if times else event[0] == entry
                if index not in used and fits and satisfies(steps[len(times)], event):
                    yield from go_on([*used, index], (*times, event[0]))

    return go_on([], ())


def ordered(log: Log, steps: Sequence[Step], bars: dict[int, Step]) -> Iterator[tuple[int, ...]]:
    for entry in sorted(
        {event[0] for event in log if START <= event[0] < END and satisfies(steps[0], event)}
    ):
        earliest: list[int] = []
        for times in choices(log, steps, entry):
            for n, moment in enumerate(times):
                if n == len(earliest):
                    earliest.append(moment)
                earliest[n] = min(earliest[n], moment)
        kept = earliest[:1]
        for n, moment in enumerate(earliest[1:]):
            barred = n in bars and any(
                kept[-1] < event[0] < moment and satisfies(bars[n], event) for event in log
            )
            if barred or moment > entry + WINDOW:
                break
            kept.append(moment)
        yield tuple(kept)


def strict(log: Log, steps: Sequence[Step]) -> Iterator[tuple[int, ...]]:
    moments: dict[int, Log] = defaultdict(list)
    for event in log:
        if event[0] >= START:
            moments[event[0]].append(event)
    best: dict[int, tuple[int, ...]] = {}
    for parts in product(*(permutations(moments[second]) for second in sorted(moments))):
        line = [event for part in parts for event in part]
        for first, entry in enumerate(line):
            if not entry[0] < END:
                continue
            times: tuple[int, ...] = ()
            for step, event in zip(steps, line[first:], strict=False):
                if not satisfies(step, event) or event[0] > entry[0] + WINDOW:
                    break
                times = (*times, event[0])
            if times:
                old = best.get(entry[0], ())
                best[entry[0]] = min(times, old, key=lambda found: (-len(found), found))
    for entry_time in sorted(best):
        yield best[entry_time]


def any_order(log: Log, steps: Sequence[Step]) -> Iterator[tuple[int, ...]]:
    def most(events: Log, left: tuple[int, ...]) -> int:
        if not events:
            return 0
        head, *rest = events
        given = [
            1 + most(rest, tuple(other for other in left if other != step))
            for step in left
            if satisfies(steps[step], head)
        ]
        return max([most(rest, left), *given])

    for entry in sorted({e[0] for e in log if START <= e[0] < END and any(satisfies(s, e) for s in steps)}):
        times: list[int] = []
        for moment in range(entry, min(entry + WINDOW, LAST) + 1):
            done = most([e for e in log if entry <= e[0] <= moment], tuple(range(len(steps))))
            times += [moment] * (done - len(times))
        yield tuple(times)


def best(attempts: Iterator[tuple[int, ...]]) -> tuple[int, ...] | None:
    return min(attempts, key=lambda times: (-len(times), times), default=None)


@pytest.fixture(params=[1, 2])
def population(request: Any, settings: Any) -> dict[str, Log]:
    settings.LITTLEBRO = {
        "default": {"BACKEND": "memory", "LOCATION": f"brute {request.param} {id(settings)}"}
    }
    found = logs(request.param, 1000)
    backends["default"].save_many(
        [
            Event(
                id=f"{number:03}-{who}-{index}", name=name, timestamp=T0 + timedelta(seconds=second),
                received_at=T0, params={"big": big}, context={}, user_id=who,
            )
            for who, log in found.items()
            for index, (second, number, name, big) in enumerate(log)
        ]
    )  # fmt: skip
    return {who: [event for event in log if event[0] <= LAST] for who, log in found.items()}


def found(
    steps: Sequence[Step], order: Order, exclude: Sequence[Exclusion] = ()
) -> dict[int, tuple[int, ...]]:
    """Return each person's moments as the engine finds them, by key."""
    query = EventQuery(start=T0 + timedelta(seconds=START), end=T0 + timedelta(seconds=END))
    span = span_of(query, "UTC", T0 + timedelta(seconds=LAST))
    with open_reader() as reader:
        funnel._find(reader, query, steps, order, timedelta(seconds=WINDOW), exclude, span, None)
        times = ", ".join(f"t{n}" for n in range(1, len(steps) + 1))
        rows = reader.rows(f"SELECT who, reached, {times} FROM attempts JOIN numbers ON number = person")
    zero = microseconds(T0)
    for _, reached, *moments in rows:
        assert all(moment is None for moment in moments[reached:])
    return {
        person: tuple((moment - zero) // 1_000_000 for moment in moments[:reached])
        for person, reached, *moments in rows
    }


def expected(population: dict[str, Log], judge: Any) -> dict[int, tuple[int, ...]]:
    judged = {Person(user_id=who).who: best(judge(log)) for who, log in population.items()}
    return {who: times for who, times in judged.items() if times is not None}


@pytest.mark.parametrize("steps", FUNNELS.values(), ids=FUNNELS)
def test_ordered(population: dict[str, Log], steps: tuple[Step, ...]) -> None:
    """The earliest moments of each step, over every choice of events."""
    assert found(steps, "ordered") == expected(population, lambda log: ordered(log, steps, {}))


@pytest.mark.parametrize("steps", [FUNNELS[name] for name in ("apart", "again", "any big", "four")])
@pytest.mark.parametrize("bar", [Step("d"), Step("c"), Step(None, (BIG,))])
def test_exclusions(population: dict[str, Log], steps: tuple[Step, ...], bar: Step) -> None:
    """An attempt ends where an excluded event lies strictly between the moments of two steps."""
    for after in range(len(steps) - 1):
        bars = {after: bar}
        assert found(steps, "ordered", [Exclusion(bar, after)]) == expected(
            population,
            lambda log, bars=bars: ordered(log, steps, bars),
        )


@pytest.mark.parametrize("steps", FUNNELS.values(), ids=FUNNELS)
def test_strict(population: dict[str, Log], steps: tuple[Step, ...]) -> None:
    """Side by side in some order of the events of each moment."""
    few = {who: log for who, log in population.items() if len(log) < 7}
    judged = expected(few, lambda log: strict(log, steps))
    mine = found(steps, "strict")
    assert {who: mine.get(who) for who in judged} == judged
    keys = {Person(user_id=who).who for who in few}
    assert mine.keys() & keys == judged.keys()


@pytest.mark.parametrize("steps", FUNNELS.values(), ids=FUNNELS)
def test_any_order(population: dict[str, Log], steps: tuple[Step, ...]) -> None:
    """As many different steps as can be given events of their own, at every moment from each entry on."""
    assert found(steps, "any") == expected(population, lambda log: any_order(log, steps))
