"""Segments that cannot be delivered keep no others from their destination, in any process."""

import time
from pathlib import Path
from typing import Any

import pytest

from littlebro import tracker
from littlebro.delivery.segment import write_whole
from littlebro.delivery.spool import Claim
from tests.faults.harness import wait_until
from tests.test_journal import event_line, stored, use

pytestmark = pytest.mark.django_db(transaction=True)


def lay_newer(journal: Path, n: int) -> None:
    """Lay `n` segments into the journal that only a newer littlebro can read."""
    for _ in range(n):
        line = event_line("newer").replace(b'"v":1', b'"v":2')
        write_whole(journal / "default", line, sync=False)


def lay(journal: Path, n: int) -> None:
    for _ in range(n):
        write_whole(journal / "default", event_line("good"), sync=False)


@pytest.mark.parametrize("stuck", [2, 30])
def test_upkeep_gets_past_what_cannot_be_delivered(settings: Any, journal: Path, stuck: int) -> None:
    """It tries what comes behind as well, and tells what is left."""
    made = use(settings, journal)
    lay_newer(journal, stuck // 2)
    lay(journal, 5)
    lay_newer(journal, stuck // 2)
    lay(journal, 5)
    done = made.upkeep()
    assert (done["delivered"], done["left"]) == (10, stuck)
    assert done["reason"].startswith("NewerFormat")
    assert stored() == ["good"] * 10


def test_upkeep_gives_up_where_nothing_can_be_delivered(settings: Any, journal: Path) -> None:
    """It does not try each of thousands while the destination is down."""
    made = use(settings, journal)
    lay(journal, 60)
    tries = []

    def refuse(held: Claim, content: bytes) -> None:
        tries.append(held.name)
        raise ConnectionError("down")

    made.couriers[0]._deliver = refuse
    assert made.upkeep()["left"] == 60
    assert 20 <= len(tries) <= 22


def test_a_process_gets_past_what_cannot_be_delivered(settings: Any, journal: Path) -> None:
    """The background thread delivers what comes behind; a flush that hurries it does not bring it back to the head."""
    use(settings, journal, SEAL_EVENTS=5)
    lay_newer(journal, 2)
    lay(journal, 5)
    for _ in range(20):
        assert tracker.track_event("tracked")
    wait_until(lambda: len(stored()) >= 20, what="delivery without a flush")
    assert not tracker.flush(1)
    assert sorted(stored()) == ["good"] * 5 + ["tracked"] * 20


def test_what_cannot_be_delivered_does_not_keep_segments_from_being_sealed(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few events come they are sealed by time, however long old segments have been failing."""
    monkeypatch.setattr("littlebro.delivery.courier._PROBE_EVERY", 0.5)
    made = use(settings, journal, SEAL_SECONDS=0.1, POLL_SECONDS=0.1)
    lay_newer(journal, 2)
    made.couriers[0].start()
    wait_until(lambda: made.couriers[0].failing, what="a failure")
    time.sleep(0.5)
    for n in range(2):
        assert tracker.track_event("rare")
        wait_until(lambda n=n: len(stored()) > n, what="delivery of a segment that is not full")  # type: ignore[misc]  # mypy knows no default of a lambda
