"""What belongs to a lake: one small file, replaced as a whole, that names all the others.

In and out: a `Manifest`. The files it names never change and have random names; a new state is new files and then a
new manifest, so that whoever reads sees the old state or the new one. One writer at a time, by a lock. Knows nothing
of what is in the files.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from littlebro import conf
from littlebro.delivery import filesystem, locks
from littlebro.exceptions import LakeError

__all__ = ["FORMAT", "Busy", "File", "Lake", "Links", "Manifest", "Numbered", "People", "lake_of", "store_of"]

FORMAT: Final = 3
_MANIFEST: Final = "manifest.json"
_LOCK: Final = "lock"
_POLL: Final = 0.05
# Seconds beyond the time a question may take, for which files that no manifest names stay.
_GRACE: Final = 60.0
_CHUNK: Final = 1 << 20

Numbered = tuple[int, int]
"""How many numbers users were given, and how many anonymous ids."""


class Busy(LakeError):
    """Raised when somebody else is writing to the lake and the caller would not wait."""


class Links(msgspec.Struct, frozen=True):
    """A file of links: the first user of each anonymous id, among the events that it was made of."""

    name: str
    rows: int
    bytes: int
    crc: int


class People(Links, frozen=True):
    """A file of people: the number of each key that events bear."""


class File(msgspec.Struct, frozen=True):
    """A file of events: one collection, one UTC day (counted from 1970-01-01), sorted by name and then time.

    `keys` are the plain ones that its parameters and contexts have, such as ``params/plan``, or None where that is not
    known; `own` those that have a column.
    """

    name: str
    collection: str
    day: int
    rows: int
    bytes: int
    crc: int
    start: int
    end: int
    keys: tuple[str, ...] | None = None
    own: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True):
    """A file that no question begun from now on will read, and when it was taken out (seconds since the epoch)."""

    name: str
    at: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A state of the lake.

    `made` is random, and new when the lake is begun anew; `number` counts the states that differ in their files.
    `position` is the last one in the order of storing that is in, `anchor` one some events before, from which the next
    sync reads again; both None for a backend that keeps no such order. `ahead` are the days of which events behind
    `position` may be in already. `links` are files of links, together those of all `files`, the large one first; None
    where they are to be made anew. `people` are files of people, together those of all `files`, or None likewise;
    `numbered` says how many have a number. Times are seconds since the epoch.
    """

    v: int = FORMAT
    made: str = ""
    number: int = 0
    store: str = ""
    position: str | None = None
    anchor: str | None = None
    ahead: tuple[int, ...] = ()
    complete: bool = False
    files: tuple[File, ...] = ()
    links: tuple[Links, ...] | None = ()
    people: tuple[People, ...] | None = ()
    numbered: Numbered = (0, 0)
    removed: tuple[Removed, ...] = ()
    synced_at: float = 0.0
    verified_at: float = 0.0

    @property
    def rows(self) -> int:
        """Return how many events are in."""
        return sum(file.rows for file in self.files)

    @property
    def version(self) -> str:
        """Return a text that is another one whenever an answer may be, or a file that it is read from."""
        return f"{self.made}:{self.number}"

    def on_disk(self) -> Iterator[File | Links]:
        """Yield every file that a question may read."""
        yield from self.files
        yield from self.links or ()
        yield from self.people or ()

    def with_files(self, add: Iterable[File] = (), remove: Iterable[File] = (), **changes: Any) -> Manifest:
        """Return this state with other files of events. The caller sees to the links: `changes` may hold them."""
        gone = {file.name for file in remove}
        files = (*(file for file in self.files if file.name not in gone), *add)
        return msgspec.structs.replace(self, files=files, **changes)


_decoder: Final = msgspec.json.Decoder(Manifest)


