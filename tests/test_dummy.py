"""The tracker `dummy`: one attempt before the call returns; what failed is kept in a journal, or counted and logged."""

import asyncio
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from littlebro import tracker, trackers
from littlebro.delivery import losses, tombstones
from littlebro.exceptions import EventRefused
from littlebro.models import DeadLetter, LossCount, StoredEvent
from littlebro.storage import SaveResult, backends
from tests.test_tracker import fail

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _aliases(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.LITTLEBRO_STRICT = False
    use(settings, request)
    losses.drain("default")


def use(settings: Any, request: pytest.FixtureRequest, **options: Any) -> None:
    """Let the default alias and its sink be stores that can fail."""
    path, name = "tests.test_tracker.Fragile", request.node.nodeid
    settings.LITTLEBRO = {
        "default": {"BACKEND": path, "LOCATION": name, "SINKS": ["sink"], "TRACKER_OPTIONS": options},
        "sink": {"BACKEND": path, "LOCATION": f"{name} sink"},
    }


def names(alias: str = "default") -> list[str]:
    return [event.name for event in trackers[alias].events().events]


def test_a_backend_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without a journal the event is lost; counted, logged without its payload; the sink has it."""
    fail("default", monkeypatch, ConnectionError("away"))
    assert tracker.track_event("x", {"v": "payload"}) is None
    assert (names(), names("sink")) == ([], ["x"])
    assert losses.drain("default") == {"not-stored": 1}
    assert "ConnectionError: away" in caplog.text
    assert "payload" not in caplog.text


def test_a_sink_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink fails for itself alone: the event is stored and returned, the sink's loss counted under its name."""
    fail("sink", monkeypatch, ConnectionError("away"))
    assert tracker.track_event("x") is not None
    assert (names(), names("sink")) == (["x"], [])
    assert losses.drain("default") == {"not-stored:sink": 1}


def test_an_event_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backend will never take becomes a dead letter at once, whether it names the event or just refuses."""

    def by_name(events: Any) -> SaveResult:
        return SaveResult(0, 0, {(event.collection, event.id): "too odd" for event in events})

    monkeypatch.setattr(backends["default"], "trouble", by_name)
    tracker.track_event("a", event_id="1", user=7)
    fail("default", monkeypatch, EventRefused("odd in general"))
    tracker.track_event("b", event_id="2")
    letters = {letter.event_id: letter for letter in DeadLetter.objects.all()}
    assert {key: (letter.reason, letter.sink, letter.user_id) for key, letter in letters.items()} == {
        "1": ("too odd", "", "7"),
        "2": ("odd in general", "", None),
    }
    assert losses.drain("default") == {"dead-letter": 2}
    assert names("sink") == ["a", "b"]


def test_a_journal_keeps_what_failed(
    settings: Any, request: pytest.FixtureRequest, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a JOURNAL the event waits there, is delivered once the store is back, and nothing is counted as lost."""
    use(settings, request, JOURNAL=str(journal))
    assert tracker.track_event("stored") is not None
    assert not journal.exists()
    fail("default", monkeypatch, ConnectionError("away"))
    assert tracker.track_event("kept") is not None
    assert trackers["default"].upkeep()["left"] == 1
    assert names() == ["stored"]
    monkeypatch.setattr(backends["default"], "trouble", None)
    assert tracker.flush(20)
    assert (names(), names("sink")) == (["stored", "kept"], ["stored", "kept"])
    assert losses.drain("default") == {}
    assert not LossCount.objects.exists()


def test_a_journal_keeps_what_a_sink_failed(
    settings: Any, request: pytest.FixtureRequest, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a sink; the backend, which has the event already, is not harmed by getting it again."""
    use(settings, request, JOURNAL=str(journal))
    fail("sink", monkeypatch, ConnectionError("away"))
    assert tracker.track_event("kept") is not None
    monkeypatch.setattr(backends["sink"], "trouble", None)
    assert tracker.flush(20)
    assert (names(), names("sink")) == (["kept"], ["kept"])


def test_tracking_while_delivering_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that tracks would go round in circles: its event is dropped and counted."""
    inner: list[Any] = []

    def trouble(events: Any) -> None:
        inner.append(tracker.track_event("inner"))

    monkeypatch.setattr(backends["default"], "trouble", trouble)
    assert tracker.track_event("outer") is not None
    assert inner == [None]
    assert names() == ["outer"]
    assert losses.drain("default") == {"inside-delivery": 1}


async def test_in_an_event_loop_it_warns_once_and_stores(settings: Any) -> None:
    """The sync call in a running loop stores through a helper thread, and warns the first time."""
    settings.LITTLEBRO = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            assert tracker.track_event("x", event_id=str(number)) is not None
    [warning] = [one for one in caught if one.category is RuntimeWarning]
    assert "atrack_event" in str(warning.message)
    assert warning.filename == __file__
    assert await StoredEvent.objects.acount() == 3


async def test_in_an_event_loop_the_async_form_stores(settings: Any) -> None:
    """The async call stores through Django's own thread, many at once, without a warning."""
    settings.LITTLEBRO = {}
    await asyncio.gather(*[tracker.atrack_event("x", event_id=str(number)) for number in range(20)])
    assert await StoredEvent.objects.acount() == 20


def test_an_error_never_poisons_the_callers_transaction(settings: Any, database_alias: str) -> None:
    """A failed write, and even a failed dead letter, leaves the transaction around it usable, on each database."""
    settings.LITTLEBRO = {"default": {"LOCATION": database_alias}}

    def fails(events: Any) -> None:
        connection = transaction.get_connection(database_alias)
        with transaction.atomic(using=database_alias), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    backend = backends["default"]
    with transaction.atomic(using=database_alias):
        assert tracker.track_event("before") is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(backend), "_write", lambda self, *_: fails(None))
            assert tracker.track_event("lost") is None
        assert tracker.track_event("after") is not None
    assert names() == ["before", "after"]


def test_a_dead_letter_that_cannot_be_written_leaves_the_transaction_alone(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the table of dead letters is away the event is counted as not stored, and the caller's work goes on."""
    settings.LITTLEBRO = {"default": {"BACKEND": "tests.test_tracker.Fragile", "LOCATION": "letters"}}
    fail("default", monkeypatch, EventRefused("odd"))

    monkeypatch.setattr(DeadLetter, "_do_insert", lambda *_, **__: 1 / 0)
    with transaction.atomic():
        assert tracker.track_event("x") is None
        assert not StoredEvent.objects.exists()
    assert losses.drain("default") == {"not-stored": 1}


def test_many_threads(settings: Any) -> None:
    """Threads that track at once, the first of them building the tracker, lose nothing."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "threads"}}
    threads = [
        threading.Thread(target=lambda: [tracker.track_event("x") for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tracker.events(limit=1000).events) == 400
    assert len(trackers.all()) == 1


def test_what_a_forgotten_person_did_before_stays_forgotten(settings: Any) -> None:
    """An event that is dated back is dropped and counted, as behind a journal; a new one of theirs is kept."""
    settings.LITTLEBRO = {}
    tombstones.put("7", None)
    for name, moment in (("old", datetime(2020, 1, 1, tzinfo=UTC)), ("new", None)):
        for user in (7, 8):
            tracker.track_event(name, user=user, timestamp=moment)
    found = StoredEvent.objects.order_by("pk").values_list("name", "user_id")
    assert list(found) == [("old", "8"), ("new", "7"), ("new", "8")]
    assert losses.drain("default") == {"forgotten": 1}
