"""The fast lane into PostgreSQL: exact, idempotent, and never taken for what it would not carry."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from littlebro.events import Event, EventQuery
from littlebro.storage.handler import backends
from littlebro_backends import simple_copying
from tests.exactly import exact

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgresql"])

START = datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC)
ODD = ("\\N", "\\", "\\.", 'quote"', "tab as \\t", "émoji 🎈", "'; DROP", "{}", " a", "a ", "%s")


@pytest.fixture
def backend(settings: Any) -> Any:
    settings.LITTLEBRO = {"default": {"BACKEND": "simple", "LOCATION": "postgresql"}}
    return backends["default"]


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each batch whether it went by COPY."""
    seen: list[bool] = []
    original = simple_copying.copied

    def noted(*arguments: Any) -> bool:
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr("littlebro_backends.simple.copied", noted)
    return seen


def batch(n: int = 44, **more: Any) -> list[Event]:
    """Return events whose texts are what COPY's format could stumble over."""
    return [
        Event(
            id=f"{ODD[i % len(ODD)]}{i}",
            name=ODD[i % len(ODD)],
            timestamp=START + timedelta(microseconds=i),
            received_at=START,
            params=more.get(
                "params", {ODD[i % len(ODD)]: [list(ODD), i, i / 7, None, True, 2**53 + 1, "\t\n\r\\"]}
            ),
            context={"k\\": "v\\\n"},
            user_id=(None, "\\N", "u\\")[i % 3],
            anonymous_id=(None, "\\\\")[i % 2],
        )
        for i in range(n)
    ]


def read(backend: Any) -> list[Event]:
    return sorted(backend.scan(EventQuery()), key=lambda event: event.timestamp)


def test_what_goes_by_copy_comes_back_exactly(backend: Any, lanes: list[bool]) -> None:
    """Backslashes, quotes, nulls that are text, microseconds, integers and floats."""
    events = batch()
    result = backend.save_many(events)
    assert (result.stored, result.duplicates, lanes) == (44, 0, [True])
    found = read(backend)
    assert found == events
    assert all(exact(one.params) == exact(other.params) for one, other in zip(found, events, strict=True))


def test_a_batch_that_is_there_in_part_goes_the_other_way(backend: Any, lanes: list[bool]) -> None:
    """COPY cannot skip; then the statement that can does it over, and tells new from old."""
    events = batch()
    backend.save_many(events[10:20])
    result = backend.save_many(events)
    assert (result.stored, result.duplicates, lanes) == (34, 10, [False, False])
    assert backend.save_many(events).stored == 0
    assert read(backend) == events


def test_inside_the_callers_transaction(backend: Any, lanes: list[bool]) -> None:
    """A COPY that fails leaves the caller's transaction usable, and a rollback takes all of it."""
    events = batch()
    backend.save_many(events[:30])
    with transaction.atomic(using="postgresql"):
        assert backend.save_many(events).stored == 14
        assert backend.count(EventQuery()) == 44
        transaction.set_rollback(True, using="postgresql")
    assert backend.count(EventQuery()) == 30
    assert lanes == [True, False]


@pytest.mark.parametrize("params", [{"x": 1e23}, {"x": 1e16}, {"x": "\0"}], ids=["1e23", "1e16", "NUL"])
def test_what_copy_would_not_carry_is_not_copied(backend: Any, lanes: list[bool], params: Any) -> None:
    """Floats that jsonb would give back as integers take the other way; NUL is refused there."""
    if params["x"] == "\0":
        with pytest.raises(Exception, match="22P05"):
            backend.save_many(batch(params=params))
        assert backend.count(EventQuery()) == 0
    else:
        backend.save_many(batch(params=params))
        assert all(exact(event.params) == exact(params) for event in read(backend))
    assert lanes == [False] or params["x"] == "\0"


def test_an_unchecked_name_that_breaks_the_format_is_stored_as_it_is(backend: Any, lanes: list[bool]) -> None:
    """A tab or a line feed would shift columns; such a batch is not copied."""
    events = [*batch(30), batch(31)[-1].__class__(**{**_fields(batch(31)[-1]), "name": "a\tb\nc"})]
    assert backend.save_many(events).stored == 31
    assert lanes == [False]
    assert read(backend)[-1].name == "a\tb\nc"


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_a_few_events_are_not_worth_a_transaction(backend: Any, lanes: list[bool]) -> None:
    """Small batches take one statement."""
    assert backend.save_many(batch(5)).stored == 5
    assert lanes == [False]


def test_a_connection_that_is_gone_is_told(backend: Any) -> None:
    """An error without SQLSTATE is the connection's own, and worth another attempt."""
    backend.ping()
    connections["postgresql"].connection.close()
    with pytest.raises(Exception, match=r"closed"):
        backend.save_many(batch())
    assert backend.save_many(batch()).stored == 44
