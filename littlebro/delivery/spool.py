"""A folder of sealed segments that wait for one destination: listed oldest first, claimed one at a time.

Flow: the journal puts sealed segments in, a courier claims one (its lock says that nobody else delivers it),
and discards it when the destination has it. Orphans, files whose writer is gone, are sealed here as well.
Knows nothing of what is inside a segment.
"""

import contextlib
import errno
import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from littlebro.delivery import locks
from littlebro.delivery.segment import (
    ACTIVE,
    FANNED,
    PRIVATE,
    SEALED,
    claim,
    fresh_name,
    in_place,
    read_all,
    write_whole,
)

__all__ = ["Claim", "Spool", "Weight"]

logger = logging.getLogger("littlebro")

_KEPT_OPEN: Final = 64
_TROUBLE: Final = "trouble.json"
# How a file system says that it has no hard links, has no more for this file, or that the sink lies on another one.
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


class Claim(NamedTuple):
    """A sealed segment that this process alone may deliver."""

    path: Path
    file: io.FileIO
    lock: Path | None = None  # where another file is locked than the one that is read

    @property
    def name(self) -> str:
        """The segment's random name, the same in every spool that holds a link to it."""
        return self.path.stem

    def content(self) -> bytes:
        """Return what the segment holds."""
        return read_all(self.file) if self.lock is None else self.path.read_bytes()


class Weight(NamedTuple):
    """How much waits: segments, bytes, and the age in seconds of the oldest (0 where none waits)."""

    segments: int
    size: int
    age: float


