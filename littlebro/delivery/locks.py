"""Open files that hold a lock: every descriptor of the journal is opened and closed here.

A forked child inherits descriptors, and with them locks that would outlive the parent: orphans could not be
adopted while the child lives. So a child closes them all, those that other threads were busy with included.
Knows nothing of segments.
"""

import fcntl
import mmap
import os
import threading
from typing import Final

__all__ = ["forked", "hold", "map_file", "release", "unmap"]

_MODE: Final = 0o600

# Held across a fork (see the end), so that no descriptor is open and not yet noted. Re-entrant for signal handlers.
_noting = threading.RLock()
_held: Final[dict[int, tuple[int, int]]] = {}  # descriptor -> device and inode
_maps: Final[set[mmap.mmap]] = set()
_pid = os.getpid()


def hold(path: str | os.PathLike[str], flags: int) -> int:
    """Open the file at `path` and lock it; return the descriptor.

    Raises `BlockingIOError` where another process, or another descriptor of this one, holds the lock.
    """
    if os.getpid() != _pid:
        forked()
    with _noting:
        descriptor = os.open(path, flags | os.O_CLOEXEC, _MODE)
        found = os.fstat(descriptor)
        _held[descriptor] = (found.st_dev, found.st_ino)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        release(descriptor)
        raise
    return descriptor


def release(descriptor: int) -> None:
    """Close a descriptor that `hold` returned; one that a fork took away is left alone."""
    if os.getpid() != _pid:
        forked()
    with _noting:
        if _held.pop(descriptor, None) is not None:
            os.close(descriptor)


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
        descriptor, identity = _held.popitem()
        try:
            found = os.fstat(descriptor)
            # A program that closes all its descriptors to become a daemon may have given the number to another.
            if (found.st_dev, found.st_ino) == identity:
                os.close(descriptor)
        except OSError:
            pass


def _before() -> None:
    _noting.acquire()


def _in_parent() -> None:
    _noting.release()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=forked)
