"""Events as lines of JSON at the end of a file: for a log shipper, an archive, another program to read.

LOCATION is the absolute path of the file; there are no options. Write-only and at least once: a batch that
comes again is written again, and each line carries the event's id. A file moved away by logrotate is made
anew; several processes may write to one file, each batch in one piece. A line that a killed process left without its
end stands alone: no event of anybody else's is on it. Files are made readable for their owner alone.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from littlebro.events.event import Event, encode
from littlebro.storage import BaseBackend, SaveResult

__all__ = ["Backend"]


class Backend(BaseBackend):
    """Appends each batch to a file."""

    idempotent: ClassVar[bool] = False
    supports_scan: ClassVar[bool] = False

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        """Take the file's path from `location`; raises `ImproperlyConfigured` unless it is absolute."""
        super().__init__(alias, location, options)
        if not location or not Path(location).is_absolute():
            raise self.misconfigured(
                f"the backend 'log' needs the absolute path of a file in LOCATION, not {location!r}."
            )
        self._path = Path(location)
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._pid = 0

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """See BaseBackend.save_many(); all lines of the batch are in the file afterwards, or none is."""
        if not events:
            return SaveResult(stored=0)
        lines = b"".join([encode(event) + b"\n" for event in events])
        with self._lock:
            self._append(lines)
        return SaveResult(stored=len(events), duplicates=None)

    def check(self) -> list[str]:
        """See BaseBackend.check()."""
        folder = self._path.parent
        if not folder.is_dir():
            return [
                f"There is no folder {str(folder)!r}; make it, for the file {self._path.name!r} to lie in."
            ]
        there = self._path if self._path.exists() else folder
        return [] if os.access(there, os.W_OK) else [f"{str(there)!r} cannot be written by this user."]

    def ping(self) -> None:
        """See BaseBackend.ping(); opens the file, and makes it if need be."""
        with self._lock:
            self._open()

    def close(self) -> None:
        """See BaseBackend.close()."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _append(self, lines: bytes) -> None:
        descriptor = self._open()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe, /dev/stdout: no going back
            _write_all(descriptor, lines)
            return
        # Others hold the same lock while they write: what is cut off after a failure is ours. Not flock(): a child
        # forked at this moment would share that lock, and keep it if this process is killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, b"\n" + lines if _is_torn(descriptor, size) else lines)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)

    def _open(self) -> int:
        """Return a descriptor of the file that has the name now; in a fork, one that is not shared."""
        if self._descriptor is not None and (self._pid != os.getpid() or self._moved(self._descriptor)):
            self.close()
        if self._descriptor is None:
            access = os.O_RDWR if self._is_readable() else os.O_WRONLY
            try:
                self._descriptor = os.open(
                    self._path, access | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except FileNotFoundError as error:  # the file would be made; what is missing is its folder
                folder = str(self._path.resolve().parent)
                raise FileNotFoundError(error.errno, "there is no such folder", folder) from None
            self._pid = os.getpid()
        return self._descriptor

    def _is_readable(self) -> bool:
        return not self._path.exists() or (self._path.is_file() and os.access(self._path, os.R_OK))

    def _moved(self, descriptor: int) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(named, os.fstat(descriptor))


def _is_torn(descriptor: int, size: int) -> bool:
    """Return whether a file of this size ends within a line: a write that is interrupted by SIGKILL stops at a page."""
    try:
        return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    except OSError:  # a file that may be written and not read
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: in one call, unless a full disk or a signal cuts it short."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
