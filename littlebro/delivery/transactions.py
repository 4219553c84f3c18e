"""Events inside a database transaction: held until it commits, gone when it rolls back.

A journal tracker asks `open_block` which open transaction to follow, and hands lines to `hold`. Django's own
list of on-commit hooks decides their fate: a rolled-back savepoint takes its events out of it, a commit runs
`_Hold.release`. Never opens a connection, never touches one of another thread.
"""

import errno
import io
import tempfile
import threading
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from littlebro.conf import nearest
from littlebro.events.convert import is_text
from littlebro.exceptions import InvalidEvent

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["check", "committing", "hold", "is_open", "open_block"]

# Lines held in memory per hold, in bytes; above it they wait in an unlinked file of the journal's folder.
_IN_MEMORY: Final = 256 * 1024
# So many hooks are searched: enough for the aliases of a project, each with holds at some depths of savepoints.
_LOOK_BACK: Final = 32
# The attribute of a connection that holds its list of hooks while `hold` works on them. Should it stay set (a signal
# handler raised just before the end), the next transaction has another list.
_BUSY: Final = "_littlebro_busy"

Release = Callable[[Iterable[bytes]], None]


def check(follow: object) -> None:
    """Raise `InvalidEvent` for an `on_commit` of a call that is not True, False or the alias of a database."""
    if isinstance(follow, bool):
        return
    if not is_text(follow):
        raise InvalidEvent("on_commit", "must be True, False or the alias of a database")
    if follow not in connections.settings:
        raise InvalidEvent(
            "on_commit", f"names no database of DATABASES.{nearest(follow, connections.settings)}"
        )


def open_block(follow: bool | str) -> "BaseDatabaseWrapper | None":
    """Return the connection whose transaction is open in this thread, or None.

    `follow` is True (any database, the default one first) or the alias of one. Looks only at connections that
    are open already; in an event loop there are none, so events are recorded at once.
    """
    held = _per_thread if _is_plain and _get_running_loop() is None else _held
    for alias in (follow,) if isinstance(follow, str) else connections:
        connection: BaseDatabaseWrapper | None = getattr(held, alias, None)
        if connection is not None and connection.in_atomic_block:
            return connection
    return None


# What `connections.all(initialized_only=True)` asks, and where that, an asgiref Local, keeps what belongs to a thread
# that runs no event loop: asked directly, since its own way there costs as much as the rest of the journal.
_held: Final = connections._connections  # type: ignore[attr-defined]  # noqa: SLF001 - not in the stubs; why, is said above
_per_thread: Final = vars(_held).get("_storage")
_is_plain: Final = isinstance(_per_thread, threading.local)


class _Hold:
    """Lines of one journal that share the fate of one set of savepoints."""

    _file: io.FileIO | None = None

    def __init__(self, owner: object, folder: Path, release: Release, on_lost: Callable[[int], None]) -> None:
        self.owner = owner
        self._folder = folder
        self._release = release
        self._on_lost = on_lost
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size > _IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        """Move the lines in memory to a file without a name: it dies with its process, as the transaction does."""
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed on commit
            end = self._file.seek(0, 2)
            chunk = b"".join(line + b"\n" for line in self._lines)
            if self._file.write(chunk) < len(chunk):
                self._file.truncate(end)
                raise OSError(errno.ENOSPC, "the journal's disk is full")
        except OSError:
            self._on_lost(len(self._lines))
        self._lines, self._size = [], 0

    def absorb(self, other: "_Hold") -> None:
        """Take over the lines of a later hold whose fate is the same by now."""
        for line in other.lines():
            self.add(line)

    def lines(self) -> Iterator[bytes]:
        if self._file is not None:
            self._file.seek(0)
            rest = b""
            while chunk := self._file.read(_IN_MEMORY):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
        yield from self._lines

    def __call__(self) -> None:
        """Hand all lines to the journal: the transaction is committed."""
        self._release(self.lines())
        self._lines = []
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # A rolled-back transaction drops its holds: their files close then, without a ResourceWarning.
    __del__ = _close


