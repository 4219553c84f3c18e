"""Counts of losses: exact, idempotent on the segment that carried them, small in the end."""

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.test import RequestFactory

from littlebro import Event, tracker, trackers
from littlebro.delivery import JournalTracker, losses
from littlebro.models import LossCount
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


def test_each_loss_is_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture, rf: RequestFactory
) -> None:
    """Without a journal no other process sees the counts: the log has them, of the visitor's own wish too."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "in-the-log"}}
    losses.drain("default")
    with caplog.at_level("INFO", "littlebro"):
        assert tracker.track_event("seen", request=rf.get("/?q=private", headers={"DNT": "1"})) is None
    assert caplog.messages == ["littlebro[default]: 1 counted as opted-out"]
    caplog.clear()
    with caplog.at_level("INFO", "littlebro"):
        losses.restore("default", losses.drain("default"))
    assert caplog.messages == []  # told already
    assert losses.drain("default") == {"opted-out": 1}
