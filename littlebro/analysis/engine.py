"""DuckDB inside this process: one instance a process, a session a question.

In: SQL of our own, with values as parameters. Out: rows. The instance sees two folders, the lake's and a scratch
folder of its own, and nothing else of the machine; memory and time are bounded. It is made at first use and closed
before a fork, since one that was inherited hangs or aborts the child. Knows nothing of events.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from littlebro import conf
from littlebro.analysis.scratch import Scratch, default_root
from littlebro.exceptions import AnalysisError, AnalysisTimeout, LakeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["NEEDS_DUCKDB", "Engine", "Session", "engine"]

NEEDS_DUCKDB: Final = 'Reports need DuckDB, which is not installed: pip install "django-littlebro[analytics]"'

_LONGEST_MILLISECONDS: Final = 2**31 - 1
_AGAIN: Final = 0.05  # seconds between interruptions of a question that is out of time
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


class Session:
    """A cursor of the engine, for one thread and one question; temporary tables and views are its own."""

    def __init__(self, instance: _Instance, seconds: float | None) -> None:
        self.instance = instance
        self._cursor = instance.cursor()
        self._allowed = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._over = threading.Event()
        if self._end is not None:
            threading.Thread(target=self._watch, name="littlebro-deadline", daemon=True).start()

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement with ``$name`` parameters and return its rows.

        Raises `AnalysisTimeout` past the session's deadline, `AnalysisError` where memory does not suffice, and
        `LakeError` for a file that cannot be read or written.
        """
        duckdb = _duckdb()
        try:
            # A limit of its own beside the watching thread's: that one may strike between two statements, and this
            # one is looked at only now and then.
            if self._end is not None:
                left = max(1, min(int(self.left() * 1000), _LONGEST_MILLISECONDS))
                self._cursor.execute(f"SET max_execution_time = {left}")
            return self._cursor.execute(sql, dict(parameters) if parameters else None).fetchall()
        except duckdb.InterruptException as error:
            raise self._timeout() from error
        except duckdb.OutOfMemoryException as error:
            raise AnalysisError(
                f"The question needs more memory than LITTLEBRO_ANALYSIS_MEMORY ({self.instance.key.memory})"
                f" or more temporary disk than there is: {str(error).splitlines()[0]}"
            ) from error
        except duckdb.Error as error:
            # Of a file that is damaged it says so in many ways, most of them of no kind.
            if type(error) is not duckdb.Error and not isinstance(
                error, duckdb.IOException | duckdb.InvalidInputException
            ):
                raise
            raise LakeError(
                "A file went while it was read, is damaged, or cannot be read or written; ask again, and if that does"
                f" not help, `littlebro lake verify` mends what is damaged: {str(error).splitlines()[0]}"
            ) from error

    def left(self) -> float:
        """Return the seconds that are left; raises `AnalysisTimeout` when there are none."""
        if self._end is None:
            return threading.TIMEOUT_MAX
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._timeout()
        return left

    def close(self) -> None:
        """Let go of the cursor."""
        self._over.set()
        self.instance.forget(self)
        self._cursor.close()

    def immortal(self) -> None:
        """Keep the cursor from ever being destroyed: in a forked child that would hang."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._cursor))

    def _watch(self) -> None:
        if not self._over.wait(self._allowed):
            while not self._over.wait(_AGAIN):
                self._cursor.interrupt()

    def _timeout(self) -> AnalysisTimeout:
        return AnalysisTimeout(
            f"The question took longer than LITTLEBRO_ANALYSIS_SECONDS ({self._allowed:g}); ask for a shorter"
            " range or fewer names, or allow more."
        )


class _Key(NamedTuple):
    """The settings that an instance is made of."""

    lake: Path | None
    memory: str
    threads: int | None


class _Instance:
    """One DuckDB, with its scratch folder. `kept` is for whoever keeps tables in it, and goes with it."""

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.kept: dict[Any, Any] = {}
        self.sessions: set[Session] = set()
        self._lock = threading.Lock()
        self.scratch = Scratch(key.lake / ".scratch" if key.lake else default_root())
        try:
            self._connection = _connect(key, self.scratch.path)
        except BaseException:
            self.scratch.close()
            raise

    def cursor(self) -> DuckDBPyConnection:
        with self._lock:
            return self._connection.cursor()

    def forget(self, session: Session) -> None:
        self.sessions.discard(session)

    def close(self) -> None:
        self.kept.clear()
        self._connection.close()
        self.scratch.close()

    def immortal(self) -> None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        for session in self.sessions:
            session.immortal()


class Engine:
    """The process's DuckDB: ``with engine.session(seconds) as session: session.rows(…)``."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._instance: _Instance | None = None
        self._retired: list[_Instance] = []
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._forked
        )
        atexit.register(self.reset)
        setting_changed.connect(self._setting_changed, dispatch_uid="littlebro.analysis.engine")

    @contextmanager
    def session(self, seconds: float | None) -> Iterator[Session]:
        """Give a session that must be done after `seconds`; None is for work that nobody waits for.

        Raises `LakeError` where one of its folders is full, or not for this process to read and write.
        """
        try:
            with self._lock:
                instance = self._current()
                session = Session(instance, seconds)
                instance.sessions.add(session)
            try:
                yield session
            finally:
                session.close()
                self._bury()
        except OSError as error:
            if error.errno not in _DISK:
                raise
            raise LakeError(
                "The folder of the lake, or the one for temporary files, is full, or this process may not read and"
                f" write there: {error}"
            ) from error

    def _current(self) -> _Instance:
        if self._pid != os.getpid():
            self._forked()
        key = _key()
        if self._instance is not None and (
            self._instance.key != key or not self._instance.scratch.is_there()
        ):
            self._retire()
        if self._instance is None:
            self._instance = _Instance(key)
        return self._instance

    def reset(self) -> None:
        """Close the instance; the next session makes a new one. One that is in use is closed by its last session."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            self._retire()

    def _retire(self) -> None:
        if self._instance is not None:
            self._retired.append(self._instance)
            self._instance = None
        self._bury()

    def _bury(self) -> None:
        if not self._retired:
            return
        with self._lock:
            for instance in [found for found in self._retired if not found.sessions]:
                self._retired.remove(instance)
                instance.close()

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._retire()

    def _after_fork(self) -> None:
        self._lock.release()

    def _forked(self) -> None:
        """Start empty in a child. What other threads were busy with at the fork must never be touched again."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.RLock()
        inherited = [*self._retired, *([self._instance] if self._instance else [])]
        self._retired, self._instance = [], None
        for instance in inherited:
            instance.immortal()

    def _setting_changed(self, *, setting: str, **_: Any) -> None:
        if setting.startswith(("LITTLEBRO_LAKE", "LITTLEBRO_ANALYSIS")) or setting in {
            "LITTLEBRO",
            "DATABASES",
        }:
            self.reset()


