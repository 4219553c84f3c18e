"""One active segment: an append-only file of JSON lines that one process writes and holds locked.

Flow: the journal hands a line in, the bytes are in the page cache when `write` returns (they outlive
`kill -9`); `seal` hands a complete, renamed file out, still locked. Two ways to write: through a map of
preallocated blocks, which keeps the interpreter's lock and so never waits for a busy thread, or, where the
file system cannot promise the blocks, by `os.write`. Knows nothing of events, queues or caps.
"""

import contextlib
import errno
import io
import mmap
import os
import time
from pathlib import Path
from typing import Final

from uuid_utils import uuid7

from littlebro.delivery import locks

__all__ = [
    "ACTIVE",
    "FANNED",
    "PRIVATE",
    "SEALED",
    "Segment",
    "claim",
    "fresh_name",
    "in_place",
    "read_all",
    "sync_folder",
    "write_whole",
]

ACTIVE: Final = ".active"
SEALED: Final = ".sealed"
FANNED: Final = ".fanned"
PRIVATE: Final = ".new-"

# Pages of a map are made ready so many bytes at a time: mostly all at once, when the segment is opened, and not
# in one call of ten. In smaller steps the longest call is shorter, and one request of a hundred longer.
_AHEAD: Final = 512 * 1024
# A spare's pages are filled with these first: that finds memory for them, and lets other threads run meanwhile.
_ZEROS: Final = bytes(64 * 1024)
_MADV_POPULATE_WRITE: Final = 23  # Linux 5.14, <asm-generic/mman-common.h>
_PAGE_MASK: Final = -mmap.PAGESIZE
# Little room left, a file system without the promise, or a process with as many maps, as much memory or as many files
# as it may have (a map takes a descriptor of its own): then lines are written by os.write, one by one.
_NO_MAP: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG),
    *(errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE),
}
# Reserved room that nobody wrote to is given back only where it is worth the wait for the file system.
_WORTH_CUTTING: Final = 64 * 1024


def fresh_name() -> str:
    """Return a name that sorts by time and never collides (two containers may share a pid, not this)."""
    return uuid7().hex


def _create(folder: Path) -> tuple[io.FileIO, str, str]:
    """Create a private file in `folder`, locked before any other process can know its name; give path and name.

    At the pen a path is a text: each new `Path` has the interpreter keep its name in a table, which it makes anew, in
    up to 0.1 s, after some ten thousand names; a journal that refuses tries one a call.
    """
    name = fresh_name()
    path = os.path.join(folder, f"{PRIVATE}{name}")
    try:
        return locks.hold(path, "x+"), path, name
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return locks.hold(path, "x+"), path, name


