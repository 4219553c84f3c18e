"""An event as a line of bytes and back; what a segment of lines holds; a batch of which a part is refused."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlebro import Event, tracker, trackers
from littlebro.delivery import losses
from littlebro.delivery.batch import parse, refusal_line, shown
from littlebro.delivery.deliver import Delivery
from littlebro.events.event import decode, encode, utc
from littlebro.exceptions import EventRefused, InvalidEvent, NewerFormat
from littlebro.models import DeadLetter
from littlebro.storage import SaveResult, backends
from tests.exactly import NEPAL, json_objects
from tests.test_tracker import fail

NOON = datetime(2026, 3, 29, 12, 0, 0, 1, tzinfo=UTC)


def make(number: int = 1, **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": str(number), "name": "x", "timestamp": NOON, "received_at": NOON, "params": {}, "context": {},
    }  # fmt: skip
    return Event(**(given | fields))


@given(params=json_objects, context=json_objects)
def test_a_line_is_one_line_and_the_whole_event(params: dict[str, Any], context: dict[str, Any]) -> None:
    """Encoded, an event has no line break and starts with its id; decoded, it is equal."""
    event = make(params=params, context=context, user_id="7", anonymous_id="a", collection="c")
    line = encode(event)
    assert b"\n" not in line
    assert line.startswith(b'{"id":')
    assert decode(line) == event


def test_events_are_frozen() -> None:
    """An event cannot be changed; its place in reading order is (timestamp, id, collection)."""
    event = make()
    with pytest.raises(AttributeError):
        event.name = "y"  # type: ignore[misc]
    assert event.position == (NOON, "1", "littlebro")
    assert utc(NOON.astimezone(NEPAL)).tzinfo is UTC


NO_EVENTS = {
    "nothing": b"", "a word": b"x", "a list": b"[]", "no fields": b"{}", "torn": encode(make())[:-5],
    "not UTF-8": b"\xff",
    "a number as id": encode(make()).replace(b'"id":"1"', b'"id":1'), "deep": b'{"id":' + b"[" * 100_000,
    "no moment": encode(make()).replace(b"2026-03-29", b"2026-13-29"), "a list as params": b'{"id":"1","params":[]}',
    "no time zone": encode(make()).replace(b'01Z"', b'01"'), "an id too long": encode(make(id="x" * 201)),
    "no id": encode(make(id="")), "a name too long": encode(make(name="x" * 201)), "no name": encode(make(name="")),
    "nobody's id": encode(make(user_id="")), "an anonymous id too long": encode(make(anonymous_id="x" * 201)),
    "no collection": encode(make(collection="")), "a collection too long": encode(make(collection="x" * 65)),
}  # fmt: skip


@pytest.mark.parametrize("label", NO_EVENTS)
def test_what_is_no_event(label: str) -> None:
    """Any other bytes are refused by InvalidEvent, and nothing else comes out."""
    with pytest.raises(InvalidEvent, match="format 1"):
        decode(NO_EVENTS[label])


@pytest.mark.parametrize("more", [b"", b',"shard":[1]'])
def test_what_a_newer_littlebro_wrote(more: bytes) -> None:
    """A newer format is told apart from damage, whether or not this version could read its fields: it must wait."""
    newer = encode(make()).replace(b'"v":1', b'"v":2' + more)
    with pytest.raises(NewerFormat, match="format 2"):
        decode(newer)
    with pytest.raises(NewerFormat):
        decode(newer.replace(b'"params":{}', b'"params":[]'))
    with pytest.raises(NewerFormat):
        parse(newer + b"\n", "segment")


def test_fields_that_are_unknown_are_passed_over() -> None:
    """A field added within the format (arguments are only ever added) keeps nobody from reading the rest."""
    assert decode(encode(make()).replace(b'"v":1', b'"v":1,"later":{"x":1}')) == make()


def test_a_segment_is_sorted_by_what_its_lines_are() -> None:
    """Events, refusals and counts of losses apart; damage is kept under its place; a torn end is not."""
    refusal = refusal_line("default", InvalidEvent("name", "is empty"), {"name": 7}, "1", "c")
    loss = msgspec.json.encode(losses.note("default", {"invalid": 2}))
    second = b"\0\0" + encode(make(2))
    lines = [encode(make(1)), refusal, b"", b"damaged", loss, second, b'{"littlebro":', b"\0" * 100, b"{torn"]
    batch = parse(b"\n".join(lines), "seg")
    assert batch.events == [make(1), make(2)]
    assert [(note["name"], note["id"], note["reason"]) for note in batch.refused] == [
        ("", "1", "name: is empty")
    ]
    assert [note["counts"] for note in batch.losses] == [{"invalid": 2}]
    assert batch.unreadable == {"seg:4": b"damaged", "seg:7": b'{"littlebro":'}
    assert parse(b"", "seg").events == []


@given(text=st.text(st.characters(codec=None)))
def test_shown_text_is_printable(text: str) -> None:
    """What goes into logs and reasons is one printable line that any database takes."""
    assert shown(text).isprintable()
    assert shown("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600"


def picky(guilty: set[int], calls: list[int], duplicates: bool = True) -> Callable[[list[Event]], SaveResult]:
    """Return a store that refuses a batch with a guilty event in it, and cannot tell which."""

    def trouble(events: Sequence[Event]) -> SaveResult:
        calls.append(len(events))
        if guilty & {int(event.id) for event in events}:
            raise EventRefused("something in there is odd")
        return SaveResult(len(events), 0 if duplicates else None)

    return trouble


@pytest.fixture
def _picky(settings: Any, request: pytest.FixtureRequest) -> None:
    path, name = "tests.test_tracker.Fragile", request.node.nodeid
    settings.LITTLEBRO = {
        "default": {"BACKEND": path, "LOCATION": name, "SINKS": ["sink"]},
        "sink": {"BACKEND": path, "LOCATION": f"{name} sink"},
    }
    losses.drain("default")


@pytest.mark.django_db
@pytest.mark.usefixtures("_picky")
@pytest.mark.parametrize("guilty", [{0}, {63}, {31, 32}, {5, 6, 40}, set(range(0, 64, 2))], ids=str)
@pytest.mark.parametrize("known", [True, False])
def test_the_guilty_are_found_by_halving(
    monkeypatch: pytest.MonkeyPatch, guilty: set[int], known: bool
) -> None:
    """Whoever is refused alone becomes a dead letter with its bytes; all others are stored; it takes few attempts."""
    calls: list[int] = []
    monkeypatch.setattr(backends["default"], "trouble", picky(guilty, calls, known))
    outcome = trackers["default"].deliver([make(number) for number in range(64)])
    assert {int(event_id) for _, event_id in outcome.refused} == guilty
    assert (outcome.stored, outcome.duplicates) == (64 - len(guilty), 0 if known else None)
    assert len(calls) <= 1 + 2 * 6 * len(guilty)
    assert {int(letter.event_id): bytes(letter.body) for letter in DeadLetter.objects.all()} == {
        number: encode(make(number)) for number in guilty
    }
    assert losses.drain("default") == {"dead-letter": len(guilty)}
    assert len(trackers["sink"].events(limit=100).events) == 64


@pytest.mark.django_db
@pytest.mark.usefixtures("_picky")
@pytest.mark.parametrize("by_name", [True, False])
def test_where_all_are_guilty_it_is_not_the_data(monkeypatch: pytest.MonkeyPatch, by_name: bool) -> None:
    """A batch refused to the last event is kept, to be tried again, and none of it is a dead letter."""

    def all_by_name(events: Sequence[Event]) -> SaveResult:
        return SaveResult(0, 0, {(event.collection, event.id): "odd" for event in events})

    monkeypatch.setattr(backends["default"], "trouble", all_by_name if by_name else picky(set(range(8)), []))
    with pytest.raises(EventRefused, match="all 8 events were refused alike"):
        trackers["default"].deliver([make(number) for number in range(8)])
    assert not DeadLetter.objects.exists()
    assert losses.drain("default") == {}


@pytest.mark.django_db
@pytest.mark.usefixtures("_picky")
def test_a_sink_that_fails_does_so_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivering a batch, the backend's success is the answer; what a sink did not take is counted under its name."""
    fail("sink", monkeypatch, ConnectionError("away"))
    assert trackers["default"].deliver([make(1), make(2)]).stored == 2
    assert losses.drain("default") == {"not-stored:sink": 2}
    fail("default", monkeypatch, ConnectionError("away"))
    with pytest.raises(ConnectionError):
        trackers["default"].deliver([make(3)])
    assert isinstance(tracker.delivery_to("gone"), Delivery)
