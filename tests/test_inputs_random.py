"""Random values: JSON comes back equal, type by type; whatever else is refused, or stored as documented."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from littlebro import EventQuery, tracker
from littlebro.conf import strict
from littlebro.events.event import decode, encode
from littlebro.exceptions import InvalidEvent
from littlebro.storage import backends
from tests.exactly import documented, exact, json_objects, labels, python_values

pytestmark = pytest.mark.django_db

unhurried = hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["memory", "default", "postgresql", "mariadb", "mongodb"], ids=lambda place: place)
def database_alias(request: pytest.FixtureRequest) -> str:
    """Widen the suite's own fixture by the stores that are none of Django's databases."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _store(settings: Any, request: pytest.FixtureRequest, database_alias: str) -> None:
    """Let the default alias write to, and read from, the backend under test; plain sensitive keys are off."""
    settings.LITTLEBRO_SENSITIVE_KEYS = ()
    place: dict[str, Any] = {"BACKEND": "simple", "LOCATION": database_alias}
    if database_alias == "memory":
        place = {"BACKEND": "memory", "LOCATION": request.node.nodeid}
    if database_alias == "mongodb":
        place = {"BACKEND": "mongo", "LOCATION": request.getfixturevalue("mongodb_url")}
    settings.LITTLEBRO = {"default": place}


@unhurried
@given(params=json_objects)
def test_json_comes_back_equal(params: dict[str, Any]) -> None:
    """Any nested JSON object is stored and read with the same types, doubles to the last bit."""
    event = tracker.track_event("kept", params, user=None)
    assert event is not None
    [found] = tracker.events(EventQuery(start=event.timestamp), 1).events
    assert found == event
    assert exact(found.params) == exact(params) == exact(event.params)


@unhurried
@given(value=python_values)
def test_python_is_refused_or_stored_as_documented(value: Any) -> None:
    """Any value is refused by `InvalidEvent` with a path into the params, or stored by the rules of the table."""
    assert strict()
    start = time.thread_time()
    try:
        event = tracker.track_event("kept", {"v": value})
    except InvalidEvent as error:
        assert error.path.startswith("params.v")  # noqa: PT017 - either outcome is right
        return
    finally:
        assert time.thread_time() - start < 5
    assert event is not None
    [found] = tracker.events(EventQuery(start=event.timestamp), 1).events
    assert exact(found.params) == exact({"v": documented(value)}) == exact(event.params)


@unhurried
@given(event_id=labels, user=labels, anonymous_id=labels, name=labels)
def test_ids_and_names_come_back(event_id: str, user: str, anonymous_id: str, name: str) -> None:
    """Any id and name that the rules allow is stored and found again, letter by letter."""
    backends["default"].delete_many(EventQuery())  # of an earlier example, whose ids may be the same
    event = tracker.track_event(name, event_id=event_id, user=user, anonymous_id=anonymous_id)
    assert event is not None
    assert (event.id, event.user_id, event.anonymous_id, event.name) == (event_id, user, anonymous_id, name)
    query = EventQuery(names=(name,), user_id=user, anonymous_id=anonymous_id)
    assert tracker.events(query).events == [event]


def test_a_line_is_the_event(database_alias: str) -> None:
    """What the tracker returns, what its encoded line says and what is stored are one event."""
    event = tracker.track_event("kept", {"v": [1, 1.0, 1e23, None, "\U0001f600"]})
    assert event is not None
    assert decode(encode(event)) == event == tracker.events().events[0]