class _Lone(_Hold):
    """A line under Django's TestCase, where nothing commits.

    captureOnCommitCallbacks tells hooks by their place: each line stands in its own, at the end, and stays there.
    """


def hold(
    connection: "BaseDatabaseWrapper",
    line: bytes,
    owner: object,
    folder: Path,
    release: Release,
    on_lost: Callable[[int], None],
) -> None:
    """Keep `line` until the transaction of `connection` commits; a rollback, of a savepoint too, drops it.

    On commit `release` gets all lines of `owner` held so. Our hooks stand before the project's own, since one
    of those that raises would keep later ones from running.
    """
    alive = set(connection.savepoint_ids)
    hooks: list[Any] = connection.run_on_commit  # (savepoints, function, robust)
    # In a call from the middle of another one (a signal handler tracks) holds are not as they should be: a fresh one.
    if hooks and getattr(connection, _BUSY, None) is not hooks:
        try:
            setattr(connection, _BUSY, hooks)
            known = _find(hooks, alive, owner)
            if known is not None:
                known.add(line)
                return
        finally:
            setattr(connection, _BUSY, None)
    lone = _is_test_case(connection)
    fresh = (_Lone if lone else _Hold)(owner, folder, release, on_lost)
    fresh.add(line)
    # Robust (third item): a failure of ours is logged and keeps no hook of the project's from running.
    entry: Any = (alive, fresh, True)
    connection.run_on_commit.insert(len(hooks) if lone else 0, entry)


def is_open() -> bool:
    """Return whether this thread is in a transaction that may roll back; that of Django's TestCase does not count.

    With autocommit off there always may be one.
    """
    return any(
        any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
        or not (connection.connection is None or connection.autocommit or connection.in_atomic_block)
        for connection in connections.all(initialized_only=True)
    )


@contextmanager
def committing() -> Iterator[None]:
    """Let databases whose AUTOCOMMIT is off commit by themselves, for work that nobody else commits.

    Connections that are open already are left alone: their transaction is the caller's.
    """
    off = [alias for alias, given in connections.settings.items() if not given["AUTOCOMMIT"]]
    ours = [
        (each, each.settings_dict) for each in map(connections.__getitem__, off) if each.connection is None
    ]
    try:
        for connection, given in ours:
            connection.settings_dict = {**given, "AUTOCOMMIT": True}
        yield
    finally:
        for connection, given in ours:
            connection.settings_dict = given
            connection.close()


def _find(hooks: list[Any], alive: set[str], owner: object) -> _Hold | None:
    """Return the hold of `owner` that shares the fate of the savepoints `alive`."""
    found = _newest(hooks, alive, owner)
    if found is None:
        _collapse(hooks, alive)
        found = _newest(hooks, alive, owner)
    return found


def _newest(hooks: list[Any], alive: set[str], owner: object) -> _Hold | None:
    """Return the newest hold of `owner` if it is one of the savepoints `alive`, and no others."""
    for savepoints, function, _ in hooks[:_LOOK_BACK]:
        if type(function) is _Hold and function.owner is owner:
            return function if savepoints == alive else None
    return None


def _collapse(hooks: list[Any], alive: set[str]) -> None:
    """Let holds of released savepoints share the fate of what surrounds them, so that a loop makes one, not many.

    The newest stand in front, and a newer one always goes into the older: lines keep their order, and each is copied
    at most once for each savepoint around it. Nothing is found by its place, which a call from the middle of this
    one shifts, and a hold leaves only after its lines were copied: interrupted, they are there twice, not lost.
    """
    newest: dict[tuple[object, frozenset[str]], Any] = {}
    for entry in hooks[:_LOOK_BACK]:
        savepoints, function, _ = entry
        if type(function) is not _Hold:
            break
        savepoints.intersection_update(alive)
        fate = (function.owner, frozenset(savepoints))
        if fate in newest:
            function.absorb(newest[fate][1])
            hooks.remove(newest[fate])
        newest[fate] = entry


def _is_test_case(connection: "BaseDatabaseWrapper") -> bool:
    blocks: Any = getattr(connection, "atomic_blocks", ())
    return bool(blocks) and bool(getattr(blocks[0], "_from_testcase", False))
