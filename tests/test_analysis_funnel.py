"""The funnel as it is asked for: numbers of each step, groups, the people behind them, and what is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from littlebro.analysis.question import Person, Step
from littlebro.analysis.reports.funnel import Exclusion, afunnel, afunnel_people, funnel, funnel_people
from littlebro.analysis.result import NONE, OTHER, Key
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C = Step("a"), Step("b"), Step("c")
MONTH = EventQuery(start=T0, end=T0 + 30 * DAY)
LATER = T0 + 100 * DAY

Log = Callable[..., None]


@pytest.fixture
def log(settings: Any, tmp_path: Any) -> Log:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    ids = iter(range(1000))

    def store(who: str | None, *happened: tuple[Any, ...], **fields: Any) -> None:
        for day, name, *params in happened:
            given = {
                "id": f"e{next(ids):03}", "name": name, "timestamp": T0 + day * DAY, "received_at": T0,
                "params": params[0] if params else {}, "context": {}, "user_id": who, **fields,
            }  # fmt: skip
            backends["default"].save_many([Event(**given)])

    return store


def people(result: Any) -> list[int]:
    return [step.people for step in result.steps]


def test_numbers(log: Log) -> None:
    """People, shares, medians in seconds and who is still open, for each step."""
    log("1", (0, "a"), (1, "b"), (2, "c"))
    log("2", (0, "a"), (3, "b"))
    log("3", (0, "a"))
    log("4", (29, "a"))
    log(None, (0, "a"))
    found = funnel(MONTH, [A, B, C], now=T0 + 43 * DAY)
    first, second, third = found.steps
    assert (first.people, first.from_start, first.from_previous, first.median_seconds) == (4, 1.0, None, None)
    assert (second.people, second.from_start, second.from_previous) == (2, 0.5, 0.5)
    assert (third.people, third.from_start, third.from_previous) == (1, 0.25, 0.5)
    assert (second.median_seconds, third.median_seconds) == (2 * 86400, 86400)
    assert [step.open for step in found.steps] == [1, 0, 0]
    later = funnel(MONTH, [A, B, C], now=T0 + 43 * DAY + timedelta(microseconds=1))
    assert [step.open for step in later.steps] == [0, 0, 0]


def test_empty(log: Log) -> None:
    """No events: noughts, and no shares of nothing."""
    log(None, (0, "a"))
    found = funnel(MONTH, [A, B], by=("name",), now=LATER)
    assert people(found) == [0, 0]
    assert [step.from_start for step in found.steps] == [None, None]
    assert found.groups == []
    assert "from start" in str(found)


def test_completion_beyond_the_range(log: Log) -> None:
    """The range bounds the entries; steps are read to the end of the window, that instant included."""
    log("1", (29, "a"), (43, "b"))
    log("2", (29, "a"), (43.001, "b"))
    log("3", (30, "a"), (31, "b"))
    assert people(funnel(MONTH, [A, B], now=LATER)) == [2, 1]


def test_nothing_after_now(log: Log) -> None:
    """Events of the future, by a wrong clock, are not looked at."""
    log("1", (1, "a"), (2, "b"))
    log("2", (2.5, "a"))
    assert people(funnel(MONTH, [A, B], now=T0 + 1.5 * DAY)) == [1, 0]
    assert people(funnel(MONTH, [A, B], now=T0 + 2 * DAY)) == [1, 1]


def test_any_entry_may_be_the_best(log: Log) -> None:
    """Not only the first: its window may be over when a later one gets there."""
    log("1", (0, "a"), (20, "a"), (21, "b"))
    found = funnel(MONTH, [A, B], now=LATER)
    assert people(found) == [1, 1]
    assert found.steps[1].median_seconds == 86400


def test_filters(log: Log) -> None:
    """The query's conditions hold for every event, a step's for its own; a person is the resolved one."""
    log("1", (0, "a", {"n": 1}), (1, "b", {"n": 2}))
    log(None, (0, "a", {"n": 1}), anonymous_id="x")
    log("2", (1, "b", {"n": 1}), anonymous_id="x")
    one = Condition(("params", "n"), "eq", 1)
    query = EventQuery(start=T0, end=T0 + DAY, where=(one,))
    assert people(funnel(query, [A, B], now=LATER)) == [2, 1]
    assert people(funnel(MONTH, [A, Step("b", (one,))], now=LATER)) == [2, 1]
    assert people(funnel(MONTH, [A, B], person=Person(anonymous_id="x"), now=LATER)) == [1, 1]
    assert people(funnel(EventQuery(start=T0, end=LATER, names=("b",)), [A, B], now=LATER)) == [0, 0]


def test_strict_over_many_steps_and_decades(log: Log) -> None:
    """A moment and fifteen steps need more than 64 bits where the range is long."""
    log("u", *((400 * n, "abcdefghijklmno"[n]) for n in range(15)))
    log("v", (0, "a"), (400, "b"), (500, "x"), (800, "c"))
    steps = [Step(name) for name in "abcdefghijklmno"]
    decades = EventQuery(start=T0 - 9000 * DAY, end=T0 + 9000 * DAY)
    found = funnel(decades, steps, order="strict", window=9000 * DAY, now=T0 + 9000 * DAY)
    assert people(found) == [2, 2, *[1] * 13]


def test_strict_sees_what_the_query_sees(log: Log) -> None:
    """In between is any event that the query matches, of whatever name."""
    log("1", (0, "a"), (1, "x"), (2, "b"))
    assert people(funnel(MONTH, [A, B], order="strict", now=LATER)) == [1, 0]
    without = EventQuery(start=T0, end=T0 + 30 * DAY, names=("a", "b"))
    excluded = [Exclusion(Step("x"), 0)]
    assert people(funnel(without, [A, B], order="strict", exclude=excluded, now=LATER)) == [1, 1]


def test_strict_in_one_moment_before_somebody_logged_in(log: Log) -> None:
    """Where several events share a moment, those count that bear the anonymous id alone."""
    log(None, (0, "a"), (0, "b"), anonymous_id="x")
    log("1", (1, "c"), anonymous_id="x")
    log("2", (0, "a"), (1, "c"))
    assert people(funnel(MONTH, [A, B, C], order="strict", now=LATER)) == [2, 1, 1]
    for person in (Person(user_id="1"), Person(anonymous_id="x")):
        assert people(funnel(MONTH, [A, B, C], order="strict", person=person, now=LATER)) == [1, 1, 1]


def test_any_order(log: Log) -> None:
    """Steps count by their number, whichever came first, within the window."""
    log("1", (0, "c"), (1, "a"), (2, "b"))
    log("2", (0, "b"), (20, "a"))
    found = funnel(MONTH, [A, B, C], order="any", now=LATER)
    assert people(found) == [2, 1, 1]
    assert found.steps[1].label == "2 of 3 steps"


def test_groups(log: Log) -> None:
    """By the value at a step of the best attempt; top values, then other, then none; they add up."""
    log("1", (0, "a", {"plan": "pro"}), (1, "b"))
    log("2", (0, "a", {"plan": "pro"}))
    log("3", (0, "a", {"plan": "other"}))
    log("4", (0, "a", {"plan": 1}))
    log("5", (0, "a", {"plan": ""}), (1, "b", {"plan": "x"}))
    found = funnel(MONTH, [A, B], by=("params", "plan"), limit=2, now=LATER)
    assert [(group.key, people(group)) for group in found.groups] == [
        (Key("value", "pro"), [2, 1]),
        (Key("value", "other"), [1, 0]),
        (OTHER, [1, 0]),
        (NONE, [1, 1]),
    ]
    second = funnel(MONTH, [A, B], by=("params", "plan"), by_step=1, now=LATER)
    assert [(group.key, people(group)) for group in second.groups] == [
        (Key("value", "x"), [1, 1]),
        (NONE, [4, 1]),
    ]
    assert len(found.table().rows) == 10
    assert found.as_json()["groups"][0]["key"] == {"kind": "value", "value": "pro"}


@pytest.mark.parametrize("order", ["ordered", "strict", "any"])
def test_value_of_the_first_id(log: Log, order: Any) -> None:
    """Of several events of that moment, the first by id among those that satisfy the step."""
    log("1", (0, "z", {"plan": 0}), id="0")
    log("1", (0, "a", {"plan": 2}), id="2")
    log("1", (0, "a", {"plan": 1}), id="1")
    found = funnel(MONTH, [A], order=order, by=("params", "plan"), now=LATER)
    assert [group.key for group in found.groups] == [Key("value", 1)]


def test_the_people(log: Log) -> None:
    """Those who reached a step, those who went no further, those of a group; the latest entry first."""
    log("1", (0, "a", {"plan": "x"}), (1, "b"))
    log("2", (1, "a"))
    log(None, (2, "a"), anonymous_id="d")
    log(None, (3, "a"), anonymous_id="later")
    log("3", (50, "z"), anonymous_id="later")
    one, two, three = Person(user_id="1"), Person(user_id="2"), Person(user_id="3")
    someone = Person(anonymous_id="d")
    assert funnel_people(MONTH, [A, B], step=0, now=LATER) == [three, someone, two, one]
    assert funnel_people(MONTH, [A, B], step=0, dropped=True, now=LATER) == [three, someone, two]
    assert funnel_people(MONTH, [A, B], step=1, now=LATER) == [one]
    assert funnel_people(MONTH, [A, B], step=0, limit=1, now=LATER) == [three]
    by = ("params", "plan")
    assert funnel_people(MONTH, [A, B], step=0, by=by, key=Key("value", "x"), now=LATER) == [one]
    assert funnel_people(MONTH, [A, B], step=1, by=by, key=NONE, now=LATER) == []


async def test_twins(log: Log) -> None:
    """The twins answer the same."""
    assert people(await afunnel(MONTH, [A], now=LATER)) == [0]
    assert await afunnel_people(MONTH, [A], step=0, now=LATER) == []
    assert afunnel.__name__ == "afunnel"


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": []},
        {"steps": [A] * 16},
        {"steps": ["a"]},
        {"order": "odd"},
        {"window": timedelta(0)},
        {"limit": 0},
        {"by": ("total",)},
        {"by": ("name",), "by_step": 2},
        {"exclude": [Exclusion(C, 1)]},
        {"exclude": [Exclusion(C, 0)], "order": "any"},
        {"steps": [Step("a", (Condition(("params", "n"), "eq", n),)) for n in range(8)], "order": "any"},
    ],
)
def test_refused(log: Log, wrong: dict[str, Any]) -> None:
    """What makes no sense is an error that says so."""
    asked: dict[str, Any] = {"steps": [A, B], "now": LATER, **wrong}
    with pytest.raises(InvalidQuery):
        funnel(MONTH, asked.pop("steps"), **asked)


def test_refused_people(log: Log) -> None:
    """A step that is not there, a key without a path."""
    for wrong in ({"step": 2}, {"step": 0, "key": NONE}, {"step": 0, "by": ("name",), "key": OTHER}):
        with pytest.raises(InvalidQuery):
            funnel_people(MONTH, [A, B], **wrong)
