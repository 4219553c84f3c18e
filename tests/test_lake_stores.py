"""The lake over real databases: rows that leave by COPY, transactions that commit out of order, what is forgotten."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from littlebro import trackers
from littlebro.analysis import erasure, lake
from littlebro.analysis.engine import engine
from littlebro.analysis.reader import open_reader
from littlebro.delivery import losses
from littlebro.delivery.deliver import person_queries
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.models import StoredEvent
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


def made(number: int, **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": f"e{number}", "name": "seen", "timestamp": T0 + timedelta(minutes=number), "received_at": T0,
        "params": {"n": number}, "context": {}, **fields,
    }  # fmt: skip
    return Event(**given)


def ids(alias: str = "default") -> list[str]:
    with open_reader(alias) as reader:
        return [row[0] for row in reader.rows("SELECT id FROM events ORDER BY ts, id")]


@pytest.fixture
def store(database_alias: str, settings: Any, tmp_path: Path) -> str:
    settings.LITTLEBRO = {"default": {"BACKEND": "simple", "LOCATION": database_alias}}
    settings.LITTLEBRO_LAKE = tmp_path / "lake"
    return database_alias


def test_rows_are_the_same_by_either_way(store: str) -> None:
    """What `simple` copies out, and what is read event by event, are the same rows, odd texts included."""
    odd = ['quote " and , comma', "back\\slash", "'", "tab", "é\u2028ü", "\\N", "NULL", '""', " lead", "😀"]
    events = [
        made(
            number,
            name=text.replace("\u2028", "x"),
            user_id=text,
            params={"t": text, "f": 1.5, "n": 2**70, text: [None]},
        )
        for number, text in enumerate(odd)
    ]
    events += [
        made(100, timestamp=datetime(1, 1, 1, tzinfo=UTC)),
        made(101, timestamp=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        made(102, timestamp=datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), anonymous_id="x"),
    ]
    backends["default"].save_many(events)
    question = (
        "SELECT id, name, ts, received, user_id, anonymous_id, who, params, context FROM events ORDER BY id"
    )
    with open_reader() as reader:
        before = reader.rows(question)
    assert backends["default"].supports_copy_stored == (store == "postgresql")
    lake.sync()
    assert lake.contents().events == len(events)  # type: ignore[union-attr]
    with open_reader() as reader:
        after = reader.rows(question)
    plain = [
        tuple(json.loads(cell) if place >= 7 else cell for place, cell in enumerate(row)) for row in after
    ]
    assert plain == [
        tuple(json.loads(cell) if place >= 7 else cell for place, cell in enumerate(row)) for row in before
    ]
    assert [row[0] for row in after] == sorted(event.id for event in events)
    assert {row[0]: json.loads(row[7]) for row in after} == {event.id: event.params for event in events}
    assert lake.verify().mended == 0


@pytest.mark.parametrize("database_alias", ["postgresql"], indirect=True)
def test_commits_out_of_order(store: str) -> None:
    """An event whose transaction ends after later ones did is not missed, whoever wrote it."""
    backend = backends["default"]
    backend.save_many([made(0)])
    lake.sync()
    opened, go_on = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic(using=store):
                StoredEvent.objects.using(store).create(
                    event_id="late", name="seen", timestamp=T0 + timedelta(days=1), received_at=T0, params={},
                    context={}, collection="littlebro", v=1,
                )  # fmt: skip
                opened.set()
                go_on.wait(20)
        finally:
            connections[store].close()

    thread = threading.Thread(target=write)
    thread.start()
    opened.wait(20)
    backend.save_many([made(number) for number in range(1, 4)])
    lake.sync()
    assert ids() == ["e0", "e1", "e2", "e3"]
    go_on.set()
    thread.join()
    lake.sync()
    assert ids() == ["e0", "e1", "e2", "e3", "late"]


@pytest.mark.parametrize("database_alias", ["postgresql", "mariadb"], indirect=True)
def test_own_writers_in_a_long_transaction(store: str) -> None:
    """An open transaction of a writer of ours holds back what came after it from the lake, and not from reports."""
    backend = backends["default"]
    backend.save_many([made(0)])
    lake.sync()
    opened, go_on = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic(using=store):
                backend.save_many([made(50)])
                opened.set()
                go_on.wait(20)
        finally:
            connections[store].close()

    thread = threading.Thread(target=write)
    thread.start()
    opened.wait(20)
    backend.save_many([made(1)])
    assert ids() == ["e0", "e1"]
    lake.sync()
    assert lake.contents().events == 1  # type: ignore[union-attr]
    assert ids() == ["e0", "e1"]
    backend.save_many([made(2)])
    assert ids() == ["e0", "e1", "e2"]
    engine.reset()
    assert ids() == ["e0", "e1", "e2"]
    go_on.set()
    thread.join()
    assert ids() == ["e0", "e1", "e2", "e50"]
    lake.sync()
    assert ids() == ["e0", "e1", "e2", "e50"]
    assert lake.verify().mended == 0


def test_forgotten_people_leave_no_byte(store: str, tmp_path: Path, settings: Any) -> None:
    """A person who is forgotten is in no file of the lake or of its scratch folders; who is left is untouched."""
    backend = backends["default"]
    ann, device = "ann-of-the-lake", "device-of-ann"
    for part in range(3):
        backend.save_many(
            [
                made(
                    1000 * part + number, collection=("littlebro", "other")[number % 2],
                    user_id=ann if number % 5 == 0 else "bob", anonymous_id=device if number % 7 == 0 else None,
                    params={"who": ann if number % 5 == 0 else "bob"},
                )
                for number in range(100)
            ]
        )  # fmt: skip
        lake.sync()
        ids()
    backend.save_many([made(9000, user_id=ann), made(9001, user_id="bob")])
    ids()
    before = sum(1 for _ in backend.scan(EventQuery(collections=("littlebro", "other"))))
    erased = erasure.forget("default", user_id=ann, anonymous_id=device)
    assert 0 < erased["lake"] <= erased["backend"]
    left = list(backend.scan(EventQuery()))
    assert len(left) == before - erased["backend"]
    assert not any(list(backend.scan(query)) for query in person_queries([(ann, device)]))
    for path in [*Path(settings.LITTLEBRO_LAKE).rglob("*"), *engine_scratch()]:
        if path.is_file():
            content = path.read_bytes()
            assert ann.encode() not in content, path
            assert device.encode() not in content, path
    with open_reader(collections=("littlebro", "other")) as reader:
        assert reader.rows("SELECT count(*) FROM events") == [(len(left),)]
        assert reader.rows("SELECT * FROM links WHERE anonymous_id = $device", {"device": device}) == []
    assert lake.verify().mended == 0


def engine_scratch() -> list[Path]:
    with engine.session(None) as session:
        return list(session.instance.scratch.path.parent.rglob("*"))


def test_late_events_of_forgotten_people(store: str) -> None:
    """What comes of a forgotten person afterwards is dropped and counted, and reaches no report."""
    backends["default"].save_many([made(1, user_id="ann"), made(2, user_id="bob")])
    lake.sync()
    erasure.forget("default", user_id="ann")
    trackers["default"].deliver([made(3, user_id="ann"), made(4, user_id="bob")])
    lake.sync()
    assert ids() == ["e2", "e4"]
    assert losses.drain("default") == {"forgotten": 1}


def test_retention_reaches_the_lake(store: str, settings: Any) -> None:
    """What is past retention is deleted from the lake too; a day that is cut in two keeps the rest."""
    config = {**settings.LITTLEBRO["default"], "RETENTION_DAYS": 1}
    settings.LITTLEBRO = {"default": config}
    now = timezone.now()
    hours = [1, 10, 22, 26, 30, 80, 200]
    backends["default"].save_many(
        [made(number, timestamp=now - timedelta(hours=number)) for number in hours]
        + [
            made(number + 1000, timestamp=now - timedelta(hours=number), collection="kept")
            for number in hours
        ]
    )
    lake.sync()
    assert erasure.purge("default") == 4
    assert ids() == ["e22", "e10", "e1"]
    with open_reader(collections=("kept",)) as reader:
        assert reader.rows("SELECT count(*) FROM events") == [(7,)]
    assert lake.verify().mended == 0
