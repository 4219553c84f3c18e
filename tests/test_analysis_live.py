"""The live view: the newest events as they came in, and who is there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from littlebro.analysis.question import Person
from littlebro.analysis.reports.live import alive, live
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _memory(settings: Any, tmp_path: Any) -> None:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}


def log(number: int, ago: float, received: float, user: str | None = None, **fields: Any) -> Event:
    event = Event(**{
        "id": f"e{number}", "name": "a", "timestamp": NOW - ago * MINUTE, "received_at": NOW - received * MINUTE,
        "params": {"n": number}, "context": {}, "user_id": user, **fields,
    })  # fmt: skip
    backends["default"].save_many([event])
    return event


def test_newest_as_received() -> None:
    """An old event that just came in stands at the top."""
    first, second, third, fourth = log(1, 1, 1), log(2, 1000, 0), log(3, 2, 2), log(4, 2, 1)
    assert live(now=NOW).events == [second, fourth, first, third]
    assert live(now=NOW, limit=2).events == [second, fourth]
    assert live(EventQuery(start=NOW - 60 * MINUTE), now=NOW, limit=1).events == [fourth]
    assert live(now=NOW).table().rows[0][8] == "e2"


def test_people() -> None:
    """Different people with an event in the last 5 and 30 minutes, both ends included."""
    log(1, 5, 0, "1")
    log(2, 5.1, 0, "2")
    log(3, 30, 0, "3")
    log(4, 30.1, 0, "4")
    log(5, 0, 0, None, anonymous_id="d")
    log(6, 40, 0, "1", anonymous_id="d")
    log(7, 0, 0)
    log(8, -1, 0, "future")
    found = live(now=NOW)
    assert (found.people_5, found.people_30) == (1, 3)
    assert live(now=NOW, person=Person(user_id="2")).people_30 == 1
    assert [event.id for event in live(now=NOW, person=Person(user_id="1")).events] == ["e6", "e5", "e1"]


def test_in_the_first_minutes_of_the_calendar() -> None:
    """The minutes before are there, although no datetime reaches back to them."""
    first = datetime.min.replace(tzinfo=UTC)
    log(1, 0, 0, "1", timestamp=first)
    found = live(now=first + 3 * MINUTE)
    assert (found.people_5, found.people_30) == (1, 1)


async def test_empty_and_twin() -> None:
    """Nothing is an answer, also to the twin."""
    found = await alive(now=NOW)
    assert (found.events, found.people_5, found.people_30) == ([], 0, 0)
    assert found.as_json()["events"] == []
    with pytest.raises(InvalidQuery):
        live(limit=0)
