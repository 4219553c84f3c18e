"""What others do to the journal's folder under a living process, and what a file system does not offer."""

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from littlebro import tracker, trackers
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


def bind(path: Path) -> None:
    link = socket.socket(socket.AF_UNIX)
    link.bind(str(path))
    link.close()


FOREIGN: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "socket": bind,
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", ["0.sealed", "0.fanned", "0.active", ".new-0"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_file_is_left_alone(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    """A thing of another kind under the name of a segment stops neither delivery nor upkeep, and is not waited for."""
    made = use(settings, journal, SEAL_SECONDS=300.0, POLL_SECONDS=0.1)
    folder = journal / "default"
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.chdir(folder)  # the address of a socket is short
        FOREIGN[kind](Path(name))
    os.utime(folder / name, (1, 1), follow_symlinks=False)
    assert tracker.track_event("tracked")
    assert tracker.flush(2)
    done = made.upkeep()
    assert (done["left"], done["reason"]) == (0, "")
    assert stored() == ["tracked"]
    assert os.path.lexists(folder / name)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK])
def test_a_file_system_without_hard_links(
    settings: Any, journal: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Sinks get copies there."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    alias = {"BACKEND": "memory", "LOCATION": f"{journal}-sink"}
    use(settings, journal)
    settings.LITTLEBRO = {"default": {**settings.LITTLEBRO["default"], "SINKS": ["sink"]}, "sink": alias}
    for _ in range(3):
        assert tracker.track_event("tracked")
    assert tracker.flush(5)
    assert stored() == ["tracked"] * 3
    assert [event.name for event in trackers["sink"].events().events] == ["tracked"] * 3
