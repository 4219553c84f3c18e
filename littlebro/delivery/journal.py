"""The journal of one alias: lines in at the pen, sealed segments out into a spool.

An event is accepted when `append` returns: its line is in the page cache, in a file that outlives
`kill -9`. A full segment is sealed by an assistant; time-based sealing, adoption and delivery are the
courier's. Safe under threads, signal handlers that track while tracking, and forks. Knows lines, not events.
"""

import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from littlebro.delivery import filesystem, locks
from littlebro.delivery.assistant import Assistant
from littlebro.delivery.segment import Segment, sync_folder, write_whole
from littlebro.delivery.spool import Spool
from littlebro.exceptions import LittlebroError

__all__ = ["Journal", "JournalRefused"]

# What is reserved for a segment follows what the one before it used, so that little of it is left over.
_ROOM: Final = 16 * 1024
_FIRST_ROOM: Final = 256 * 1024
# Batches of fewer bytes join the active segment: a file each would be a file a transaction.
_SMALL: Final = 64 * 1024
# Full segments that wait for the assistant; a process that fills them faster seals by itself.
_MOST_FULL: Final = 2
# A full journal refuses each event, and asks for a courier only so often, in seconds.
_CALL_EVERY: Final = 1.0
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_journals: Final[weakref.WeakSet["Journal"]] = weakref.WeakSet()


