"""The order of storing in `mongo`: the log of writes, when writes end half-way, meet each other, or are forgotten."""

import datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.hello import Hello

from littlebro import EventQuery
from littlebro.storage import SaveResult
from littlebro.testing.contracts import make_event as make
from littlebro.testing.contracts.samples import NOON
from littlebro_backends import mongo, mongo_order, mongo_writing
from littlebro_backends.mongo_order import Crowded, Log
from littlebro_backends.mongo_steps import run
from tests.test_mongo import DAY, OPTIONS, backend, database

__all__ = ["backend", "database"]  # the fixtures


def test_a_write_without_an_entry_is_taken_over(
    backend: mongo.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that died between documents and entry is made good when the batch comes again, in any parts."""
    first, lost, last = make(), [make(id=str(n)) for n in range(5)], make()

    def die(*_: Any) -> Any:
        raise ConnectionError("killed here")
        yield

    backend.save_many([first])
    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", die)
        with pytest.raises(ConnectionError):
            backend.save_many(lost)
    backend.save_many([last])
    seen = list(backend.scan_stored())
    assert [event for _, event in seen] == [first, last]
    assert backend.save_many(lost[:2]) == SaveResult(stored=0, duplicates=2)
    assert backend.save_many([*lost, first]) == SaveResult(stored=0, duplicates=6)
    assert [event for _, event in backend.scan_stored(seen[-1][0])] == lost


def test_what_was_sent_before_one_that_cannot_be(
    backend: mongo.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that takes several messages, in the last of which something is refused, is listed as a whole."""
    monkeypatch.setattr(Hello, "max_write_batch_size", 3)  # as if the events were large
    monkeypatch.setattr(mongo_writing, "_WRITE", 2)
    good, odd = [make() for _ in range(8)], make(params={"a\0b": 1})
    assert list(backend.save_many([*good, odd]).refused) == [("littlebro", odd.id)]
    assert sorted(event.id for _, event in backend.scan_stored()) == sorted(event.id for event in good)


def test_redelivery_adds_nothing(backend: mongo.Backend, database: Any) -> None:
    """A batch that comes again leaves no entry."""
    events = [make() for _ in range(3)]
    for _ in range(3):
        backend.save_many(events)
    assert database["littlebro.stored"].count_documents({}) == 1


def test_an_answer_that_was_lost(backend: mongo.Backend, database: Any) -> None:
    """An entry that the driver's own second attempt finds there is the write's own, and written once."""
    token = ObjectId()
    backend.save_many([make()])
    database["littlebro.stored"].insert_one({"_id": 2, "stream": "littlebro", "batch": token, "events": 1})
    log = Log(backend._layout)
    log._last = 1
    run(log.append("littlebro", {token: 1}), database)
    assert [entry["_id"] for entry in database["littlebro.stored"].find()] == [1, 2]


def test_a_purge_forgets_the_order_of_what_is_gone(backend: mongo.Backend, database: Any) -> None:
    """Entries of purged events go, the last one stays, and positions go on from it."""
    for days in (9, 8, 1):
        backend.save_many([make(timestamp=NOON - days * DAY)])
    position = [position for position, _ in backend.scan_stored()][-1]
    database["littlebro.stored"].update_many({}, {"$set": {"at": NOON - 8 * DAY}})
    assert backend.delete_many(EventQuery(end=NOON - 7 * DAY, collections=("littlebro",))) == 2
    assert [entry["_id"] for entry in database["littlebro.stored"].find()] == [3]
    backend.save_many([new := make()])
    assert [event for _, event in backend.scan_stored(position)] == [new]


def test_a_purge_forgets_nothing_that_is_there(
    backend: mongo.Backend, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other streams' entries stay, and those of events from fast clocks; however few are looked at at a time."""
    monkeypatch.setattr(mongo_order, "_ENTRIES", 2)
    kept = [make(collection="audit"), *(make(timestamp=NOON + 2 * DAY) for _ in range(2))]
    gone = [make() for _ in range(5)]
    for batch in ([kept[0]], gone[:1], [kept[1], gone[1]], gone[2:4], [kept[2]], gone[4:], [make()]):
        backend.save_many(batch)
    database["littlebro.stored"].update_many({}, {"$set": {"at": NOON}})
    assert backend.delete_many(EventQuery(end=NOON + DAY, collections=("littlebro",))) == 6
    assert [event for _, event in backend.scan_stored()] == kept
    assert [entry["_id"] for entry in database["littlebro.stored"].find(sort=[("_id", 1)])] == [1, 3, 5, 7]


def test_two_writers_at_one_number(backend: mongo.Backend, database: Any) -> None:
    """A number that another writer has taken is asked for no more: the next one is found, in one attempt more."""
    backend.save_many([make()])
    ours, theirs = Log(backend._layout), Log(backend._layout)
    for log in (ours, theirs, ours, theirs, theirs):
        run(log.append("littlebro", {ObjectId(): 1, ObjectId(): 2}), database)
    numbers = [entry["_id"] for entry in database["littlebro.stored"].find(sort=[("_id", 1)])]
    assert numbers == list(range(1, 12))


def test_a_number_that_is_not_to_be_had(backend: mongo.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many writers the batch comes again, and is listed then."""
    with monkeypatch.context() as patch:
        patch.setattr(mongo_order, "_ATTEMPTS", 0)
        with pytest.raises(Crowded):
            backend.save_many([event := make()])
    assert backend.save_many([event]).duplicates == 1
    assert [found for _, found in backend.scan_stored()] == [event]


@pytest.mark.parametrize("entries, events", [(1, 1), (2, 3), (3, 100), (100, 2)])
def test_a_long_log_is_read_in_parts(
    backend: mongo.Backend, monkeypatch: pytest.MonkeyPatch, entries: int, events: int
) -> None:
    """However few entries and events are read at a time, each comes once, in order, from every position on."""
    monkeypatch.setattr(mongo_order, "_ENTRIES", entries)
    monkeypatch.setattr(mongo_order, "_EVENTS", events)
    stored = []
    for size in (1, 3, 1, 2):
        stored += (batch := [make(collection="ab"[size % 2]) for _ in range(size)])
        backend.save_many(batch)
    pairs = list(backend.scan_stored())
    assert [event for _, event in pairs] == stored
    for place, (position, _) in enumerate(pairs):
        assert list(backend.scan_stored(position)) == pairs[place + 1 :]


def test_expiry_forgets_old_entries_as_well(
    mongodb_url: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TTL_DAYS the log does not grow for ever: now and then entries older than that, and a day, are let go."""
    monkeypatch.setattr(mongo_order, "_TIDY", 5)
    backend = mongo.Backend("default", mongodb_url, {**OPTIONS, "TTL_DAYS": 1})
    for number in range(1, 4):
        backend.save_many([make()])
        old = datetime.datetime.now(datetime.UTC) - 2.1 * DAY
        database["littlebro.stored"].update_one({"_id": number}, {"$set": {"at": old}})
    database["littlebro"].delete_many({})  # as the server does, in its own time
    assert database["littlebro.stored"].count_documents({}) == 3
    for _ in range(3):
        backend.save_many([make()])
    assert [entry["_id"] for entry in database["littlebro.stored"].find(sort=[("_id", 1)])] == [4, 5, 6]
    backend.close()


def test_a_log_without_its_index_is_told(backend: mongo.Backend, database: Any) -> None:
    """`check` says so, and `setup` makes it."""
    database["littlebro.stored"].insert_one({"_id": 1, "batch": ObjectId()})
    [problem] = backend.check()
    assert problem.startswith("The log 'littlebro.stored' has no index littlebro_batch.")
    backend.setup()
    assert backend.check() == []
