"""Folders for what an engine writes while it works: lines on their way in, sorts that do not fit into memory.

A folder belongs to one process, which holds a lock in it for as long as it lives; what a killed process left is
removed by the next one that comes along. Personal data lies here for moments only, readable by its owner alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from littlebro.delivery import locks

__all__ = ["Scratch", "sweep"]

_LOCK: Final = "lock"


class Scratch:
    """One process's own folder under `root`, removed by `close`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(root)
        # Nobody sweeps a name that begins with a dot: it is in place only when it is locked.
        new = root / f".{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        self._lock = locks.hold(new / _LOCK, "a+")
        self.path = new.rename(root / new.name[1:])

    def is_there(self) -> bool:
        """Return whether the folder still exists: somebody may have deleted it."""
        return self.path.is_dir()

    def file(self, suffix: str) -> Path:
        """Return the path of a file that does not exist yet."""
        return self.path / f"{secrets.token_hex(8)}{suffix}"

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        locks.release(self._lock)


def default_root() -> Path:
    """Return this user's folder under the system's temporary one; refuse one that somebody else has made."""
    root = Path(tempfile.gettempdir()) / f"littlebro-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix="littlebro-"))
    return root


def sweep(root: Path) -> None:
    """Remove the folders under `root` whose processes are gone."""
    for folder in root.iterdir():
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        try:
            held = locks.hold(folder / _LOCK, "r+")
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            locks.release(held)
