"""Retention: cohorts of the calendar, first-time and recurring, cells that are still running."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from littlebro.analysis.question import Person, Step
from littlebro.analysis.reports.retention import Retention, aretention, retention
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

BERLIN = ZoneInfo("Europe/Berlin")
LATER = datetime(2027, 1, 1, tzinfo=UTC)
A, B = Step("a"), Step("b")

Log = Callable[..., None]


def at(day: int, hour: int = 12, minute: int = 0, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN)


MARCH = EventQuery(start=at(2, 0), end=at(5, 0))


@pytest.fixture
def log(settings: Any, tmp_path: Any) -> Log:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    ids = iter(range(100_000))

    def store(who: str | None, *happened: tuple[datetime, str], **fields: Any) -> None:
        backends["default"].save_many(
            [
                Event(**{
                    "id": f"e{next(ids)}", "name": name, "timestamp": moment.astimezone(UTC), "received_at": LATER,
                    "params": {}, "context": {}, "user_id": who, **fields,
                })
                for moment, name in happened
            ]
        )  # fmt: skip

    return store


def people(found: Retention) -> list[list[int | None]]:
    return [[cell.people for cell in cohort.cells] for cohort in found.cohorts]


def ask(query: EventQuery = MARCH, start: Step = A, back: Step = B, **given: Any) -> Retention:
    return retention(query, start, back, **{"tz": BERLIN, "now": LATER, "periods": 3, **given})


def test_periods_of_the_calendar(log: Log) -> None:
    """Two minutes around midnight are a day; cell 0 is the cohort."""
    log("1", (at(2, 23, 59), "a"), (at(3, 0, 1), "b"))
    log("2", (at(2, 0), "a"), (at(2, 23), "b"), (at(4), "b"))
    found = ask()
    assert people(found) == [[2, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert [cohort.start for cohort in found.cohorts] == [at(2, 0), at(3, 0), at(4, 0)]
    assert not any(cohort.partial or cell.running for cohort in found.cohorts for cell in cohort.cells)


def test_first_time_is_of_the_lifetime(log: Log) -> None:
    """Whoever began before the range is in no cohort; recurring, in each whose period has a starting event."""
    log("1", (at(1, month=1), "a"), (at(2), "a"), (at(3), "a"), (at(4), "b"))
    log("2", (at(3), "a"), (at(4), "a"), (at(4), "b"))
    assert people(ask()) == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert people(ask(first_time=False)) == [[1, 0, 1], [2, 2, 0], [1, 0, 0]]


def test_on_or_after(log: Log) -> None:
    """A return in that period or any later one, beyond the last cell too."""
    log("1", (at(2), "a"), (at(3), "b"), (at(1, month=6), "b"))
    log("2", (at(2), "a"), (at(3), "b"))
    log("3", (at(2), "a"), (at(2), "b"))
    assert people(ask(on_or_after=True))[0] == [3, 2, 1]
    assert people(ask())[0] == [3, 2, 0]


def test_running(log: Log) -> None:
    """A cell whose period is not over is marked, and nobody in it is None, never 0."""
    log("1", (at(2), "a"), (at(3), "b"), (at(4, 10), "b"), (at(4, 20), "b"))
    log("2", (at(3), "a"))
    found = ask(now=at(4, 12))
    assert people(found) == [[1, 1, 1], [1, None, None], [None, None, None]]
    assert [[cell.running for cell in cohort.cells] for cohort in found.cohorts] == [
        [False, False, True],
        [False, True, True],
        [True, True, True],
    ]
    assert people(ask(now=at(4, 9)))[0] == [1, 1, None]
    assert people(ask(now=at(5, 0)))[:2] == [[1, 1, 1], [1, 0, None]]


def test_partial_weeks_and_months(log: Log) -> None:
    """A cohort that the range cuts says so."""
    log("1", (at(3), "a"), (at(20), "b"))
    weeks = ask(EventQuery(start=at(3, 0), end=at(9, 0)), period="week")
    assert [(c.start, c.end, c.size, c.partial) for c in weeks.cohorts] == [(at(2, 0), at(9, 0), 1, True)]
    assert people(weeks) == [[1, 0, 1]]
    months = ask(EventQuery(start=at(1, 0), end=at(1, 0, month=4)), period="month", periods=1)
    assert [(c.partial, len(c.cells)) for c in months.cohorts] == [(False, 1)]


def test_filters_and_links(log: Log) -> None:
    """One person across a log-in; the query's conditions hold for every event."""
    log(None, (at(2), "a"), anonymous_id="d")
    log("1", (at(3), "b"), anonymous_id="d", params={"n": 1})
    log(None, (at(2), "a"), (at(3), "b"))
    assert people(ask())[0] == [1, 1, 0]
    one = Condition(("params", "n"), "eq", 1)
    assert people(ask(EventQuery(start=at(2, 0), end=at(5, 0), where=(one,))))[0] == [0, 0, 0]
    assert people(ask(back=Step("b", (one,)), person=Person(anonymous_id="d")))[0] == [1, 1, 0]
    assert people(ask(person=Person(user_id="2")))[0] == [0, 0, 0]


