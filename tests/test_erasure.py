"""Forgetting a person, keeping what may be kept, and showing one what is known: everywhere, and for good."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from littlebro import Event, EventQuery, tracker, trackers
from littlebro.delivery import deadletters, losses, tombstones
from littlebro.delivery.forget import forget, person
from littlebro.delivery.retention import expired, purge
from littlebro.events.event import encode
from littlebro.exceptions import InvalidQuery, UnsupportedOperation
from littlebro.models import DeadLetter, LossCount, Tombstone
from littlebro.storage import BaseBackend, SaveResult, backends, iterate
from littlebro_backends.memory import Backend as Memory

pytestmark = pytest.mark.django_db(transaction=True)

ANN, BOB = "user-of-that-name", "somebody-else"


class KeepsAll(Memory):
    """A store that cannot delete."""

    supports_delete = False
    delete_many = BaseBackend.delete_many


class ReadsAReplica:
    """Django's own example of a router; the replica has not heard of anything yet."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"


@pytest.fixture(params=["memory", "simple"])
def backend(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {
        "BACKEND": request.param,
        **({"LOCATION": request.node.nodeid} if request.param == "memory" else {}),
    }


@pytest.fixture
def _dummy(settings: Any, request: pytest.FixtureRequest, backend: dict[str, Any]) -> None:
    """Synchronous, with a sink that can delete and one that cannot."""
    settings.LITTLEBRO = {"default": {**backend, "SINKS": ["copy", "archive"]}, **sinks(request)}
    losses.drain("default")


@pytest.fixture
def _thread(settings: Any, request: pytest.FixtureRequest, backend: dict[str, Any], journal: Path) -> None:
    """The same behind a journal whose segments are delivered only when a test says so."""
    options = {"JOURNAL": str(journal), "SEAL_SECONDS": 3600.0, "POLL_SECONDS": 3600.0}
    alias = {**backend, "TRACKER": "thread", "TRACKER_OPTIONS": options}
    settings.LITTLEBRO = {"default": alias, **sinks(request)}
    losses.drain("default")


def sinks(request: pytest.FixtureRequest) -> dict[str, Any]:
    name = request.node.nodeid
    return {
        "copy": {"BACKEND": "memory", "LOCATION": f"{name} copy"},
        "archive": {"BACKEND": "tests.test_erasure.KeepsAll", "LOCATION": f"{name} archive"},
    }


def all_of(alias: str = "default") -> list[Event]:
    return list(iterate(backends[alias], EventQuery()))


def track_some() -> None:
    tracker.track_event("a", user=ANN)
    tracker.track_event("b", user=ANN, collection="other", anonymous_id="x-1")
    tracker.track_event("c", anonymous_id="x-1")
    tracker.track_event("d", user=BOB, anonymous_id="x-2")
    tracker.track_event("e")


@pytest.mark.usefixtures("_dummy")
def test_a_person_is_forgotten_everywhere() -> None:
    """Backend, sinks that can delete, dead letters, every collection; others stay; what was done where is returned."""
    track_some()
    for event in all_of():
        deadletters.add("default", "", [event], {(event.collection, event.id): "odd"})
        deadletters.add("copy", "", [event], {(event.collection, event.id): "of another alias"})
    assert forget("default", user_id=ANN) == {"backend": 2, "copy": 2, "archive": -1, "dead letters": 2}
    assert [event.name for event in all_of()] == [event.name for event in all_of("copy")] == ["c", "d", "e"]
    assert sorted(DeadLetter.objects.filter(alias="default").values_list("name", flat=True)) == [
        "c",
        "d",
        "e",
    ]
    assert DeadLetter.objects.filter(alias="copy").count() == 5
    assert forget("default", anonymous_id="x-1") == {
        "backend": 1,
        "copy": 1,
        "archive": -1,
        "dead letters": 1,
    }
    assert forget("default", user_id=ANN, anonymous_id="x-1")["backend"] == 0
    assert [event.name for event in all_of()] == ["d", "e"]


@pytest.mark.usefixtures("_dummy")
def test_nobody_cannot_be_forgotten() -> None:
    """Naming no person is an error, and deletes nothing."""
    track_some()
    with pytest.raises(InvalidQuery):
        forget("default")
    assert len(all_of()) == 5


@pytest.mark.usefixtures("_dummy")
def test_a_tombstone_tells_nothing() -> None:
    """What stays of a person is a keyed hash: no id in it, another key gives another hash, kinds do not mix."""
    forget("default", user_id=ANN, anonymous_id=ANN)
    marks = set(Tombstone.objects.values_list("digest", flat=True))
    assert len(marks) == 2
    assert all(len(mark) == 64 and ANN not in mark for mark in marks)
    assert tombstones.digest("user", ANN) in marks
    assert tombstones.digest("user", ANN.upper()) not in marks


def test_the_key_of_tombstones_is_a_setting(settings: Any) -> None:
    """LITTLEBRO_FORGET_KEY hashes, by default SECRET_KEY: a rotated SECRET_KEY need not bring people back."""
    plain = tombstones.digest("user", ANN)
    settings.LITTLEBRO_FORGET_KEY = "its own"
    own = tombstones.digest("user", ANN)
    settings.SECRET_KEY = "rotated"
    assert tombstones.digest("user", ANN) == own != plain
    settings.LITTLEBRO_FORGET_KEY = None
    assert tombstones.digest("user", ANN) not in {own, plain}


@pytest.mark.usefixtures("_thread")
def test_what_waits_in_the_journal_goes_too(journal: Path) -> None:
    """Events of the person that nobody has delivered yet are delivered to nowhere, counted; the others are stored."""
    track_some()
    assert all_of() == []
    assert forget("default", user_id=ANN, anonymous_id="x-1")["backend"] == 0
    assert [event.name for event in all_of()] == ["d", "e"]
    assert ANN.encode() not in b"".join(file.read_bytes() for file in journal.rglob("*") if file.is_file())
    trackers["default"].upkeep()
    assert sum(loss.n for loss in LossCount.objects.filter(reason="forgotten")) == 3


@pytest.mark.usefixtures("_thread")
def test_a_late_batch_does_not_bring_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was out of reach while the person was forgotten is delivered without them; new events are kept."""
    with monkeypatch.context() as patch:
        patch.setattr(type(backends["default"]), "save_many", lambda self, events: 1 / 0)
        track_some()
        assert trackers["default"].upkeep()["left"] == 1
        forget("default", user_id=ANN, anonymous_id="x-1")
    tracker.track_event("new", user=ANN)
    assert trackers["default"].upkeep()["left"] == 0
    assert sorted(event.name for event in all_of()) == ["d", "e", "new"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("_dummy")
def test_a_replica_that_is_behind_brings_nobody_back(settings: Any) -> None:
    """Whether a person was forgotten is asked where it was written down."""
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsAReplica"]
    late = tracker.build("late", user=ANN)
    assert late is not None
    forget("default", user_id=ANN)
    tracker.deliver([late])
    assert all_of() == []


@pytest.mark.usefixtures("_thread")
def test_a_person_forgotten_while_a_batch_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tombstone that comes between the look and the write is seen by the second look: what was written is deleted."""
    track_some()
    kind = type(backends["default"])
    write = kind.save_many

    def meanwhile(self: BaseBackend, events: Any) -> Any:
        tombstones.put(ANN, "x-1")
        return write(self, events)

    monkeypatch.setattr(kind, "save_many", meanwhile)
    assert trackers["default"].upkeep()["left"] == 0
    assert [event.name for event in all_of()] == ["d", "e"]
    trackers["default"].upkeep()
    assert sum(loss.n for loss in LossCount.objects.filter(reason="forgotten")) == 3


@pytest.mark.usefixtures("_thread")
def test_a_person_forgotten_while_an_event_of_theirs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look reaches the dead letters too: what the store refused of them is not kept there either."""
    track_some()
    kind = type(backends["default"])
    write = kind.save_many

    def meanwhile(self: BaseBackend, events: Any) -> Any:
        tombstones.put(ANN, "x-1")
        fit = [event for event in events if event.name not in {"a", "d"}]
        refused = {(event.collection, event.id): "odd" for event in events if event not in fit}
        return SaveResult(write(self, fit).stored, 0, refused)

    monkeypatch.setattr(kind, "save_many", meanwhile)
    assert trackers["default"].upkeep()["left"] == 0
    assert list(DeadLetter.objects.values_list("name", flat=True)) == ["d"]
    assert [event.name for event in all_of()] == ["e"]


def test_a_store_that_cannot_delete_says_so(
    settings: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There the late events stay, and the log says that they do, without naming the person."""
    settings.LITTLEBRO = {"default": sinks(request)["archive"]}
    event = tracker.build("late", user=ANN)
    assert event is not None
    write = KeepsAll.save_many

    def meanwhile(self: KeepsAll, events: Any) -> Any:
        tombstones.put(ANN, None)
        return write(self, events)

    monkeypatch.setattr(KeepsAll, "save_many", meanwhile)
    trackers["default"].deliver([event])
    assert all_of() == [event]
    assert "cannot delete" in caplog.text
    assert ANN not in caplog.text


@pytest.mark.usefixtures("_dummy")
def test_forgetting_while_others_deliver() -> None:
    """Whatever the order of threads, once all have ended nothing of the person from before is left."""
    lock = threading.Event()

    def deliver() -> None:
        lock.wait()
        for _ in range(5):
            event = tracker.build("late", user=ANN)
            if event is not None and not Tombstone.objects.exists():
                trackers["default"].deliver([event])

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    lock.set()
    forget("default", user_id=ANN)
    moment = Tombstone.objects.get().forgotten_at
    for thread in threads:
        thread.join()
    assert [event for event in all_of() if event.received_at <= moment] == []


@pytest.mark.usefixtures("_dummy")
def test_more_people_than_one_question_holds() -> None:
    """A batch of a thousand people is looked up in chunks, and only the forgotten one is dropped."""
    tombstones.put("700", None)
    events = [
        tracker.build("x", user=number, timestamp=datetime(2020, 1, 1, tzinfo=UTC)) for number in range(1200)
    ]
    kept = tombstones.without_forgotten([event for event in events if event is not None])
    assert {str(number) for number in range(1200)} - {event.user_id for event in kept} == {"700"}


@pytest.mark.usefixtures("_dummy")
def test_what_is_known_of_a_person() -> None:
    """All events of every collection, each once, by either id; nothing of others."""
    track_some()
    assert [event.name for event in person("default", user_id=ANN)] == ["a", "b"]
    assert [event.name for event in person("default", anonymous_id="x-1")] == ["b", "c"]
    assert [event.name for event in person("default", user_id=ANN, anonymous_id="x-1")] == ["a", "b", "c"]
    assert list(person("default", user_id=ANN.upper())) == []
    assert list(person("default")) == []


@pytest.mark.usefixtures("_dummy")
def test_what_is_known_comes_in_the_order_it_happened() -> None:
    """What a person did before logging in comes before what they did after, each event once."""
    for number, (user, anonymous_id) in enumerate(
        [(None, "x"), (ANN, None), (ANN, "x"), (None, "x"), (BOB, "y")]
    ):
        moment = datetime(2026, 1, 1, 0, number, tzinfo=UTC)
        tracker.track_event(str(number), user=user, anonymous_id=anonymous_id, timestamp=moment)
    assert [event.name for event in person("default", ANN, "x")] == ["0", "1", "2", "3"]


@pytest.fixture
def _kept_ten_days(settings: Any, request: pytest.FixtureRequest, backend: dict[str, Any]) -> None:
    settings.LITTLEBRO = {
        "default": {**backend, "SINKS": ["copy", "archive"], "RETENTION_DAYS": 10},
        **sinks(request),
    }
    now = timezone.now()
    for days, collection in ((0, None), (9, None), (11, None), (400, None), (400, "other")):
        tracker.track_event(f"{days}", collection=collection, timestamp=now - timedelta(days=days))


@pytest.mark.usefixtures("_kept_ten_days")
def test_retention() -> None:
    """Purging deletes what is older than RETENTION_DAYS from the alias's own stream, in its sinks that can, once."""
    assert purge("default") == 2
    assert [(event.name, event.collection) for event in all_of()] == [
        ("400", "other"), ("9", "littlebro"), ("0", "littlebro"),
    ]  # fmt: skip
    assert all_of("copy") == all_of()
    assert len(all_of("archive")) == 5
    assert purge("default") == 0


@pytest.mark.usefixtures("_kept_ten_days")
def test_retention_without_time_zones(settings: Any) -> None:
    """USE_TZ changes nothing about it."""
    settings.USE_TZ = False
    assert purge("default") == 2


@pytest.mark.usefixtures("_dummy")
def test_without_retention_everything_is_kept() -> None:
    """RETENTION_DAYS unset purges nothing."""
    tracker.track_event("old", timestamp=datetime(1990, 1, 1, tzinfo=UTC))
    assert (expired("default"), purge("default"), len(all_of())) == (None, 0, 1)


def test_retention_of_a_store_that_cannot_delete(settings: Any, request: pytest.FixtureRequest) -> None:
    """A retention that the backend cannot keep is an error that names it, and not a silence."""
    settings.LITTLEBRO = {"default": {**sinks(request)["archive"], "RETENTION_DAYS": 1}}
    with pytest.raises(UnsupportedOperation, match=r"LITTLEBRO\['default'\].*KeepsAll"):
        purge("default")


@pytest.mark.usefixtures("_dummy")
def test_dead_letters_are_replayed_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter goes when its destination has the event, and stays with the new reason where not."""
    track_some()
    events = all_of()
    backends["default"].delete_many(EventQuery())
    deadletters.add("default", "", events[:3], {(event.collection, event.id): "odd" for event in events})
    deadletters.add("default", "copy", events[3:4], {(event.collection, event.id): "odd" for event in events})
    deadletters.add_unreadable("default", {"segment:7": b"{torn"})
    deadletters.add_refused(
        [
            {
                "littlebro": "refused",
                "alias": "default",
                "collection": "c",
                "id": "1",
                "name": "x",
                "reason": "bad input",
            }
        ]
    )
    with monkeypatch.context() as patch:
        patch.setattr(type(backends["default"]), "save_many", lambda self, batch: 1 / 0)
        assert deadletters.replay(DeadLetter.objects.filter(event_id=events[0].id)) == (0, 1)
    letter = DeadLetter.objects.get(event_id=events[0].id)
    assert (letter.reason, bytes(letter.body)) == ("ZeroDivisionError: division by zero", encode(events[0]))
    assert deadletters.replay(DeadLetter.objects.all()) == (4, 2)
    assert all_of() == events[:3]
    assert {letter.event_id: letter.attempts for letter in DeadLetter.objects.all()} == {
        "segment:7": 1,
        "1": 1,
    }
    damaged = "The line in the journal is no event; the file was damaged."
    assert list(DeadLetter.objects.order_by("pk").values_list("reason", flat=True)) == [damaged, "bad input"]


def test_letters_are_read_on_whatever_connection_there_is(database_alias: str) -> None:
    """A pooler gives another one after each transaction; one that was closed is opened again."""
    letters = DeadLetter.objects.using(database_alias)
    letters.bulk_create(
        DeadLetter(alias="default", collection="c", event_id=f"{n}", body=b"{torn", reason="")
        for n in range(501)
    )
    became = deadletters.replay_each(letters.all())
    next(became)
    connections[database_alias].close()
    assert sum(1 for _ in became) == 500


@pytest.mark.usefixtures("_dummy")
def test_a_letter_that_comes_again_counts_its_attempts() -> None:
    """The same event refused by the same destination is one letter, with the reason of today."""
    event = tracker.track_event("x")
    assert event is not None
    for reason in ("first", "second"):
        deadletters.add("default", "", [event], {(event.collection, event.id): reason})
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.reason) == (2, "second")
