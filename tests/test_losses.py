"""Counts of losses: exact, idempotent on the segment that carried them, small in the end."""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.test import RequestFactory

from littlebro import Event, tracker, trackers
from littlebro.delivery import JournalTracker, deadletters, losses, tombstones
from littlebro.delivery.courier import Courier
from littlebro.models import DeadLetter, LossCount
from littlebro.storage import SaveResult
from littlebro_backends.memory import Backend
from tests.faults.harness import wait_until
from tests.installing import Settings

pytestmark = pytest.mark.django_db

TODAY = datetime.now(UTC).date()


def note(day: date, **counts: int) -> dict[str, object]:
    return {"littlebro": "loss", "alias": "default", "day": day.isoformat(), "counts": counts}


def total() -> dict[str, int]:
    sums: dict[str, int] = {}
    for reason, n in LossCount.objects.values_list("reason", "n"):
        sums[reason] = sums.get(reason, 0) + n
    return sums


def test_a_segment_that_comes_twice_counts_once() -> None:
    """The name of the segment makes the counts it carries idempotent."""
    for _ in range(3):
        losses.store([note(TODAY, invalid=2), note(TODAY, invalid=3)], "segment-a")
    losses.store([note(TODAY, invalid=1)], "segment-b")
    assert total() == {"invalid": 6}


def test_old_counts_are_summed_and_young_ones_stay() -> None:
    """Rows of segments that cannot come again become one row; the sum never changes."""
    old = TODAY - timedelta(days=10)
    for number in range(20):
        losses.store([note(old, invalid=1, dropped=2)], f"old-{number}")
    losses.store([note(TODAY, invalid=5)], "young")
    for _ in range(2):
        losses.compact()
        assert total() == {"invalid": 25, "dropped": 40}
        assert LossCount.objects.count() == 3
    losses.store([note(old, invalid=7)], "late")
    losses.compact()
    assert total() == {"invalid": 32, "dropped": 40}
    assert LossCount.objects.count() == 3


def test_counts_are_bounded_whatever_plugins_put_into_them() -> None:
    """Reasons beyond a thousand are counted together, and none is lost."""
    losses.drain("flood")
    for number in range(1500):
        losses.count("flood", f"dropped:{number}")
    taken = losses.drain("flood")
    assert sum(taken.values()) == 1500
    assert len(taken) <= 1001
    assert taken["other"] >= 499


def test_what_could_not_be_written_is_put_back() -> None:
    """`restore` undoes `drain`."""
    losses.drain("again")
    losses.count("again", "invalid", 3)
    losses.restore("again", losses.drain("again"))
    assert losses.pending("again") == {"invalid": 3}
    assert losses.drain("again") == {"invalid": 3}
    assert losses.pending("again") == {}


class CountsAsItStores(Backend):
    """A store that counts a loss with each batch, as dead letters and plugins do on the delivering side."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        losses.count("default", "invalid-context")
        return super().save_many(events)


@pytest.mark.django_db(transaction=True)
def test_counts_of_the_last_delivery_start_no_courier_that_stays(settings: Settings, tmp_path: Path) -> None:
    """They wait in the journal when the tracker closes; a thread that carried them would never be stopped."""
    options = {"JOURNAL": str(tmp_path / "journal"), "SEAL_SECONDS": 60.0}
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "thread",
            "BACKEND": f"{__name__}.CountsAsItStores",
            "TRACKER_OPTIONS": options,
        }
    }
    assert tracker.track_event("one") is not None
    kept = trackers["default"]
    kept.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("littlebro-")] == []
    kept.upkeep()
    assert total() == {"invalid-context": 1}
    assert losses.pending("default") == {}
    assert tracker.track_event("two") is not None  # and it works again
    assert tracker.flush(10)
    assert [event.name for event in tracker.events().events] == ["one", "two"]


@pytest.mark.django_db(transaction=True)
def test_who_tracks_while_the_tracker_closes_is_delivered(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that another thread tracks at the last moment need not wait until somebody tracks again."""
    options = {"JOURNAL": str(tmp_path / "journal"), "SEAL_SECONDS": 0.1}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}}
    assert tracker.track_event("one") is not None
    kept = trackers["default"]
    assert isinstance(kept, JournalTracker)
    assert kept.journal is not None
    seal = kept.journal.close

    def meanwhile() -> None:
        seal()
        assert tracker.track_event("two") is not None

    monkeypatch.setattr(kept.journal, "close", meanwhile)
    kept.close()
    wait_until(lambda: len(tracker.events().events) == 2, what="the second event")
    monkeypatch.undo()


