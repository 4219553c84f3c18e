"""The lake: the same answers with it as without it, whatever order events come in."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from littlebro.analysis import lake
from littlebro.analysis.reader import open_reader
from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.storage import BaseBackend
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLLECTIONS = ("littlebro", "other")


class NoOrder(BaseBackend):
    """The two methods of the contract, and nothing else."""

    kept: list[Event] = []  # noqa: RUF012 - one store for all

    def save_many(self, events: Any) -> Any:
        raise AssertionError

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        yield from sorted(self.kept, key=lambda event: event.position)


def made(number: int, chance: random.Random, days: int = 4) -> Event:
    user = chance.choice([None, None, "7", "8", "9"])
    anonymous = chance.choice([None, "a", "b", "c", "d", "e"])
    return Event(
        id=f"e{number}", name=chance.choice("xyz"), timestamp=T0 + timedelta(seconds=chance.randrange(days * 86400)),
        received_at=T0, params={"n": number, "t": "é"}, context={"c": [1]}, user_id=user, anonymous_id=anonymous,
        collection=chance.choice(COLLECTIONS),
    )  # fmt: skip


def expected(events: list[Event]) -> tuple[list[Any], dict[str, str]]:
    """Return, in plain Python, the rows and the links."""
    first: dict[str, Event] = {}
    for event in sorted(events, key=lambda event: event.position):
        if event.anonymous_id is not None and event.user_id is not None:
            first.setdefault(event.anonymous_id, event)
    links = {anonymous: str(event.user_id) for anonymous, event in first.items()}
    rows = sorted(
        (
            event.collection, event.id, event.name, round(event.timestamp.timestamp() * 1e6), event.user_id,
            event.anonymous_id, f'{{"n":{event.params["n"]},"t":"é"}}',
            "u" + event.user_id if event.user_id else
            ("u" + links[event.anonymous_id] if event.anonymous_id in links else
             f"a{event.anonymous_id}" if event.anonymous_id else None),
        )
        for event in events
    )  # fmt: skip
    return rows, links


def found(alias: str = "default") -> tuple[list[Any], dict[str, str]]:
    """Return what a report sees."""
    with open_reader(alias, collections=COLLECTIONS) as reader:
        rows = reader.rows(
            "SELECT collection, id, name, ts, user_id, anonymous_id, params, person FROM people ORDER BY 1, 2"
        )
        keys = dict(
            reader.rows(
                "SELECT md5_number_lower(k), k FROM"
                " (SELECT DISTINCT 'u' || user_id AS k FROM events"
                " UNION SELECT DISTINCT 'a' || anonymous_id FROM events"
                " UNION SELECT 'u' || user_id FROM links)"
                " WHERE k IS NOT NULL"
            )
        )
        links = dict(reader.rows("SELECT anonymous_id, user_id FROM links"))
        assert reader.rows("SELECT count(DISTINCT anonymous_id) = count(*) FROM links") == [(True,)]
    return [(*row[:-1], keys.get(row[-1])) for row in rows], links


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    settings.LITTLEBRO_LAKE = tmp_path / "lake"
    return tmp_path / "lake" / "default"


@pytest.mark.parametrize("seed", range(6))
def test_any_order(folder: Path, seed: int, settings: Any) -> None:
    """Rounds of late, early and repeated events, synced or not: a report sees each of them once."""
    chance = random.Random(seed)
    events: list[Event] = []
    for _round in range(12):
        news = [made(len(events) + n, chance) for n in range(chance.randrange(30))]
        events += news
        backends["default"].save_many(news)
        if chance.random() < 0.6:
            lake.sync(verify=chance.choice([True, False, None]))
        assert found() == expected(events)
    report = lake.contents()
    lake.sync()
    report = lake.contents()
    assert report is not None
    assert report.events == len(events)
    assert report.files <= 6 * 5 * 2
    lake.rebuild()
    assert found() == expected(events)
    assert lake.verify().mended == 0


@pytest.mark.parametrize("seed", range(3))
def test_backend_of_two_methods(folder: Path, seed: int, settings: Any) -> None:
    """A backend that keeps no order of storing is compared whole; what is gone there goes here."""
    chance = random.Random(seed)
    settings.LITTLEBRO = {"default": {"BACKEND": "tests.test_lake.NoOrder"}}
    settings.LITTLEBRO_ANALYSIS_TAIL_EVENTS = chance.choice([1, 10_000])
    NoOrder.kept = []
    for _round in range(5):
        NoOrder.kept += [made(len(NoOrder.kept) * 100 + n, chance) for n in range(30)]
        del NoOrder.kept[: chance.randrange(10)]
        lake.sync()
        assert found() == expected(NoOrder.kept)
    assert lake.verify().mended == 0


def test_deleted_behind_our_back(folder: Path) -> None:
    """Events that are deleted in the store by other ways are gone from reports once counts are compared."""
    chance = random.Random(1)
    events = [made(number, chance) for number in range(50)]
    backends["default"].save_many(events)
    lake.sync()
    backends["default"].delete_many(EventQuery(user_id="7"))
    assert lake.verify().mended
    assert found() == expected([event for event in events if event.user_id != "7"])


def test_another_store(folder: Path, tmp_path: Path) -> None:
    """A store that was emptied and filled again, its positions counted from the beginning, is found out."""
    chance = random.Random(1)
    backends["default"].save_many([made(number, chance) for number in range(50)])
    lake.sync()
    backends["default"].delete_many(EventQuery())
    import littlebro_backends.memory

    littlebro_backends.memory._stores[str(tmp_path)].last = 0
    events = [made(number, chance) for number in range(1000, 1080)]
    backends["default"].save_many(events)
    lake.sync()
    assert found() == expected(events)
