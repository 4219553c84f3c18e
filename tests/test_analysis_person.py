"""A person's page, the list of people, and the live view."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from littlebro.analysis.question import Person
from littlebro.analysis.reports.people import apeople, people
from littlebro.analysis.reports.person import IdLink, aperson, person
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ONE, TWO = Person(user_id="1"), Person(user_id="2")

Log = Callable[..., Event]


@pytest.fixture
def log(settings: Any, tmp_path: Any) -> Log:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    ids = iter(range(1000))

    def store(user: str | None, minute: float, name: str = "a", **fields: Any) -> Event:
        event = Event(**{
            "id": f"e{next(ids):03}", "name": name, "timestamp": T0 + minute * MINUTE, "received_at": T0,
            "params": {}, "context": {}, "user_id": user, **fields,
        })  # fmt: skip
        backends["default"].save_many([event])
        return event

    return store


def test_what_is_known(log: Log) -> None:
    """First and last seen, names by how often, and events as they were stored."""
    log("1", 0, "b")
    log("1", 1, "a")
    log("1", 2, "a", params={"big": 2**53 + 1, "deep": [{"ü": None}]}, context={"x": 1.5}, anonymous_id="d")
    log("2", 5, "a")
    log(None, 6, "a")
    found = person(ONE)
    assert (found.events, found.first_seen, found.last_seen) == (3, T0, T0 + 2 * MINUTE)
    assert [(n.name, n.events, n.first_seen, n.last_seen) for n in found.names] == [
        ("a", 2, T0 + MINUTE, T0 + 2 * MINUTE),
        ("b", 1, T0, T0),
    ]
    assert [event.name for event in found.timeline] == ["a", "a", "b"]
    assert found.timeline[0].params == {"big": 2**53 + 1, "deep": [{"ü": None}]}
    assert found.timeline[0].context == {"x": 1.5}
    assert found.next_cursor is None


def test_nobody(log: Log) -> None:
    """A person without events is an empty page."""
    found = person(Person(anonymous_id="never"))
    assert (found.events, found.first_seen, found.names, found.links, found.timeline) == (0, None, [], [], [])
    assert found.table().rows == []


def test_links(log: Log) -> None:
    """An anonymous id leads to its user; ids on shared devices say whose they are."""
    first = log(None, 0, anonymous_id="d")
    log("1", 1, anonymous_id="d")
    log(None, 2, anonymous_id="d")
    shared = log("2", 3, anonymous_id="d")
    log("2", 4, anonymous_id="e", collection="elsewhere")
    found = person(Person(anonymous_id="d"))
    assert found.person == ONE
    assert (found.events, found.timeline[-1]) == (3, first)
    assert found.links == [IdLink("d", "1")]
    two = person(TWO)
    assert two.timeline == [shared]
    assert two.links == [IdLink("d", "1"), IdLink("e", "2")]
    everywhere = EventQuery(collections=("littlebro", "elsewhere"))
    assert person(TWO, everywhere).events == 2


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 30])
def test_pages(log: Log, limit: int) -> None:
    """Each event once, newest first, over moments that many events share."""
    for number in range(20):
        log("1", number // 7, params={"n": number}, collection="littlebro")
    log(None, 1, anonymous_id="d")
    log("1", 9, "login", anonymous_id="d")
    wanted = sorted(
        (event for event in backends["default"].scan(EventQuery()) if event.collection == "littlebro"),
        key=lambda event: event.position,
        reverse=True,
    )
    seen: list[Event] = []
    cursor = None
    while True:
        found = person(ONE, limit=limit, cursor=cursor)
        assert len(found.timeline) <= limit
        seen += found.timeline
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == wanted


def test_query(log: Log) -> None:
    """Names and a range narrow what is looked at."""
    for minute in range(4):
        log("1", minute, "ab"[minute % 2])
    found = person(ONE, EventQuery(names=("a",), start=T0 + MINUTE, end=T0 + 3 * MINUTE))
    assert (found.events, [event.timestamp for event in found.timeline]) == (1, [T0 + 2 * MINUTE])


def test_table(log: Log) -> None:
    """A row an event, in the zone; JSON-able."""
    log("1", 0, params={"n": 1})
    found = person(ONE, tz="Europe/Berlin")
    assert found.table().rows == [[T0, "a", {"n": 1}, {}, "1", None, "littlebro", "e000"]]
    assert found.table().rows[0][0].tzinfo == ZoneInfo("Europe/Berlin")
    assert found.as_json()["timeline"][0]["params"] == {"n": 1}


def test_refused(log: Log) -> None:
    """Another person's cursor, no cursor at all, a wrong limit."""
    log("1", 0)
    log("1", 1)
    cursor = person(ONE, limit=1).next_cursor
    for who, given in ((TWO, {"cursor": cursor}), (ONE, {"cursor": "Zm9v"}), (ONE, {"limit": 0})):
        with pytest.raises(InvalidQuery):
            person(who, **given)
    with pytest.raises(InvalidQuery):
        people(cursor=cursor)
    with pytest.raises(InvalidQuery):
        people(search=1)  # type: ignore[arg-type]


def test_people(log: Log) -> None:
    """The last seen first; of the query's events."""
    log("1", 0)
    log("2", 1)
    log("1", 2)
    log(None, 3, anonymous_id="d")
    log(None, 4)
    found = people()
    assert [(row.person, row.events, row.first_seen, row.last_seen) for row in found.rows] == [
        (Person(anonymous_id="d"), 1, T0 + 3 * MINUTE, T0 + 3 * MINUTE),
        (ONE, 2, T0, T0 + 2 * MINUTE),
        (TWO, 1, T0 + MINUTE, T0 + MINUTE),
    ]
    assert (found.total, found.next_cursor) == (3, None)
    early = people(EventQuery(end=T0 + 2 * MINUTE))
    assert [(row.person, row.events) for row in early.rows] == [(TWO, 1), (ONE, 1)]
    assert people(person=TWO).total == 1
    assert len(found.table().rows) == 3
    assert people(EventQuery(names=("never",))).rows == []


def test_pages_of_people(log: Log) -> None:
    """Everybody once, over moments that many share."""
    for number in range(11):
        log(f"u{number}", number // 5)
    seen: list[Person] = []
    cursor = None
    while True:
        found = people(limit=2, cursor=cursor)
        assert found.total == 11
        seen += [row.person for row in found.rows]
        cursor = found.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 11


def test_search(log: Log) -> None:
    """By a part of any id of theirs, whatever its case; counts are of the query alone."""
    log(None, 0, anonymous_id="Device-9")
    log("Ann@example.com", 1, anonymous_id="Device-9")
    log("bob%", 2)
    log("carl", 3, anonymous_id="other-9", collection="elsewhere")
    log("carl", 4)
    ann = Person(user_id="Ann@example.com")
    assert [row.person for row in people(search="ann@EX").rows] == [ann]
    assert [(row.person, row.events) for row in people(search="device").rows] == [(ann, 2)]
    assert [row.person for row in people(search="%").rows] == [Person(user_id="bob%")]
    assert [row.person for row in people(search="-9").rows] == [Person(user_id="carl"), ann]
    assert people(EventQuery(start=T0 + MINUTE), search="device").rows[0].events == 1
    assert people(search="").total == 3
    assert people(search="nobody").total == people(search="\udc80").total == 0


async def test_twins(log: Log) -> None:
    """The twins answer the same."""
    log("1", 0)
    assert (await aperson(ONE)).events == 1
    assert (await apeople()).total == 1