class Lake:
    """The folder of one store's lake."""

    def __init__(self, alias: str, folder: Path) -> None:
        self.alias = alias
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where the file called `name` is."""
        return self.folder / name

    def new(self, kind: str = "events") -> Path:
        """Return the path of a file that does not exist yet."""
        return self.folder / f"{kind}-{secrets.token_hex(8)}.parquet"

    def load(self) -> Manifest | None:
        """Return the present state, or None where there is no lake (or one that this littlebro cannot read)."""
        try:
            found = _decoder.decode(self.path(_MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError, UnicodeError):
            return None
        return found if found.v == FORMAT else None

    def begin(self) -> Manifest:
        """Return the state of a lake with nothing in it."""
        now = time.time()  # what is about to be read needs no verifying yet
        return Manifest(made=secrets.token_hex(8), store=store_of(self.alias), verified_at=now)

    @contextmanager
    def writing(self, wait: float = 0.0) -> Iterator[None]:
        """Be the one writer; raises `Busy` where another one is not done within `wait` seconds."""
        self._make_folder()
        end = time.monotonic() + wait
        while True:
            try:
                file = locks.hold(self.path(_LOCK), "a+")
            except FileNotFoundError:  # deleted under our feet
                self._make_folder()
                continue
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Busy(
                        f"The lake of {self.alias!r} is being written by another process; ask again soon."
                    ) from None
                time.sleep(_POLL)
                continue
            if _is_file(file.fileno(), self.path(_LOCK)):
                break
            locks.release(file)
        try:
            yield
        finally:
            locks.release(file)

    def busy(self) -> bool:
        """Return whether somebody is writing at this moment."""
        try:
            with self.writing():
                return False
        except Busy:
            return True

    def commit(self, old: Manifest, new: Manifest, *, at_once: bool = False) -> Manifest:
        """Make `new` the present state; only the writer may. What it no longer names is deleted when nobody reads it.

        With `at_once` it is deleted now, and a question that was reading it fails: for what must not be kept.
        """
        now = time.time()
        names = {file.name for file in new.on_disk()}
        removed = {entry.name: entry for entry in old.removed}
        for file in old.on_disk():
            if file.name not in names:
                removed.setdefault(file.name, Removed(file.name, now))
        # Other files alone give the same answers; but who holds the old state would go on naming those that go.
        same = old.position == new.position and tuple(old.on_disk()) == tuple(new.on_disk()) and not at_once
        new = msgspec.structs.replace(
            new, number=old.number + (not same), removed=() if at_once else tuple(removed.values())
        )
        self._write(new)
        for name in removed if at_once else ():
            self.path(name).unlink(missing_ok=True)
        return new

    def _write(self, manifest: Manifest) -> None:
        temporary = self.path(f".{_MANIFEST}.{secrets.token_hex(4)}")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        self.sync_folder()
        temporary.replace(self.path(_MANIFEST))
        self.sync_folder()

    def sync_folder(self) -> None:
        """Force the folder's entries to the disk."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def seal(self, path: Path) -> tuple[int, int]:
        """Force a file to the disk; return its size and checksum."""
        crc = size = 0
        with path.open("rb") as file:
            os.fsync(file.fileno())
            while block := file.read(_CHUNK):
                crc = zlib.crc32(block, crc)
                size += len(block)
        path.chmod(0o600)
        return size, crc

    def sweep(self, manifest: Manifest) -> Manifest:
        """Delete what no state names any more, once nobody can be reading it; only the writer may."""
        limit = time.time() - float(conf.setting("LITTLEBRO_ANALYSIS_SECONDS")) - _GRACE
        waiting = tuple(entry for entry in manifest.removed if entry.at > limit)
        names = {file.name for file in manifest.on_disk()} | {entry.name for entry in waiting}
        for path in self.folder.iterdir():
            if path.name not in names | {_MANIFEST, _LOCK} and path.is_file():
                path.unlink(missing_ok=True)
        if len(waiting) < len(manifest.removed):
            manifest = msgspec.structs.replace(manifest, removed=waiting)
            self._write(manifest)
        return manifest

    def clear(self) -> None:
        """Delete all that is in it, at once; only the writer may."""
        for path in self.folder.iterdir():
            if path.name != _LOCK and path.is_file():
                path.unlink(missing_ok=True)
        self.sync_folder()

    def damaged(self, manifest: Manifest, *, deep: bool = False) -> set[str]:
        """Return the names of files that are not there or not as long as they were; `deep` looks at every byte."""
        return {file.name for file in manifest.on_disk() if not self._whole(file, deep)}

    def _whole(self, file: File | Links, deep: bool) -> bool:
        path = self.path(file.name)
        try:
            if path.stat().st_size != file.bytes:
                return False
            return not deep or self.seal(path) == (file.bytes, file.crc)
        except OSError:
            return False

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = filesystem.kind(self.folder)
        if found in filesystem.NETWORK:
            raise ImproperlyConfigured(
                f"LITTLEBRO_LAKE: {self.folder} lies on {found}, where locks do not hold; a local disk is needed."
            )


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether the open file still is the one that lies at `path`."""
    try:
        there = path.stat()
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def lake_of(alias: str) -> Lake | None:
    """Return the lake of the alias's store, None where LITTLEBRO_LAKE is not set.

    Aliases that differ in tracker or collection alone have one store, and so one lake: that of the first of them.
    """
    root = conf.setting("LITTLEBRO_LAKE")
    if root is None:
        return None
    store = store_of(alias)
    owner = next((other for other in conf.aliases() if store_of(other) == store), alias)
    return Lake(owner, Path(root) / owner)


def store_of(alias: str) -> str:
    """Return a text that tells stores apart: a hash of what says where the alias's events are."""
    config = conf.alias_config(alias)
    place = config.location
    if place is None and config.backend == "simple":
        place = DEFAULT_DB_ALIAS
    told: list[object] = [config.backend, place, sorted(config.options.items())]
    if place is None:
        told.append(alias)  # it may be that each alias has a store of its own
    elif place in connections.settings:
        database = connections[place].settings_dict  # a test run has another one under the same alias
        told += [str(database.get(part)) for part in ("ENGINE", "HOST", "PORT", "NAME")]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
