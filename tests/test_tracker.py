"""The calls that users make: what they return, what goes with them, and what they never do to the caller."""

import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory

from littlebro import Event, EventQuery, tracker, trackers
from littlebro.delivery import BaseTracker, losses
from littlebro.delivery.handler import TrackerHandler
from littlebro.delivery.pipeline import Pipeline
from littlebro.events.context import Serving
from littlebro.exceptions import InvalidEvent
from littlebro.storage import SaveResult, backends
from littlebro_backends.memory import Backend as Memory

NOON = datetime(2026, 3, 29, 12, 0, 0, 1, tzinfo=UTC)


class Fragile(Memory):
    """A store that can be told to fail, to refuse, or to call back."""

    trouble: Callable[[list[Event]], SaveResult | None] | None = None

    def save_many(self, events: Any) -> SaveResult:
        if self.trouble is not None:
            answer = self.trouble(list(events))
            if answer is not None:
                return answer
        return super().save_many(events)


@pytest.fixture(autouse=True)
def _aliases(settings: Any, request: pytest.FixtureRequest) -> None:
    """A default alias with one sink, both of which can fail; nothing counted yet."""
    name = request.node.nodeid
    path = "tests.test_tracker.Fragile"
    settings.LITTLEBRO = {
        "default": {"BACKEND": path, "LOCATION": name, "SINKS": ["sink"]},
        "sink": {"BACKEND": path, "LOCATION": f"{name} sink"},
        "audit": {"BACKEND": "memory", "LOCATION": f"{name} audit", "COLLECTION": "audit"},
    }
    losses.drain("default")


@pytest.fixture
def production(settings: Any) -> None:
    settings.LITTLEBRO_STRICT = False


