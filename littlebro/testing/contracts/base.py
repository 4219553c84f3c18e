"""What a backend's author overrides, and how the contract's tests get at a backend.

In: a subclass that makes, and if it can, breaks and heals a backend. Out: the fixtures and helpers that the
promises (`writing`, `reading`, `capabilities`, `lifecycle`) are written with. Knows no store.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest

from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import EventRefused
from littlebro.storage import BaseBackend, SaveResult

__all__ = [
    "Hooks",
    "in_child",
    "in_threads",
    "leave_thread",
    "needs",
    "not_proved",
    "persist",
    "proves",
    "settle",
    "until",
]

_Test = TypeVar("_Test", bound=Callable[..., Any])

_ATTEMPTS = 8
_PATIENCE = 60.0  # seconds that a child or a thread of a test may take


class Hooks:
    """What to override. Only `make_backend` must be; each of the others proves more, or says less.

    Every test has an instance of the class of its own. `self.folder` is an empty folder for that test alone.
    """

    littlebro_contract: ClassVar[bool] = True
    folder: Path
    shared_by_processes: ClassVar[bool] = True
    """Whether what one process stores is seen by another (False: memory of a process)."""
    many: ClassVar[int] = 8_000
    """Events with which it is measured whether a scan's memory stays flat."""

    def make_backend(self) -> BaseBackend:
        """Return a backend, made but not set up, as the core would make it in a process of its own.

        Called more than once in a test, it gives backends of the same store; when a test begins the store is
        empty, or can be emptied by `clear`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement make_backend().")

    def clear(self, backend: BaseBackend) -> None:
        """Empty the store before a test; by `delete_many` unless overridden."""
        if backend.supports_delete:
            backend.delete_many(EventQuery())

    def read_back(self, backend: BaseBackend) -> Sequence[Event]:
        """Return all stored events; override for a backend that cannot be read from (`supports_scan` is False)."""
        if not backend.supports_scan:
            not_proved("read_back", "cannot be read from")
        return list(backend.scan(EventQuery()))

    def break_backend(self, backend: BaseBackend) -> None:
        """Make the store unavailable, as a server that is gone or a disk that is full."""
        not_proved("break_backend() and heal_backend", "was not made unavailable")

    def heal_backend(self, backend: BaseBackend) -> None:
        """Make the store available again, with all that it held."""

    def unstorable_event(self) -> Event:
        """Return an event that this store can never take, for instance one with a text longer than its columns."""
        not_proved("unstorable_event", "is not known to refuse any event")

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[BaseBackend]:
        """Give a backend, set up, of an empty store."""
        self.folder = tmp_path
        made = self.make_backend()
        made.setup()
        self.clear(made)
        yield made
        made.close()


def proves(capability: str) -> Callable[[_Test], _Test]:
    """Mark a test as part of what proves an optional capability; the report after the run counts by it."""

    def mark(test: _Test) -> _Test:
        test.littlebro_proves = capability  # type: ignore[attr-defined]
        return test

    return mark


def not_proved(hook: str, what: str) -> NoReturn:
    """End a test that cannot be run: a skip that names the hook to override."""
    pytest.skip(f"not proved: the backend {what}; override {hook}() to prove this")


def needs(backend: BaseBackend, flag: str) -> None:
    """Skip a test of an optional capability that the backend does not declare."""
    if not getattr(backend, flag):
        pytest.skip(f"not declared: {flag} is False")


def settle(backend: BaseBackend, events: Sequence[Event]) -> SaveResult:
    """Store `events` as the core does: where one is refused without being named, halve the batch to find it."""
    try:
        return backend.save_many(events)
    except EventRefused as refusal:
        if len(events) == 1:
            return SaveResult(0, 0, {(events[0].collection, events[0].id): str(refusal)})
    middle = len(events) // 2
    left, right = settle(backend, events[:middle]), settle(backend, events[middle:])
    return SaveResult(left.stored + right.stored, None, {**left.refused, **right.refused})


def persist(backend: BaseBackend, events: Sequence[Event]) -> SaveResult | None:
    """Store a batch beside other writers, as the core does: what is no refusal, a deadlock for one, is tried again.

    Returns the result, or None where more than one attempt was needed.
    """
    for attempt in range(_ATTEMPTS):
        try:
            result = backend.save_many(events)
        except EventRefused:
            raise
        except Exception:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(0.01 * (attempt + 1))
        else:
            return result if attempt == 0 else None
    return None


def in_threads(*jobs: Callable[[], Any]) -> None:
    """Run `jobs` side by side, each in a thread; raise the first error, or if one does not end."""
    errors: list[BaseException] = []

    def run(job: Callable[[], Any]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)
        finally:
            leave_thread()

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
        if thread.is_alive():
            pytest.fail(f"a thread did not end within {_PATIENCE:.0f} seconds")
    if errors:
        raise errors[0]


def leave_thread() -> None:
    """Close Django's connections of this thread, where there is a Django: whoever owns a thread does so."""
    from django.conf import settings  # noqa: PLC0415 - loaded with the first test
    from django.db import connections  # noqa: PLC0415 - as above

    if settings.configured:
        connections.close_all()


def in_child(job: Callable[[], Any]) -> Callable[[], Any]:
    """Fork, and run `job` in the child, in a thread there, as the core would; return a function that waits for it.

    That function returns what the job returned and fails with the child's own traceback, or if it hangs.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python warns of forks beside threads; servers fork beside threads all the same.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os.close(reader)
        _live(job, writer)
    os.close(writer)
    return lambda: _await(child, reader)


def _live(job: Callable[[], Any], writer: int) -> NoReturn:
    answer: list[Any] = ["the thread of the child ended early", None]

    def run() -> None:
        try:
            answer[:] = ["", job()]
        except BaseException:  # noqa: BLE001 - told to the parent
            answer[0] = traceback.format_exc()

    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(tuple(answer)))
    finally:
        os._exit(0)  # the test runner is the parent's


def _await(child: int, reader: int) -> Any:
    timer = threading.Timer(_PATIENCE + 10, os.kill, (child, signal.SIGKILL))
    timer.start()
    try:
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
    finally:
        timer.cancel()
    error, answer = pickle.loads(told) if told else ("the child died, or hung", None)  # noqa: S301 - our own child
    if error:
        pytest.fail(f"in the forked child: {error}", pytrace=False)
    return answer


def until(met: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until `met()` is true, up to some seconds; return whether it is."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)
    return True
