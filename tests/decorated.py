"""What the tests of the decorator share: two aliases in memory, and a look at what is stored."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from littlebro.delivery.handler import trackers
from littlebro.events import Event, EventQuery


@pytest.fixture(autouse=True)
def aliases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two aliases with a store in memory each, for this test alone."""
    aliases = {
        alias: {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": f"{request.node.nodeid}-{alias}"}
        for alias in ("default", "audit")
    }
    aliases["audit"]["COLLECTION"] = "audit"
    with override_settings(LITTLEBRO=aliases):
        yield


def stored(alias: str = "default", collection: str | None = None) -> list[Event]:
    query = EventQuery(collections=None if collection is None else (collection,))
    return trackers[alias].events(query, 100).events


def only(alias: str = "default") -> Event:
    [event] = stored(alias)
    return event


def timeless(event: Event) -> dict[str, Any]:
    """Return the params without the duration, which is checked to be one."""
    params = dict(event.params)
    duration = params.pop("duration_ms")
    assert isinstance(duration, float)
    assert 0 <= duration < 60_000
    return params


ask = RequestFactory().get