@pytest.mark.django_db(transaction=True)
def test_losses_from_before_the_first_file_are_told(settings: Settings, journal: Path) -> None:
    """Where no file could be made at all nothing was ever opened; they are written down once one can be."""
    options = {"JOURNAL": str(journal), "POLL_SECONDS": 0.1}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}}
    journal.touch()  # in the place of the folder
    assert tracker.track_event("lost") is None
    with transaction.atomic():
        assert tracker.track_event("lost") is not None
    journal.unlink()
    wait_until(lambda: total() == {"journal-unavailable": 2}, what="the counts")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["call", "build"])
def test_a_process_that_does_nothing_but_lose_events_tells_of_it(
    settings: Settings, journal: Path, rf: RequestFactory, door: str
) -> None:
    """A worker that serves nobody but visitors who opted out writes its counts down as others do."""
    losses.drain("default")
    options = {"JOURNAL": str(journal), "SEAL_SECONDS": 0.1, "POLL_SECONDS": 0.1}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}}
    lose = tracker.track_event if door == "call" else tracker.build
    for _ in range(3):
        assert lose("seen", request=rf.get("/", headers={"DNT": "1"})) is None
    wait_until(lambda: total() == {"opted-out": 3}, what="counts that nobody asked for")


class _Refusing(Backend):
    """It takes nothing, and says so in words that no database takes."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        return SaveResult(0, 0, {(event.collection, event.id): "half \ud800 and\0" for event in events})


class _Forgetting(Backend):
    """A person is forgotten while it writes."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        tombstones.put("7", None)
        return super().save_many(events)


def test_a_replay_does_not_count_once_more(settings: Settings) -> None:
    """What is refused again was lost already."""
    losses.drain("default")
    settings.LITTLEBRO = {"default": {"BACKEND": f"{__name__}._Refusing"}}
    tracker.track_event("poison")
    assert deadletters.replay(DeadLetter.objects.all()) == (0, 1)
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.reason) == (2, r"half \ud800 and\x00")
    assert losses.drain("default") == {"dead-letter": 1}


def test_an_event_that_a_sink_takes_back_is_lost_once(settings: Settings) -> None:
    """It is the backend that tells whether the event of somebody forgotten is lost."""
    losses.drain("default")
    settings.LITTLEBRO = {
        "default": {"BACKEND": "memory", "SINKS": ["sink"]},
        "sink": {"BACKEND": f"{__name__}._Forgetting"},
    }
    built = trackers["default"].build("seen", user="7")
    assert built is not None
    for destination in ("sink", ""):
        trackers["default"].delivery_to(destination).save([built])
    assert losses.drain("default") == {"forgotten": 1}


class _Interrupted(int):
    """A number at which, when it is looked at, a signal handler counts: what is there already, and something new."""

    def __bool__(self) -> bool:
        losses.count("default", "first", 10)
        losses.count("default", f"new-{len(losses._counts)}")
        return True


def test_a_signal_handler_may_count_while_counts_are_taken() -> None:
    """Neither fails, and nothing that is counted in between is lost."""
    losses.drain("default")
    losses._counts["default", "first"] = _Interrupted(1)
    assert losses.pending("default")["first"] == 1
    assert losses.drain("default")["first"] == 11
    losses._counts["default", "first"] = _Interrupted(1)
    taken = losses.drain("default")["first"]
    assert taken + losses.drain("default")["first"] == 11


def test_the_log_tells_of_the_first_loss(
    settings: Settings, caplog: pytest.LogCaptureFixture, rf: RequestFactory
) -> None:
    """Without a journal no other process sees the counts: the log says why, of the visitor's own wish too."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "in-the-log"}}
    losses.drain("default")
    with caplog.at_level("INFO", "littlebro"):
        for _ in range(3):
            assert tracker.track_event("seen", request=rf.get("/?q=private", headers={"DNT": "1"})) is None
        losses.count("default", "forgotten", 0)
        losses.restore("default", losses.drain("default"))
    assert caplog.messages == [
        f"littlebro[default]: events are lost, and counted as opted-out. {losses.REASONS['opted-out']}"
    ]
    assert losses.drain("default") == {"opted-out": 3}


def test_a_handler_of_logs_that_tracks_may_lose_what_it_tracks(
    settings: Settings, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of the loss of its own event no more."""
    options = {"JOURNAL": str(journal), "MAX_BYTES": 1}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}}
    losses.drain("default")
    monkeypatch.setattr(Courier, "start", lambda _: True)  # none that takes the counts in between
    told = []

    class Tracking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.levelname)
            assert tracker.track_event("logged", on_commit=False) is None

    handler = Tracking()
    logging.getLogger("littlebro").addHandler(handler)
    try:
        assert tracker.track_event("seen", on_commit=False) is None
    finally:
        logging.getLogger("littlebro").removeHandler(handler)
    assert told == ["ERROR"]
    assert losses.drain("default") == {"journal-full": 2}
