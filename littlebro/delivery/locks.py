"""Open files that hold a lock: every descriptor of the journal is opened and closed here.

A forked child inherits descriptors, and with them locks that would outlive the parent: orphans could not be
adopted while the child lives. So a child closes them all, those that other threads were busy with included.
Knows nothing of segments.
"""

import fcntl
import functools
import io
import mmap
import os
import threading
import weakref
from typing import Final

__all__ = ["forked", "hold", "map_file", "release", "unmap"]

_open: Final = functools.partial(os.open, mode=0o600)

# Held across a fork (see the end), so that no descriptor is open and not yet noted. Re-entrant for signal handlers.
_noting = threading.RLock()
# Weak, so that file and lock go with their last owner: an exception out of a signal handler may keep him from letting
# go of them himself. Both kinds close in one step, in C, where no handler can come between. File -> device and inode.
_held: Final[weakref.WeakKeyDictionary[io.FileIO, tuple[int, int]]] = weakref.WeakKeyDictionary()
_maps: Final[weakref.WeakSet[mmap.mmap]] = weakref.WeakSet()
_foreign: Final[list[io.FileIO]] = []
_pid = os.getpid()


def hold(path: str | os.PathLike[str], mode: str) -> io.FileIO:
    """Open the file at `path` and lock it; `mode` is that of `open`: ``x+``, ``r+`` or ``a+``.

    Raises `BlockingIOError` where another process, or another descriptor of this one, holds the lock.
    """
    if os.getpid() != _pid:
        forked()
    with _noting:
        file = io.FileIO(path, mode, opener=_open)
        found = os.fstat(file.fileno())
        _held[file] = (found.st_dev, found.st_ino)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        release(file)
        raise
    return file


def release(file: io.FileIO) -> None:
    """Close a file that `hold` returned; once more does no harm. One that a fork took away is left alone."""
    if os.getpid() != _pid:
        forked()
    with _noting:
        if file in _held:
            file.close()
            _held.pop(file, None)


def map_file(descriptor: int, size: int) -> mmap.mmap:
    """Map the first `size` bytes of a file. A map holds the lock too, by itself and by a descriptor of its own."""
    if os.getpid() != _pid:
        forked()
    with _noting:
        mapped = mmap.mmap(descriptor, size)
        _maps.add(mapped)
    return mapped


def unmap(mapped: mmap.mmap) -> None:
    """Close a map that `map_file` returned; once more does no harm."""
    with _noting:
        _maps.discard(mapped)
        mapped.close()


def forked() -> None:
    """Close, in a forked child, what it inherited; a second call does nothing."""
    global _noting, _pid  # noqa: PLW0603 - one table a process is the point
    if os.getpid() == _pid:
        return
    _pid = os.getpid()
    _noting = threading.RLock()
    while _maps:
        _maps.pop().close()
    while _held:
        file, identity = _held.popitem()
        try:
            found = os.fstat(file.fileno())
        except (OSError, ValueError):  # closed
            continue
        if (found.st_dev, found.st_ino) == identity:
            file.close()
        else:
            # A program that closes all its descriptors to become a daemon may have given the number to another.
            _foreign.append(file)


def _before() -> None:
    _noting.acquire()


def _in_parent() -> None:
    _noting.release()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=forked)