def _key() -> _Key:
    lake = conf.setting("LITTLEBRO_LAKE")
    return _Key(
        None if lake is None else Path(lake),
        str(conf.setting("LITTLEBRO_ANALYSIS_MEMORY")),
        conf.setting("LITTLEBRO_ANALYSIS_THREADS"),
    )


def _connect(key: _Key, scratch: Path) -> DuckDBPyConnection:
    """Open an instance that sees its two folders only; from here on nobody can change what it may do."""
    duckdb = _duckdb()
    options: dict[str, Any] = {
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": key.memory,
        "temp_directory": str(scratch / "spill"),
        "preserve_insertion_order": False,
    }
    if key.threads is not None:
        options["threads"] = key.threads
    try:
        connection: DuckDBPyConnection = duckdb.connect(":memory:", config=options)
    except duckdb.Error as error:
        raise ImproperlyConfigured(
            f"LITTLEBRO_ANALYSIS_MEMORY must be a size such as '512MB', not {key.memory!r}: {error}"
        ) from error
    folders = ", ".join(_quoted(str(folder)) for folder in (key.lake, scratch) if folder is not None)
    for statement in (
        f"SET allowed_directories = [{folders}]",
        "SET allowed_configs = ['max_execution_time', 'TimeZone']",
        "LOAD parquet",  # built in
        "SET parquet_metadata_cache = true",  # a file of the lake never changes
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)
    return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _duckdb() -> ModuleType:
    try:
        import duckdb  # noqa: PLC0415 - an extra, and 80 ms
    except ImportError as error:
        raise ImproperlyConfigured(NEEDS_DUCKDB) from error
    return duckdb


engine: Final = Engine()