class JournalRefused(LittlebroError):
    """The journal did not take a line; `reason` is one of `losses.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Journal:
    """The active segment of this process, in `folder`.

    `options` are those of `littlebro.conf.defaults.JOURNAL_OPTIONS`. `on_work` is called, at the pen or not, when
    a segment was opened or sealed, and now and then while the journal is full, so that a courier can start or
    wake up. `on_lost(reason, n)` is told of accepted events that cannot be kept after all (a deleted folder
    that cannot be made again); never at the pen, since it logs, and a handler of logs may track.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Any],
        on_work: Callable[[], None],
        on_lost: Callable[[str, int], None],
    ) -> None:
        kind = filesystem.kind(folder)
        if kind in filesystem.NETWORK:
            message = f"the journal {folder} lies on a network file system ({kind}); it needs a local disk."
            raise ImproperlyConfigured(message)
        self.folder = folder
        self.spool = Spool(folder)
        self._mapped = kind in filesystem.MAPPABLE
        self._seal_events: int = options["SEAL_EVENTS"]
        self._seal_bytes: int = options["SEAL_BYTES"]
        self._room = min(_FIRST_ROOM, self._seal_bytes)
        self._max_bytes: int = options["MAX_BYTES"]
        self._sync_each = options["FSYNC"] == "event"
        self._sync_sealed = options["FSYNC"] == "batch"
        self._on_work = on_work
        self._on_lost = on_lost
        self._assistant = Assistant(folder.name, self._seal_full, self._make_spare)
        self._start_anew()
        _journals.add(self)

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._waiting: int | None = None
        self._next_call = 0.0
        # Re-entrant: a signal handler may track while its own thread is at the pen.
        self._lock = threading.RLock()
        self._sealing = threading.RLock()
        self._writing = False
        self._segment: Segment | None = None
        self._full: deque[Segment] = deque()
        self._sealed_before = False
        self._deleted: list[Segment] = []
        self._unsealed: set[str] = set()  # could not be renamed, and wait to be adopted
        self._gone: list[tuple[str, int]] = []  # lost, and not told yet: why, and how many events

    def after_fork(self) -> None:
        """Let go of what was inherited: descriptors carry the parent's locks, and its lines are its own."""
        locks.forked()
        self._assistant.reset()  # before a signal handler that tracks could take the parent's spare
        segments = [self._segment, *self._full]
        self._start_anew()
        for segment in segments:
            if segment is not None:
                segment.abandon()
        self.spool.let_go()

    def append(self, line: bytes) -> None:
        """Write one line; when this returns, the line outlives the process.

        Raises `JournalRefused` when the journal or its disk is full, or its folder takes no file.
        """
        if os.getpid() != self._pid:  # a fork that Python did not see
            self.after_fork()
        with self._lock:
            if self._writing:
                self._write_aside(line)
                return
            self._writing = True
            try:
                segment = self._segment or self._begin(len(line) + 1)
                # A full segment is left by the call that opens the next, or sealed by the courier's next look.
                if segment.events >= self._seal_events or not segment.write(line):
                    segment = self._turn(segment, len(line) + 1)
                    segment.write(line)
                if self._sync_each:
                    segment.sync()
            except OSError as error:
                raise _refusal(error) from error
            finally:
                self._writing = False

    def append_many(self, lines: Iterable[bytes]) -> None:
        """Write many lines: a few into the active segment, more as segments of their own, complete from birth."""
        if os.getpid() != self._pid:
            self.after_fork()
        batch: list[bytes] = []
        size = 0
        for line in lines:
            batch.append(line)
            size += len(line) + 1
            if len(batch) >= self._seal_events or size >= self._seal_bytes:
                self._write_batch(batch)
                batch, size = [], 0
        if size >= _SMALL:
            self._write_batch(batch)
        elif batch:
            self._append_batch(batch)

    def _append_batch(self, batch: list[bytes]) -> None:
        """Append a batch in one write, all of it or nothing."""
        try:
            with self._lock:  # held until they are counted, so that it is their segment that counts them
                if not self._writing:
                    self.append(b"\n".join(batch))
                    if self._segment is not None:
                        self._segment.events += len(batch) - 1
                    return
        except JournalRefused as refusal:
            self._on_lost(refusal.reason, len(batch))
            return
        self._write_batch(batch)  # interrupted at the pen, this thread may write no more than a segment aside

    def _write_batch(self, batch: list[bytes]) -> None:
        content = b"\n".join(batch) + b"\n"
        try:
            self._make_room(len(content))
            write_whole(self.folder, content, sync=self._sync_each or self._sync_sealed)
        except OSError as error:
            self._on_lost(_refusal(error).reason, len(batch))
        except JournalRefused as refusal:
            self._on_lost(refusal.reason, len(batch))
        else:
            self._count_waiting(len(content))
            self._on_work()

    def append_note(self, line: bytes) -> None:
        """Write one line as a segment of its own, whatever waits already: counts must find room."""
        try:
            write_whole(self.folder, line + b"\n", sync=self._sync_each or self._sync_sealed)
        except OSError as error:
            raise _refusal(error) from error
        self._on_work()

    def _write_aside(self, line: bytes) -> None:
        """Write a segment of one line: this thread was interrupted at the pen, whose state is half changed."""
        try:
            write_whole(self.folder, line + b"\n", sync=self._sync_each)
        except OSError as error:
            raise _refusal(error) from error
        self._count_waiting(len(line))

    def _make_room(self, size: int) -> None:
        if self._waiting is None:
            self._waiting = self.spool.weigh().size
        if self._waiting + size > self._max_bytes:
            # Somebody has to carry away what fills it, or to see that others did.
            if (now := time.monotonic()) >= self._next_call:
                self._next_call = now + _CALL_EVERY
                self._on_work()
            message = f"{self.folder} holds {self._waiting} bytes of at most {self._max_bytes} (MAX_BYTES)"
            raise JournalRefused("journal-full", message)

    def _count_waiting(self, size: int) -> None:
        self._waiting = (self._waiting or 0) + size

    def make_way(self, size: int) -> None:
        """Let as many bytes come in again as were delivered; `look` weighs exactly, but only now and then."""
        if self._waiting is not None:
            self._waiting = max(0, self._waiting - size)

    def _begin(self, size: int) -> Segment:
        segment = self._open(size)
        self._on_work()
        if self._sealed_before and not self._assistant.has_spare:  # this one will be followed by another
            self._assistant.start()
        return segment

    def _open(self, size: int) -> Segment:
        self._make_room(size)
        self._segment = segment = self._assistant.take(size) or self._make_segment(size)
        if self._sync_each:
            sync_folder(self.folder)
        return segment

    def _make_segment(self, size: int, *, spare: bool = False) -> Segment:
        capacity = max(self._room if self._mapped else self._seal_bytes, size)
        return Segment(self.folder, capacity, mapped=self._mapped, spare=spare)

    def _make_spare(self) -> Segment:
        return self._make_segment(0, spare=True)

    def _turn(self, full: Segment, size: int) -> Segment:
        """Open the next segment, and leave the full one to the assistant."""
        self._segment = None
        self._full.append(full)
        self._reckon_with(full)
        if full.events < self._seal_events:  # it ran out of room
            self._room = min(2 * full.size, self._seal_bytes)
        try:
            return self._open(size)
        finally:
            # The assistant is called now, and not before: it would make the caller wait for the interpreter.
            most = _MOST_FULL if self._assistant.start() else 0
            if len(self._full) > most:
                self._finish(self._full.popleft())
                self._on_work()

    def _reckon_with(self, segment: Segment) -> None:
        """Count a segment that is to be sealed as waiting, and learn from it how much room the next one needs."""
        self._count_waiting(segment.size)
        self._sealed_before = True
        # A quarter more than was used, in whole steps.
        self._room = min((segment.used * 5 // 4 // _ROOM + 1) * _ROOM, self._seal_bytes)

    def _finish(self, segment: Segment) -> None:
        """Turn a segment into a sealed one; with its folder deleted or moved, write it anew."""
        try:
            if self._sync_sealed:
                segment.sync()
            if not segment.is_in_place():
                raise FileNotFoundError(errno.ENOENT, "the journal was deleted or moved", segment.path)
            self.spool.put(*segment.seal())
        except OSError:
            self._set_aside(segment)
        if self._sync_sealed:
            with contextlib.suppress(OSError):
                sync_folder(self.folder)

    def _set_aside(self, segment: Segment) -> None:
        """Let go of a segment that cannot be renamed: adopted later if it is in place, else written anew."""
        try:
            if segment.is_in_place():
                self._unsealed.add(segment.path)
                segment.abandon()
                return
            write_whole(self.folder, segment.content(), sync=self._sync_sealed)
        except OSError as error:
            self._gone.append((_refusal(error).reason, segment.events))
        # To close the last descriptor of a deleted file is to delete it: milliseconds, not for the caller.
        self._deleted.append(segment)

    def seal(self, least: int = 0) -> None:
        """Seal the active segment, if there is one and it holds `least` events or more."""
        if os.getpid() != self._pid:
            self.after_fork()
        # A signal handler that interrupted its own thread at the pen: whoever seals may be waiting for that pen.
        if self._is_at_pen():
            return
        # One at a time, so that whoever comes second finds sealed what the first one took. The pen is free
        # meanwhile: a file system may take milliseconds.
        with self._sealing:
            segments = self._take(least)
            for segment in segments:
                self._finish(segment)
            if segments:
                self._on_work()

    def _is_at_pen(self) -> bool:
        """Return whether this thread holds the pen's lock."""
        try:
            threading.Condition(self._lock).notify(
                0
            )  # nobody waits; it raises where the lock is not this thread's
        except RuntimeError:
            return False
        return True

    def _seal_full(self) -> None:
        """Seal what the pen left, and nothing else."""
        self.seal(least=sys.maxsize)

    def _take(self, least: int) -> list[Segment]:
        """Take the full segments, and the active one from the pen if it holds `least` events or more."""
        with self._lock:
            self._writing = True  # a signal handler between these lines would write to what is being taken
            try:
                taken = list(self._full)
                self._full.clear()
                segment = self._segment
                if segment is not None and segment.events >= least:
                    self._segment = None
                    self._reckon_with(segment)
                    taken.append(segment)
                return taken
            finally:
                self._writing = False

    def look(self) -> float | None:
        """Weigh what waits, seal the active segment if it is full or not in place; return its age in seconds."""
        self.seal(least=self._seal_events)
        self._bury()
        self.has_unsealed()  # which forgets those that are adopted by now
        self._waiting = self.spool.weigh().size
        segment = self._segment
        if segment is not None and not segment.is_in_place():
            self.seal()
        segment = self._segment
        return None if segment is None else segment.age

    def has_unsealed(self) -> bool:
        """Return whether a segment that could not be sealed still waits to be adopted."""
        for path in list(self._unsealed):
            with contextlib.suppress(OSError):  # a folder that may not be entered for now
                if not Path(path).exists():
                    self._unsealed.discard(path)
        return bool(self._unsealed)

    @property
    def is_open(self) -> bool:
        """Whether a segment is at the pen."""
        return self._segment is not None

    def close(self) -> None:
        """Seal, and let go of every descriptor; a later `append` opens the journal again."""
        self._assistant.close()
        self.seal()
        self._bury()
        self.spool.let_go()

    def _bury(self) -> None:
        while self._deleted:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._deleted.pop().abandon()
        while self._gone:
            with contextlib.suppress(IndexError):
                self._on_lost(*self._gone.pop())


def _refusal(error: OSError) -> JournalRefused:
    reason = "journal-full" if error.errno in _FULL else "journal-unavailable"
    return JournalRefused(reason, str(error))


def _after_fork_in_child() -> None:
    for journal in list(_journals):
        journal.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
