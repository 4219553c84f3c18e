"""Promises about the life of a backend: made without I/O, closed and reopened, forked, gone and back again."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import EventRefused
from littlebro.storage import BaseBackend
from littlebro.testing.contracts.base import Hooks, in_child, in_threads, persist, proves, until
from littlebro.testing.contracts.samples import make_event, mixed

__all__ = ["LifePromises"]

_WATCHED = ("os.mkdir", "socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen", "os.fork")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_watching: list[tuple[list[str], bool]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    seen, reading = _watching[-1]
    if event in _WATCHED or (event == "open" and (reading or arguments[2] & _WRITING)):
        seen.append(f"{event} {arguments[0]!r}")


@contextmanager
def watched(*, reading: bool = True) -> Iterator[list[str]]:
    """Give a list of the files, connections, processes and threads that the block opens or starts.

    `reading` says whether a file that is only read counts.
    """
    if not getattr(watched, "armed", False):
        watched.armed = True  # type: ignore[attr-defined]
        sys.addaudithook(_audit)  # cannot be taken away again: one a process
    seen: list[str] = []
    before = set(threading.enumerate())
    _watching.append((seen, reading))
    try:
        yield seen
    finally:
        _watching.pop()
        seen += [f"thread {thread.name}" for thread in threading.enumerate() if thread not in before]


def complains(backend: BaseBackend) -> bool:
    """Return whether `ping` raises, or `check` returns a sentence."""
    try:
        backend.ping()
    except Exception:  # noqa: BLE001 - whatever it raises says that it does not answer
        return True
    return bool(backend.check())


class LifePromises(Hooks):
    """What a backend promises from its making to its end."""

    def test_making_one_does_no_io(self, backend: BaseBackend) -> None:
        """The constructor opens no file and no connection and starts nothing: settings are read at every start."""
        with watched() as seen:
            type(backend)(backend.alias, backend.location, backend.options)
        assert seen == []

    def test_options_are_declared(self, backend: BaseBackend) -> None:
        """`option_defaults` names every option in use, so that an unknown one is an error."""
        assert set(backend.options) == set(backend.option_defaults)
        assert all(isinstance(name, str) for name in backend.option_defaults)
        assert type(backend).littlebro_api >= 1

    def test_a_store_answers_before_it_is_set_up(self, tmp_path: Path) -> None:
        """`ping` asks whether the store answers, not whether it is set up: before a `setup`, `migrate` asks it."""
        self.folder = tmp_path
        made = self.make_backend()
        made.ping()
        made.close()

    def test_set_up_twice_is_set_up(self, backend: BaseBackend) -> None:
        """`setup` is harmless if run again, and keeps what is stored."""
        event = make_event()
        backend.save_many([event])
        backend.setup()
        assert list(self.read_back(backend)) == [event]

    def test_a_healthy_store_has_nothing_to_complain_of(self, backend: BaseBackend) -> None:
        """`ping` raises nothing and `check` returns an empty list while all is well."""
        backend.ping()
        assert backend.check() == []

    def test_a_closed_backend_works_again(self, backend: BaseBackend) -> None:
        """`close` may be called twice, and what follows opens anew; what was stored is there."""
        first, second = make_event(), make_event()
        backend.save_many([first])
        backend.close()
        backend.close()
        backend.save_many([second])
        backend.close()
        assert {event.id for event in self.read_back(backend)} == {first.id, second.id}

    def test_a_second_backend_sees_the_same_store(self, backend: BaseBackend) -> None:
        """What one instance stored another one of the same location reads, before and after the first is closed."""
        event, other = make_event(), self.make_backend()
        backend.save_many([event])
        assert list(self.read_back(other)) == [event]
        other.close()
        backend.save_many([make_event()])
        assert len(self.read_back(backend)) == 2

    def test_threads_share_a_backend(self, backend: BaseBackend) -> None:
        """Four threads store overlapping batches through one instance: each event is there, once."""
        events = mixed()
        stored: list[int | None] = []

        def save(start: int) -> None:
            for low in range(0, 48, 12):
                part = [events[(start + low + n) % 48] for n in range(16)]
                result = persist(backend, part)
                stored.append(None if result is None or result.duplicates is None else result.stored)

        in_threads(*(partial(save, start) for start in (0, 12, 24, 36)))
        found = [(event.collection, event.id) for event in self.read_back(backend)]
        assert set(found) == {(event.collection, event.id) for event in events}
        if backend.idempotent:
            assert len(found) == 48
            counts = [count for count in stored if count is not None]
            assert len(counts) < len(stored) or sum(counts) == 48, "`stored` counts what was not there before"

    @proves("fork")
    def test_a_forked_child_has_a_client_of_its_own(self, backend: BaseBackend) -> None:
        """Child and parent write and read at once, each through its own backend, and neither disturbs the other."""
        backend.save_many([make_event(name="before")])

        def work(side: BaseBackend, name: str) -> list[str]:
            mine: list[Event] = []
            for n in range(20):
                mine += [make_event(name=name, params={"n": n, "who": name}) for _ in range(5)]
                persist(side, mine[-5:])
                side.ping()
            found = {event.id for event in self.read_back(side)}
            missing = [event.id for event in mine if event.id not in found]
            assert not missing, f"{len(missing)} events of {name} are missing right after they were stored"
            return [event.id for event in mine]

        ended = in_child(lambda: work(self.make_backend(), "child"))
        mine = work(backend, "parent")
        theirs = ended()
        found = [event.id for event in self.read_back(backend) if event.name != "before"]
        assert len(found) == len(set(found))
        assert set(mine) <= set(found), "the parent's client lost events when the child used its own"
        if not self.shared_by_processes:
            pytest.skip("not declared: shared_by_processes is False, the child's events are its own")
        assert set(found) == {*mine, *theirs}
        backend.save_many([make_event()])

    @proves("unavailability")
    def test_an_unavailable_store_raises(self, backend: BaseBackend) -> None:
        """While the store is away a write raises, but no EventRefused (it is to be tried again), and it can be told."""
        self.break_backend(backend)
        try:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any exception says "later"
                backend.save_many([make_event(), make_event()])
            assert not isinstance(caught.value, EventRefused), (
                "EventRefused would make good events dead letters"
            )
            assert complains(backend), (
                "neither `ping` nor `check` has anything to say while the store is away"
            )
        finally:
            self.heal_backend(backend)

    @proves("unavailability")
    def test_a_store_that_is_back_is_used_again(self, backend: BaseBackend) -> None:
        """After an outage the same batch is stored, once, through the same instance; nothing of before is lost."""
        before, during = [make_event(), make_event()], [make_event(), make_event()]
        backend.save_many(before)
        self.break_backend(backend)
        try:
            for _ in range(2):
                with pytest.raises(Exception):  # noqa: B017, PT011 - any exception says "later"
                    backend.save_many(during)
        finally:
            self.heal_backend(backend)

        def stored() -> bool:
            try:
                backend.save_many(during)
            except Exception:  # noqa: BLE001 - a server takes a moment to come back
                return False
            return True

        assert until(stored), "the store is back, and the backend does not use it again"
        found = [event.id for event in self.read_back(backend)]
        assert set(found) == {event.id for event in [*before, *during]}
        assert len(found) == 4 or not backend.idempotent

    def test_every_operation_has_an_async_twin(self, backend: BaseBackend) -> None:
        """`asave_many`, `ascan` and the others do in an event loop what their twins do elsewhere."""
        events = [make_event(id=f"{n:04}") for n in range(250)]

        async def main() -> None:
            assert (await backend.asave_many(events)).stored == 250
            await backend.aping()
            assert await backend.acheck() == []
            if backend.supports_scan:
                assert [event async for event in backend.ascan(EventQuery())] == events
            if backend.supports_scan_stored:
                assert len([pair async for pair in backend.ascan_stored()]) == 250
            if backend.supports_count:
                assert await backend.acount(EventQuery()) == 250
            if backend.supports_delete:
                assert await backend.adelete_many(EventQuery()) == 250
            await backend.aclose()

        async_to_sync(main)()
