"""What others do to the journal's folder under a living process, and what a file system does not offer."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from littlebro import tracker
from littlebro.delivery import losses
from tests.test_journal import stored, use

pytestmark = pytest.mark.django_db(transaction=True)


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def swap(folder: Path) -> None:
    """Put another folder, with files of the same names, into its place."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    move(folder)
    copy.rename(folder)
    for path in folder.rglob("*.active"):
        path.write_bytes(b"")


@pytest.mark.parametrize("harm", [move, swap, shutil.rmtree])
@pytest.mark.parametrize("above", [False, True], ids=["own", "above"])
def test_a_folder_that_is_moved_or_deleted(
    settings: Any, journal: Path, harm: Callable[[Path], None], above: bool
) -> None:
    """What this process writes to follows the path: it is written anew where others look for it."""
    made = use(settings, journal, SEAL_SECONDS=300.0, POLL_SECONDS=300.0)
    assert made.journal is not None
    made.journal._on_work = lambda: None
    for _ in range(3):
        assert tracker.track_event("before")
    harm(journal if above else journal / "default")
    assert tracker.track_event("between")
    made.journal.look()
    assert tracker.track_event("after")
    assert tracker.flush(5)
    assert sorted(set(stored())) == ["after", "before", "between"]
    assert len(stored()) == 5
    assert losses.drain("default") == {}