class Segment:
    """The file at the pen. Not thread-safe: the journal's lock surrounds every call."""

    def __init__(self, folder: Path, capacity: int, *, mapped: bool, spare: bool = False) -> None:
        """Open a segment with room for `capacity` bytes; raises `OSError` where the folder takes no file.

        A spare one stays private until `take_place`, and other threads can run while it is made.
        """
        self._file, self.path, name = _create(folder)
        self._place = os.path.join(folder, f"{name}{ACTIVE}")
        self._descriptor = self._file.fileno()
        self._end = 0
        self.capacity = capacity
        self._ready = capacity
        self._reserved = 0
        self._map: mmap.mmap | None = None
        self._opened = time.monotonic()
        self.events = 0
        try:
            if mapped:
                self._preallocate(spare=spare)
            if not spare:
                self.take_place()
        except BaseException:
            self.discard()
            raise

    def take_place(self) -> None:
        """Become the active segment, which others adopt when this process is gone; raises `OSError`."""
        os.rename(self.path, self._place)
        self.path = self._place
        self._opened = time.monotonic()

    def _preallocate(self, *, spare: bool) -> None:
        try:
            os.posix_fallocate(self._descriptor, 0, self.capacity)
            self._map = locks.map_file(self._descriptor, self.capacity)
        except OSError as error:
            if error.errno not in _NO_MAP:
                raise
            os.ftruncate(self._descriptor, 0)
        else:
            self._reserved, self._ready = self.capacity, 0
            if spare:
                for start in range(0, self.capacity, len(_ZEROS)):
                    os.pwrite(self._descriptor, _ZEROS[: self.capacity - start], start)
            self._make_ready(1)

    @property
    def used(self) -> int:
        """Bytes written so far."""
        return self._end

    @property
    def size(self) -> int:
        """Bytes of the file once it is sealed: what was written, and the rest of what is reserved if that is little."""
        rest = self._reserved - self._end
        return self._end if rest > max(self._end, _WORTH_CUTTING) else max(self._end, self._reserved)

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
        if end > self._ready and not self._make_ready(end):
            return False
        if self._map is not None:
            self._map[start:end] = line + b"\n"
        elif (written := os.write(self._descriptor, line + b"\n")) != end - start:
            # From where it was written: a handler that raises may have come between an earlier write and its count.
            os.ftruncate(self._descriptor, os.lseek(self._descriptor, -written, os.SEEK_CUR))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end = end
        self.events += 1
        return True

    def _make_ready(self, end: int) -> bool:
        """Let the kernel prepare the pages up to `end` and some more; return False where they do not exist."""
        if end > self.capacity or self._map is None:
            return False
        start, self._ready = self._ready, min(self.capacity, (end + _AHEAD) & _PAGE_MASK)
        with contextlib.suppress(OSError):  # an older kernel prepares each page when it is written to
            self._map.madvise(_MADV_POPULATE_WRITE, start, self._ready - start)
        return True

    def sync(self) -> None:
        """Force what was written to the disk itself."""
        os.fdatasync(self._descriptor)

    def is_in_place(self) -> bool:
        """Return whether the file still is where it was made (somebody may have deleted or renamed the folder)."""
        return in_place(self._descriptor, self.path)

    def content(self) -> bytes:
        """Return what was written, through the descriptor, whether the file still has a name or not."""
        return os.pread(
            self._descriptor, self._end if self._reserved else os.fstat(self._descriptor).st_size, 0
        )

    def seal(self) -> tuple[str, io.FileIO]:
        """Rename the file to its sealed name; return that and the open file, which still holds the lock.

        The file may end in reserved room, NUL bytes: to cut it off takes milliseconds on ext4. Raises `OSError`
        where the name is gone; `content` then still gives the lines.
        """
        sealed = f"{self.path.removesuffix(ACTIVE)}{SEALED}"
        if self._map is not None:
            locks.unmap(self._map)
            self._map = None
            if self.size < self._reserved:
                os.ftruncate(self._descriptor, self._end)
                self._reserved = self._end
        os.utime(self._descriptor)  # a map leaves the time as it was; a spare may have waited for long
        os.rename(self.path, sealed)
        self._descriptor = -1
        return sealed, self._file

    def abandon(self) -> None:
        """Close file and map, leaving the file's name and, for other holders, its lock as they are."""
        if self._map is not None:
            locks.unmap(self._map)
            self._map = None
        if self._descriptor >= 0:
            locks.release(self._file)
            self._descriptor = -1

    def discard(self) -> None:
        """Close it and remove its file, where nobody else did: nothing is in it."""
        if self.is_in_place():
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.abandon()


def write_whole(folder: Path, lines: bytes, *, sync: bool, name: str = "") -> Path:
    """Write a segment that is sealed from birth; raises `OSError` and leaves nothing behind on failure.

    `name` is the file's, if it is to have a certain one; a file of that name is replaced.
    """
    file, private, fresh = _create(folder)
    path = folder / (name or f"{fresh}{SEALED}")
    try:
        written = 0
        while written < len(lines):
            written += os.write(file.fileno(), lines[written:])
        if sync:
            os.fdatasync(file.fileno())
        os.rename(private, path)
        private = str(path)
        if sync:
            sync_folder(folder)
    except OSError:
        _remove(private)
        raise
    finally:
        locks.release(file)
    return path


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_folder(folder: Path) -> None:
    """Force the names of the segments to the disk as well: without its name a file is lost with its bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(path: Path) -> io.FileIO | None:
    """Return the open file at `path`, which holds its lock, or None where another has it.

    After locking it looks whether the name still stands for the file: another process may have delivered
    and deleted it in between. A file that may not be opened is another account's, and for it to deliver.
    """
    try:
        file = locks.hold(path, "r+")
    except (BlockingIOError, FileNotFoundError, PermissionError):
        return None
    if in_place(file.fileno(), path):
        return file
    locks.release(file)
    return None


def in_place(descriptor: int, path: str | Path) -> bool:
    """Return whether an open file is the one at `path`: it, or its folder, may have been deleted, or moved away.

    Where that cannot be known (a folder that may not be entered for now) nothing was deleted.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def read_all(file: io.FileIO) -> bytes:
    """Return the whole content of an open segment."""
    parts: list[bytes] = []
    offset = 0
    while part := os.pread(file.fileno(), 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
