"""What we ask of our own backends beyond the contract for strangers (`littlebro.testing.contracts`).

Here they also run inside a transaction that never commits, which nobody else's backend knows of.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage import BaseBackend
from littlebro.testing.contracts.samples import NOON, exact, make_event, mixed
from littlebro_backends import memory, simple
from tests.exactly import json_values


class BackendContract:
    """What every backend of ours that reads must do alike."""

    @pytest.fixture
    def backend(self) -> Iterator[BaseBackend]:
        raise NotImplementedError

    @given(value=json_values)
    @hypothesis_settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_random_values_are_exact(self, backend: BaseBackend, value: Any) -> None:
        """Any JSON value that the validator lets through comes back as it was."""
        event = make_event(params={"v": value})
        backend.save_many([event])
        found = next(found for found in backend.scan(EventQuery()) if found.id == event.id)
        assert exact(found.params) == exact(event.params)

    def test_duplicates_are_counted(self, backend: BaseBackend) -> None:
        """Each of ours knows what was there already, in one batch or in two, inside a transaction as well."""
        events = mixed()
        once, again = backend.save_many(events[:30]), backend.save_many([*events, *events[:2]])
        assert (once.stored, once.duplicates) == (30, 0)
        assert (again.stored, again.duplicates) == (18, 32)
        assert list(backend.scan(EventQuery())) == sorted(events, key=lambda event: event.position)

    @pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "", "٣"])
    def test_a_position_that_is_none_of_ours_is_refused(self, backend: BaseBackend, wrong: str) -> None:
        """Whoever comes with another text to `scan_stored` hears so, and does not read from the start."""
        backend.save_many([make_event()])
        with pytest.raises(InvalidQuery):
            list(backend.scan_stored(wrong))

    def test_many_events(self, backend: BaseBackend) -> None:
        """More than one chunk is written, and read in every order, whole."""
        events = [
            make_event(timestamp=NOON + timedelta(milliseconds=n % 700), params={"n": n})
            for n in range(4_321)
        ]
        backend.save_many(events)
        expected = sorted(events, key=lambda event: event.position)
        assert list(backend.scan(EventQuery())) == expected
        assert list(backend.scan(EventQuery(newest_first=True))) == expected[::-1]
        pairs = list(backend.scan_stored())
        assert len(pairs) == len({position for position, _ in pairs}) == 4_321
        assert backend.delete_many(EventQuery()) == 4_321


class TestMemory(BackendContract):
    """The backend in memory."""

    @pytest.fixture
    def backend(self) -> Iterator[BaseBackend]:
        backend = memory.Backend("default", "tests", {"MAX_EVENTS": None})
        backend.clear()
        yield backend
        backend.clear()


@pytest.mark.django_db
class TestSimple(BackendContract):
    """The backend in a database of Django's, on each database."""

    @pytest.fixture
    def backend(self, database_alias: str) -> BaseBackend:
        return simple.Backend("default", database_alias, {})

    def test_a_position_beyond_all_keys_is_refused(self, backend: BaseBackend) -> None:
        """A number that no key can be does not reach the database, where it would be an error."""
        with pytest.raises(InvalidQuery):
            list(backend.scan_stored("9" * 40))


@pytest.mark.django_db(transaction=True)
async def test_async_twins(database_alias: str) -> None:
    """Every operation has its twin for an event loop."""
    backend = simple.Backend("default", database_alias, {})
    events = [make_event(timestamp=NOON + timedelta(seconds=n)) for n in range(450)]
    assert (await backend.asave_many(events)).stored == 450
    assert [event async for event in backend.ascan(EventQuery())] == events
    assert [event.id async for _, event in backend.ascan_stored()] == sorted(event.id for event in events)
    assert await backend.acount(EventQuery()) == 450
    assert await backend.adelete_many(EventQuery()) == 450
    assert await backend.acheck() == []
    await backend.aping()
    await backend.asetup()
    await backend.aclose()
    await sync_to_async(connections.close_all)()  # the connection of the thread that did the work


def test_the_encoded_line_holds_every_field() -> None:
    """A field added to Event reaches every backend or this fails."""
    assert set(msgspec.json.decode(msgspec.json.encode(make_event()))) == {
        "id", "name", "timestamp", "received_at", "params", "context", "user_id", "anonymous_id", "collection", "v",
    }  # fmt: skip
