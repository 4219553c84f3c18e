"""One active segment: an append-only file of JSON lines that one process writes and holds locked.

Flow: the journal hands a line in, the bytes are in the page cache when `write` returns (they outlive
`kill -9`); `seal` hands a complete, renamed file out, still locked. Two ways to write: through a map of
preallocated blocks, which keeps the interpreter's lock and so never waits for a busy thread, or, where the
file system cannot promise the blocks, by `os.write`. Knows nothing of events, queues or caps.
"""

import errno
import fcntl
import mmap
import os
import time
from pathlib import Path
from typing import Final

from uuid_utils import uuid7

__all__ = [
    "ACTIVE",
    "FANNED",
    "PRIVATE",
    "SEALED",
    "Segment",
    "claim",
    "fresh_name",
    "read_all",
    "write_whole",
]

ACTIVE: Final = ".active"
SEALED: Final = ".sealed"
FANNED: Final = ".fanned"
PRIVATE: Final = ".new-"
_MODE: Final = 0o600


def fresh_name() -> str:
    """Return a name that sorts by time and never collides (two containers may share a pid, not this)."""
    return uuid7().hex


def _create(folder: Path) -> tuple[int, Path]:
    """Create a private file in `folder`, locked before any other process can know its name."""
    path = folder / f"{PRIVATE}{fresh_name()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, _MODE)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, flags, _MODE)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor, path


class Segment:
    """The file at the pen. Not thread-safe: the journal's lock surrounds every call."""

    def __init__(self, folder: Path, capacity: int, *, mapped: bool) -> None:
        """Open a segment with room for `capacity` bytes; raises `OSError` where the folder takes no file."""
        self._descriptor, private = _create(folder)
        self._end = 0
        self._capacity = capacity
        self._map: mmap.mmap | None = None
        self._opened = time.monotonic()
        self.events = 0
        try:
            if mapped:
                self._preallocate()
            self.path = private.with_name(f"{private.name.removeprefix(PRIVATE)}{ACTIVE}")
            os.rename(private, self.path)
        except BaseException:
            self.abandon()
            private.unlink(missing_ok=True)
            raise

    def _preallocate(self) -> None:
        try:
            os.posix_fallocate(self._descriptor, 0, self._capacity)
        except OSError as error:
            # Little room left, or a file system without the promise: go on by os.write, line by line.
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG}:
                raise
            os.ftruncate(self._descriptor, 0)
        else:
            self._map = mmap.mmap(self._descriptor, self._capacity)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._end

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    def write(self, line: bytes) -> bool:
        """Append one line; return False, with nothing written, where it does not fit.

        Raises `OSError` (disk full) after taking back what a short write left behind.
        """
        start = self._end
        end = start + len(line) + 1
        if end > self._capacity:
            return False
        if self._map is not None:
            self._map[start:end] = line + b"\n"
        elif os.write(self._descriptor, line + b"\n") != end - start:
            os.ftruncate(self._descriptor, start)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end = end
        self.events += 1
        return True

    def sync(self) -> None:
        """Force what was written to the disk itself."""
        os.fdatasync(self._descriptor)

    def is_linked(self) -> bool:
        """Return whether the file still has a name (somebody may have deleted the folder)."""
        return os.fstat(self._descriptor).st_nlink > 0

    def content(self) -> bytes:
        """Return what was written, through the descriptor, whether the file still has a name or not."""
        return os.pread(self._descriptor, self._end, 0)

    def seal(self) -> tuple[Path, int]:
        """Rename the file to its sealed name; return that and the descriptor, which still holds the lock.

        Raises `OSError` where the name is gone; `content` then still gives the lines.
        """
        sealed = self.path.with_suffix(SEALED)
        if self._map is not None:
            self._map.close()
            self._map = None
            os.ftruncate(self._descriptor, self._end)
        os.rename(self.path, sealed)
        descriptor, self._descriptor = self._descriptor, -1
        return sealed, descriptor

    def abandon(self) -> None:
        """Close descriptor and map, leaving the file and, for other holders, its lock as they are."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_whole(folder: Path, lines: bytes, *, sync: bool) -> Path:
    """Write a segment that is sealed from birth; raises `OSError` and leaves nothing behind on failure."""
    descriptor, private = _create(folder)
    try:
        written = 0
        while written < len(lines):
            written += os.write(descriptor, lines[written:])
        if sync:
            os.fdatasync(descriptor)
        sealed = private.with_name(f"{private.name.removeprefix(PRIVATE)}{SEALED}")
        os.rename(private, sealed)
    except OSError:
        private.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return sealed


def claim(path: Path) -> int | None:
    """Return a descriptor that holds the lock of the file at `path`, or None where another has it.

    After locking it looks whether the name still stands for the file: another process may have delivered
    and deleted it in between.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def read_all(descriptor: int) -> bytes:
    """Return the whole content of an open segment."""
    parts: list[bytes] = []
    offset = 0
    while part := os.pread(descriptor, 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
