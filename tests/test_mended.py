"""Faults that were found by reading and by use, each with the promise it broke."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from littlebro import tracker, trackers
from littlebro.delivery import JournalTracker, losses
from littlebro.delivery.segment import write_whole
from littlebro_backends import memory
from tests.faults.harness import wait_until
from tests.test_transactions import rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


class Away(memory.Backend):
    """A store that does not answer until it is told to."""

    away = True

    def save_many(self, events: Any) -> Any:
        if type(self).away:
            raise ConnectionError("away")
        return super().save_many(events)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Away, "away", True)


def alias(journal: Path, tracker_name: str = "thread", **more: Any) -> dict[str, Any]:
    backend = f"{Away.__module__}.{Away.__qualname__}"
    options = {"JOURNAL": str(journal)}
    return {
        "TRACKER": tracker_name,
        "BACKEND": backend,
        "LOCATION": str(journal),
        "TRACKER_OPTIONS": options,
        **more,
    }


@pytest.mark.usefixtures("away")
def test_events_of_an_alias_whose_sinks_were_removed_are_delivered(settings: Any, journal: Path) -> None:
    """Segments that were handed to sinks already do not wait for ever once the setting names none."""
    copy = {"BACKEND": "memory", "LOCATION": f"{journal}-copy"}
    settings.LITTLEBRO = {"default": alias(journal, SINKS=["copy"]), "copy": copy}
    assert tracker.track_event("kept") is not None
    assert not tracker.flush(1)
    assert list(journal.rglob("*.fanned"))
    Away.away = False
    settings.LITTLEBRO = {"default": alias(journal)}
    assert trackers["default"].upkeep()["left"] == 0
    assert [event.name for event in tracker.events().events] == ["kept"]


@pytest.mark.usefixtures("away")
def test_dummy_leaves_no_ghost_in_its_journal(settings: Any, journal: Path) -> None:
    """What the backend did not take inside a transaction reaches the journal only if that commits."""
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": alias(journal, "dummy")}
    with rolled_back():
        assert tracker.track_event("ghost") is not None
    with transaction.atomic():
        assert tracker.track_event("kept") is not None
    Away.away = False
    assert tracker.flush(5)
    assert [event.name for event in tracker.events().events] == ["kept"]
    assert losses.drain("default") == {}


@pytest.mark.parametrize("fsync", ["never", "batch", "event"])
def test_fsync(settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, fsync: str) -> None:
    """Files and the folder that names them are forced to the disk as often as FSYNC says."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append("file"))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append("folder"))
    options = {"JOURNAL": str(journal), "FSYNC": fsync, "SEAL_EVENTS": 3, "SEAL_SECONDS": 60.0}
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "thread",
            "BACKEND": "memory",
            "LOCATION": str(journal),
            "TRACKER_OPTIONS": options,
        }
    }
    for _ in range(4):
        tracker.track_event("synced")
    each = ["folder", "file", "file", "file", "folder", "file"]
    expected = {"never": [], "batch": ["file", "folder"], "event": each}
    wait_until(lambda: synced == expected[fsync], what=f"{expected[fsync]} (last seen: {synced})")
    assert tracker.flush(5)


def test_migrate_says_nothing_of_the_table_it_is_about_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that a newcomer sees is no warning."""
    from littlebro.checks import check_stores

    monkeypatch.setattr("littlebro_backends.simple.Backend.check", lambda self: ["no table"])
    assert [message.id for message in check_stores(databases=["default"])] == ["littlebro.W008"]
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert check_stores(databases=["default"]) == []


@pytest.mark.parametrize("fsync", ["batch", "event"])
def test_fsync_of_a_transaction(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    """A segment that is whole from birth is on the disk with its name when the commit returns."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append("file"))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append("folder"))
    options = {"JOURNAL": str(journal), "FSYNC": fsync, "SEAL_EVENTS": 3, "SEAL_SECONDS": 60.0}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}}
    made = trackers["default"]
    assert isinstance(made, JournalTracker)
    assert made.journal is not None
    made.journal._on_work = lambda: None
    made.journal.append_many([b"{}"] * 3)
    assert synced == ["file", "folder"]
    for path in journal.rglob("*.sealed"):
        path.unlink()


def test_a_segment_whose_name_cannot_be_forced_to_the_disk_is_not_there(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told that it was not written counts its events as lost; it must not be delivered after that."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is ill")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="ill"):
        write_whole(journal, b"line\n", sync=True)
    assert list(journal.iterdir()) == []