def test_table(log: Log) -> None:
    """A row a cohort, starting in the report's zone; JSON-able."""
    log("1", (at(2), "a"))
    table = ask(periods=2).table()
    assert table.columns == ["day", "size", "day 0", "day 1"]
    assert table.rows[0] == [at(2, 0), 1, 1, 0]
    assert str(table.rows[0][0]) == "2026-03-02 00:00:00+01:00"
    assert ask().as_json()["cohorts"][0]["cells"][0] == {"people": 1, "running": False}


async def test_twin(log: Log) -> None:
    """The twin answers the same."""
    assert people(await aretention(MARCH, A, B, tz=BERLIN, now=LATER, periods=1)) == [[0], [0], [0]]


@pytest.mark.parametrize(
    "wrong", [{"period": "hour"}, {"periods": 0}, {"start": "a"}, {"query": EventQuery(start=at(2))}]
)
def test_refused(log: Log, wrong: dict[str, Any]) -> None:
    """What makes no sense is an error that says so."""
    with pytest.raises(InvalidQuery):
        ask(**wrong)


def test_against_days_by_hand(log: Log) -> None:
    """Days over a change of the clock, for 300 people with random events."""
    rng = random.Random(1)
    start, end, now = at(27, 0), at(31, 7), at(2, 15, month=4)
    logs: dict[str, list[tuple[datetime, str]]] = {}
    for number in range(300):
        hours = [rng.randrange(-30, 200) for _ in range(rng.randrange(1, 8))]
        logs[f"p{number}"] = [
            (start.astimezone(UTC) + timedelta(hours=hour), rng.choice("ab")) for hour in hours
        ]
        log(f"p{number}", *logs[f"p{number}"])
    days = [date(2026, 3, day) for day in range(27, 32)]
    for first_time, after, same in product([True, False], [True, False], [True, False]):
        back = A if same else B
        found = ask(
            EventQuery(start=start, end=end),
            back=back,
            now=now,
            periods=6,
            first_time=first_time,
            on_or_after=after,
        )
        for cohort, day in zip(found.cohorts, days, strict=True):
            members = set()
            for who, happened in logs.items():
                starts = [moment for moment, name in happened if name == "a" and moment <= now]
                starts = [min(starts)] if starts and first_time else starts
                if any(m.astimezone(BERLIN).date() == day and start <= m < end for m in starts):
                    members.add(who)
            assert cohort.size == len(members)
            for n, cell in enumerate(cohort.cells):
                wanted = day + timedelta(days=n)
                came = {
                    who
                    for who in members
                    for moment, name in logs[who]
                    if name == back.name and moment <= now
                    and (moment.astimezone(BERLIN).date() == wanted
                         or (after and moment.astimezone(BERLIN).date() > wanted))
                }  # fmt: skip
                running = wanted >= date(2026, 4, 2)
                count = len(members) if n == 0 else len(came)
                assert (cell.people, cell.running) == (None if running and not count else count, running)