def fail(alias: str, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the store of `alias` raise `error` from now on."""

    def trouble(events: list[Event]) -> None:
        raise error

    monkeypatch.setattr(backends[alias], "trouble", trouble)


def stored(alias: str = "default") -> list[Event]:
    return trackers[alias].events().events


@pytest.mark.django_db
def test_the_event_comes_back() -> None:
    """A call returns the event as it is stored, with all that was passed, in the alias's backend and its sink."""
    event = tracker.track_event(
        "paid", {"total": 42}, "orders", user=7, anonymous_id="a", timestamp=NOON, event_id="e-1"
    )
    assert event == Event(
        id="e-1", name="paid", timestamp=NOON, received_at=event.received_at if event else NOON,
        params={"total": 42}, context={}, user_id="7", anonymous_id="a", collection="orders",
    )  # fmt: skip
    query = EventQuery(collections=("orders",))
    assert tracker.events(query).events == trackers["sink"].events(query).events == [event]


def test_ids_are_uuids_in_order() -> None:
    """An event without an id of the caller's gets a UUIDv7, so that ids sort by time."""
    ids = [event.id for event in tracker.track_events([{"name": "x"}] * 50) if event is not None]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert {uuid.UUID(text).version for text in ids} == {7}


def test_aliases_have_streams_of_their_own() -> None:
    """`trackers["audit"]` writes where, and under the collection that, its alias says."""
    event = trackers["audit"].track_event("seen")
    assert event is not None
    assert event.collection == "audit"
    assert (stored("audit"), stored()) == ([event], [])


@pytest.mark.django_db(transaction=True)
async def test_the_async_twins_do_the_same() -> None:
    """atrack_event, atrack_events, aevents and aflush are the sync forms, awaited."""
    one = await tracker.atrack_event(
        "one", {"v": 1}, user=User(pk=3), anonymous_id="a", event_id="1", timestamp=NOON
    )
    two, three = await tracker.atrack_events([{"name": "two"}, {"name": "three", "params": {"v": 3}}])
    assert (await tracker.aevents(limit=2)).events == [one, two]
    assert three is not None
    assert await tracker.aflush(1) is True
    assert tracker.flush(1) is True
    with pytest.raises(InvalidEvent):
        await tracker.atrack_event("")
    with pytest.raises(InvalidEvent, match="mapping"):
        await tracker.atrack_events([{"name": "four"}, {"nam": "five"}, {"name": "six"}])
    assert [event.name for event in (await tracker.aevents()).events] == [
        "one",
        "two",
        "three",
        "four",
        "six",
    ]


BAD_ITEMS: list[Any] = [
    {"name": "a"}, {"name": ""}, {"nam": "b"}, 7, {"name": "c", "params": 1}, {"name": "d"},
]  # fmt: skip


@pytest.mark.usefixtures("production")
def test_bad_items_among_good_ones() -> None:
    """In production the bad ones are None in their place, and counted."""
    found = tracker.track_events(BAD_ITEMS)
    assert [event and event.name for event in found] == ["a", None, None, None, None, "d"]
    assert losses.drain("default") == {"invalid": 4}


@pytest.mark.usefixtures("production")
async def test_bad_items_among_good_ones_async() -> None:
    """The same, awaited."""
    found = await tracker.atrack_events(BAD_ITEMS)
    assert [event and event.name for event in found] == ["a", None, None, None, None, "d"]
    assert losses.drain("default") == {"invalid": 4}


def test_bad_items_among_good_ones_strict() -> None:
    """In strict mode the first refusal is raised, after all good ones are recorded."""
    items: list[Any] = [{"name": "a"}, {"nam": "b"}, {"name": ""}, {"name": "d"}]
    with pytest.raises(InvalidEvent, match="nam"):
        tracker.track_events(items)
    assert [event.name for event in stored()] == ["a", "d"]


@pytest.mark.parametrize("items", [None, 5], ids=str)
async def test_items_that_are_no_list(settings: Any, items: Any) -> None:
    """In strict mode refused, in production counted, awaited or not."""
    with pytest.raises(InvalidEvent, match="items: must be mappings in a list"):
        tracker.track_events(items)
    with pytest.raises(InvalidEvent, match="items: must be mappings in a list"):
        await tracker.atrack_events(items)
    settings.LITTLEBRO_STRICT = False
    losses.drain("default")
    assert tracker.track_events(items) == []
    assert await tracker.atrack_events(items) == []
    assert losses.drain("default") == {"invalid": 2}


def test_build_records_nothing() -> None:
    """`build` gives the event that would be recorded, with an importer's context and time of receipt."""
    event = tracker.build("x", {"v": 1}, context={"ip": "192.0.2.0"}, received_at=NOON, user=7)
    assert event is not None
    assert (event.context, event.received_at, event.timestamp, event.user_id) == (
        {"ip": "192.0.2.0"},
        NOON,
        NOON,
        "7",
    )
    assert stored() == []
    with pytest.raises(InvalidEvent, match="received_at"):
        tracker.build("x", received_at="now")


def asked(path: str = "/page/", **headers: Any) -> HttpRequest:
    return RequestFactory().get(path, REMOTE_ADDR="192.0.2.77", HTTP_USER_AGENT="Agent/1", **headers)


def test_a_request_says_where_and_who() -> None:
    """A request gives its facts as context and the user that is loaded; what the call says of people goes first."""
    request = asked(HTTP_REFERER="https://example.com/a?secret=1")
    request.user = User(pk=9)
    tracker.track_event("a", request=request)
    with Serving(request):
        tracker.track_event("b")
        tracker.track_event("c", user=7)
        tracker.track_event("d", request=asked("/other/"))
    facts = {"ip": "192.0.2.0", "user_agent": "Agent/1", "referrer": "https://example.com/a"}
    assert [(event.context, event.user_id) for event in stored()] == [
        (facts, "9"), (facts, "9"), (facts, "7"), ({"ip": "192.0.2.0", "user_agent": "Agent/1"}, None),
    ]  # fmt: skip


class Rest:
    """As Django REST framework's request: none of Django's, but it holds one."""

    def __init__(self, held: HttpRequest) -> None:
        self._request = held


def test_a_request_inside_another() -> None:
    """Django REST framework's request counts as the one of Django's that it holds."""
    request = asked()
    request.user = User(pk=9)
    wrapped: Any = Rest(request)
    event = tracker.track_event("a", request=wrapped)
    assert event is not None
    assert (event.user_id, event.context) == ("9", {"ip": "192.0.2.0", "user_agent": "Agent/1"})


@pytest.mark.parametrize("other", ["/page/", {"user": 9}, object()], ids=["path", "mapping", "object"])
def test_no_request(settings: Any, other: Any) -> None:
    """What is no request is refused by name: an event without its visitor may be one who opted out."""
    with pytest.raises(InvalidEvent, match=rf"^request: must be a request .*{type(other).__name__}$"):
        tracker.track_event("a", request=other)
    settings.LITTLEBRO_STRICT = False
    assert tracker.track_event("a", request=other) is None
    assert losses.drain("default") == {"invalid": 1}


@pytest.mark.parametrize("nobody", [None, AnonymousUser(), User()], ids=["None", "anonymous", "unsaved"])
def test_nobody(nobody: Any) -> None:
    """An anonymous or unsaved user is nobody."""
    event = tracker.track_event("x", user=nobody)
    assert event is not None
    assert event.user_id is None


@pytest.mark.parametrize("header", ["HTTP_DNT", "HTTP_SEC_GPC"])
def test_visitors_who_opt_out_are_left_alone(settings: Any, header: str) -> None:
    """DNT and Sec-GPC drop the event, counted; a setting switches that off."""
    assert tracker.track_event("x", request=asked(**{header: "1"})) is None
    with Serving(asked(**{header: "1"})):
        assert tracker.track_event("x") is None
    assert losses.drain("default") == {"opted-out": 2}
    assert tracker.track_event("x", request=asked(**{header: "0"})) is not None
    settings.LITTLEBRO_RESPECT = ()
    assert tracker.track_event("x", request=asked(**{header: "1"})) is not None


@pytest.mark.usefixtures("production")
def test_an_odd_id_of_a_request_costs_itself() -> None:
    """A loaded user whose key is no id (too long) is left out and counted; the event is kept."""
    request = asked()
    request.user = User(pk=10**300)
    event = tracker.track_event("x", request=request)
    assert event is not None
    assert event.user_id is None
    assert losses.drain("default") == {"invalid-context": 1}


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    "place", [(Pipeline, "run"), (TrackerHandler, "all"), (Memory, "save_many")], ids=str
)
async def test_nothing_is_raised_in_production(
    monkeypatch: pytest.MonkeyPatch, place: tuple[type, str]
) -> None:
    """Whatever breaks inside costs the event, counted, and not the caller; sync and async."""
    tracker.track_event("warm")

    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    losses.drain("default")
    monkeypatch.setattr(*place, broken)
    if place[0] is TrackerHandler:
        monkeypatch.setattr(trackers["default"], "record", broken)
        monkeypatch.setattr(trackers["default"], "arecord", broken)
    with warnings.catch_warnings(action="ignore"):
        assert tracker.track_event("x") is None
        assert await tracker.atrack_event("x") is None
        assert await tracker.atrack_events([{"name": "x"}]) == [None]
    counts = losses.drain("default")
    assert counts.get("internal", 0) + counts.get("not-stored", 0) == 3