class Spool:
    """The folder at `folder`; it is made when something is first put in.

    `linked` says that its segments are hard links to another spool's. A lock is the file's and not the name's,
    so each is claimed by a lock file of its own here: else one destination would wait for the other. Where its folder
    takes nothing (another account made it, the disk behind it is full) they come to lie in `spare`.
    """

    def __init__(self, folder: Path, *, linked: bool = False, spare: Path | None = None) -> None:
        self.folder = folder
        self._linked = linked
        self._folders = (folder,) if spare is None else (folder, spare)
        self._told = False
        # Segments sealed by this process, still open and locked: they outlive a deleted folder.
        self._own: dict[str, io.FileIO] = {}
        self._listed: dict[tuple[str, ...], dict[str, Path]] = {}
        self._size = 0  # of what waits, in bytes, as far as this process knows; see is_full
        self._next_weighing = 0.0

    def put(self, path: str, file: io.FileIO) -> None:
        """Take a segment just sealed by this process; beyond a few, its lock is let go for others."""
        if len(self._own) < _KEPT_OPEN:
            self._own[path] = file
        else:
            locks.release(file)

    def _entries(self, *suffixes: str) -> list["os.DirEntry[str]"]:
        """Return the files whose names end so. A folder, a socket or a link was put there by others."""
        found: list[os.DirEntry[str]] = []
        for folder in self._folders:
            try:
                with os.scandir(folder) as entries:
                    found += [
                        entry
                        for entry in entries
                        if entry.name.endswith(suffixes) and entry.is_file(follow_symlinks=False)
                    ]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                if folder is self._folders[-1]:
                    raise
        return found

    def _files(self, *suffixes: str) -> list[Path]:
        """Return these files; a path that was listed before is the same object, since new ones cost much.

        See `segment._create`: a long backlog is listed once a second.
        """
        before = self._listed.get(suffixes, {})
        self._listed[suffixes] = now = {
            entry.path: before.get(entry.path) or Path(entry.path) for entry in self._entries(*suffixes)
        }
        return list(now.values())

    def waiting(self, *suffixes: str) -> list[Path]:
        """Return the sealed segments, oldest first (names sort by time)."""
        found = self._files(*suffixes)
        there = {str(path) for path in found}
        found += [Path(own) for own in list(self._own) if own.endswith(suffixes) and own not in there]
        return sorted(found, key=lambda path: path.name)

    def everything(self) -> list[Path]:
        """Return all segments that wait, handed to the sinks already or not."""
        return self.waiting(SEALED, FANNED)

    def active(self) -> int:
        """Return how many segments are being written, or were by a process that is gone."""
        return len(self._entries(ACTIVE))

    def take(self, path: Path) -> Claim | None:
        """Claim a segment; None where another process delivers it or has done so."""
        if self._linked:
            return self._take_link(path)
        file = self._own.pop(str(path), None) or claim(path)
        return None if file is None else Claim(path, file)

    def _take_link(self, path: Path) -> Claim | None:
        # Named like a private file, so that `adopt` removes one whose maker was killed.
        lock = path.with_name(f"{PRIVATE}{path.stem}.lock")
        try:
            file = locks.hold(lock, "a+")
        except (BlockingIOError, FileNotFoundError, PermissionError):
            return None
        # Deleted by who had it; one of that name is somebody else's by now.
        if not in_place(file.fileno(), lock):
            locks.release(file)
            return None
        held = Claim(path, file, lock)
        if path.exists():
            return held
        self._unlock(held)
        return None

    def give_back(self, held: Claim) -> None:
        """Let go of a segment that could not be delivered; one that lost its name is this process's alone."""
        if held.lock is not None or in_place(held.file.fileno(), held.path):
            self._unlock(held)
        else:
            self.put(str(held.path), held.file)

    def share(self) -> None:
        """Let go of what this process sealed: delivery fails here, and others may be better off."""
        for path in list(self._own):
            file = self._own.pop(path, None)
            if file is not None:
                self.give_back(Claim(Path(path), file))

    def taken(self) -> set[Path]:
        """Return the segments that others hold at this moment, or that are another account's."""
        found = set()
        for path in self.everything():
            with contextlib.suppress(OSError):  # one that nobody can open is held by nobody
                held = self.take(path)
                if held is not None:
                    self.give_back(held)
                elif path.exists():
                    found.add(path)
        return found

    def discard(self, held: Claim) -> None:
        """Delete a segment that is delivered, and let go of it; raises `OSError`, still held, if that fails."""
        with contextlib.suppress(FileNotFoundError):
            self._size -= held.path.stat().st_size
            held.path.unlink()
        self._unlock(held)

    def _unlock(self, held: Claim) -> None:
        if held.lock is not None:
            with contextlib.suppress(OSError):
                held.lock.unlink(missing_ok=True)
        locks.release(held.file)

    def mark_fanned(self, held: Claim) -> None:
        """Give back a segment of which every sink has a link by now."""
        path = held.path.with_suffix(FANNED)
        try:
            os.rename(held.path, path)
        except FileNotFoundError:  # deleted under us: it lives on by its descriptor
            pass
        except OSError:
            self.give_back(held)
            raise
        self.put(str(path), held.file)

    def link(self, held: Claim) -> None:
        """Add a hard link to a segment of another spool, or a copy where that cannot be or has no name any more."""
        self._size += os.fstat(held.file.fileno()).st_size
        *others, last = self._folders
        for folder in others:
            try:
                self._link_into(folder, held)
            except OSError as error:
                if not self._told:
                    logger.warning("littlebro: %s takes no file, %s does instead: %s", folder, last, error)
                self._told = True
            else:
                self._told = False
                return
        self._link_into(last, held)

    def _link_into(self, folder: Path, held: Claim) -> None:
        target = folder / f"{held.name}{SEALED}"
        for _ in range(2):
            try:
                os.link(held.path, target)
            except FileExistsError:
                return
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                break
            else:
                return
        write_whole(folder, held.content(), sync=False, name=target.name)

    def adopt(self) -> int:
        """Seal the active segments whose writers are gone; return how many. Torn private files are removed."""
        adopted = 0
        for path in self._files(ACTIVE):
            if (file := _claimed(path)) is not None:
                with contextlib.suppress(OSError):  # gone, or in a folder that is read-only for now
                    os.rename(path, path.with_suffix(SEALED))
                    adopted += 1
                locks.release(file)
        for path in self._strays():
            if (file := _claimed(path)) is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
                locks.release(file)
        return adopted

    def _strays(self) -> Iterator[Path]:
        """Yield private files older than a minute: their makers died between making and naming them."""
        for entry in self._entries(""):
            with contextlib.suppress(FileNotFoundError):
                if entry.name.startswith(PRIVATE) and entry.stat().st_mtime < time.time() - 60:
                    yield Path(entry.path)

    def weigh(self) -> Weight:
        """Return what waits here, sealed and fanned segments alike."""
        size, oldest, files = 0, time.time(), 0
        for entry in self._entries(SEALED, FANNED):
            try:
                found = entry.stat(follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):  # delivered since
                continue
            files, size, oldest = files + 1, size + found.st_size, min(oldest, found.st_mtime)
        return Weight(files, size, max(0.0, time.time() - oldest) if files else 0.0)

    def is_full(self, most: int, every: float) -> bool:
        """Return whether `most` bytes wait here.

        All is weighed every so many seconds (it may be the files of many days); in between, what this process does is
        reckoned.
        """
        if (now := time.monotonic()) >= self._next_weighing:
            self._size = self.weigh().size
            self._next_weighing = now + every
        return self._size >= most

    def let_go(self) -> None:
        """Close all that this process holds open; the files stay."""
        while self._own:
            with contextlib.suppress(KeyError):
                locks.release(self._own.popitem()[1])

    def report(self, reason: str | None) -> None:
        """Note for `littlebro status` why delivery fails at present, or, with None, that it works again."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                if reason is None:
                    (folder / _TROUBLE).unlink(missing_ok=True)
                    continue
                private = folder / f"{PRIVATE}{fresh_name()}"
                private.write_bytes(msgspec.json.encode({"at": time.time(), "reason": reason}))
                private.replace(folder / _TROUBLE)
                return

    def trouble(self) -> str | None:
        """Return why delivery fails at present, as the delivering process noted it."""
        for folder in self._folders:
            with contextlib.suppress(OSError, msgspec.MsgspecError, KeyError, TypeError):
                return str(msgspec.json.decode((folder / _TROUBLE).read_bytes())["reason"])
        return None


def _claimed(path: Path) -> io.FileIO | None:
    """Claim a file as `claim` does; one that cannot be opened at all is left for later, and keeps no others waiting."""
    try:
        return claim(path)
    except OSError:
        return None