class Sender(BaseTracker):
    """The least that a stranger writes."""

    sent: list[bytes]
    answer: bool | None = None

    def send(self, event: Event, line: bytes) -> bool | None:
        self.__dict__.setdefault("sent", []).append(line)
        return self.answer


async def test_a_strangers_tracker(settings: Any) -> None:
    """`send` is all that a tracker needs; None means accepted, False means not."""
    table = {"TRACKER": "tests.test_tracker.Sender", "BACKEND": "memory", "LOCATION": "stranger"}
    settings.LITTLEBRO = {"default": table}
    event = tracker.track_event("x")
    assert event is not None
    assert b'"name":"x"' in trackers["default"].__dict__["sent"][0]
    assert await tracker.atrack_event("y") is not None
    Sender.answer = False
    try:
        assert tracker.track_event("z") is None
    finally:
        Sender.answer = None
    assert (tracker.flush(0), tracker.upkeep()["left"], tracker.status()["journal"]) == (True, 0, None)
    with pytest.raises(NotImplementedError, match="BaseTracker must implement send"):
        BaseTracker(trackers["default"].config).send(event, b"")


@pytest.mark.parametrize("used_before", [True, False])
def test_the_default_tracker_can_be_mocked(settings: Any, used_before: bool) -> None:
    """What a test puts in a method's place is called, and gone afterwards, even if the tracker was rebuilt."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "mocked"}}
    if used_before:
        tracker.track_event("x")
    with mock.patch.object(tracker, "track_event") as stand_in:
        tracker.track_event("y")
    stand_in.assert_called_once_with("y")
    assert isinstance(tracker.track_event("z"), Event)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "flush", lambda: "never")
        assert tracker.flush() == "never"  # type: ignore[comparison-overlap]  # it is not flush() that answers
    assert tracker.flush() is True
    with mock.patch.object(tracker, "status"):
        settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "rebuilt"}}
    assert tracker.status()["journal"] is None
