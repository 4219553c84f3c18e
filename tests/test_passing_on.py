"""What the tracker `celery` sends without reading it, and how it is packed on the way."""

import zlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from littlebro.delivery.batch import parse, parse_message, untouched
from littlebro.events.event import Event, encode, new_id
from littlebro.exceptions import NewerFormat


def line(**more: Any) -> bytes:
    moment = datetime(2026, 5, 4, 3, 2, 1, 7, tzinfo=UTC)
    fields: dict[str, Any] = {
        "id": new_id(), "name": "seen", "timestamp": moment, "received_at": moment, "params": {}, "context": {},
    }  # fmt: skip
    return encode(Event(**{**fields, **more}))


GOOD = [
    line(
        params={"text": 'quotes " and \\ and\nlines, "},{" and ünïcode \u2028 🦉', "n": [1.5e300, None, True]}
    ),
    line(user_id="7", anonymous_id="a", collection="audit"),
    line(context={"deep": {"er": [{"still": "{"}]}}),
]


def segment(*lines: bytes) -> bytes:
    return b"\n".join(lines) + b"\n"


def test_events_travel_as_they_were_written() -> None:
    text = untouched(segment(*GOOD))
    assert text is not None
    assert text == msgspec.json.encode(parse(segment(*GOOD), "s").events).decode()
    assert parse_message(text).events == parse(segment(*GOOD), "s").events


@pytest.mark.parametrize("tail", [b"", b'{"id":"torn', b"\0\0\0\0", b'{"id":"t"\0\0'])
def test_a_torn_end_was_never_accepted(tail: bytes) -> None:
    assert untouched(segment(*GOOD) + tail) == untouched(segment(*GOOD))


@pytest.mark.parametrize(
    "odd",
    [
        b'{"littlebro":"loss","reason":"x"}',
        b'{"littlebro":"refused"}',
        b"",
        b"\0\0" + GOOD[0],
        GOOD[0][:40] + b"\0\0" + GOOD[0][42:],
        b"no JSON",
        GOOD[0][:-1],
        GOOD[0] + b"," + GOOD[1],
        b'{"name":"without an id"}',
        b'{"id":7}',
        b"[]",
        b"7",
        b'{"id":"x","params":"\xff"}',
        b'{"id":"x","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        GOOD[0].replace(b'"v":1', b'"v":2'),
        b'{"id":"x","v":2,"other":{}}',
        b'{"id":"x","v":"2"}',
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_whatever_else_there_is_is_read(odd: bytes, place: int) -> None:
    lines = [*GOOD]
    lines.insert(place, odd)
    assert untouched(segment(*lines)) is None


REFUSED = b'{"littlebro":"refused","alias":"default","id":"1","collection":"c","name":"x","reason":"odd"}'
LOSS = b'{"littlebro":"loss","alias":"default","day":"2026-05-04","counts":{"invalid":1},"source":"s"}'


@pytest.mark.parametrize(
    "damaged",
    [
        REFUSED.replace(b"alias", b"alics"),
        REFUSED.replace(b'"odd"', b"7"),
        REFUSED.replace(b'"refused"', b"{}"),
        LOSS.replace(b"2026-05-04", b"2026-55-04"),
        LOSS.replace(b"counts", b"count5"),
        LOSS.replace(b":1}", b':"one"}'),
    ],
)
def test_a_damaged_note_is_set_aside(damaged: bytes) -> None:
    """It would fail on its way into a table again and again, and whatever came with it would wait for ever."""
    whole = [REFUSED, LOSS, GOOD[0]]
    batch = parse(segment(damaged, *whole), "s")
    assert (len(batch.events), len(batch.refused), len(batch.losses)) == (1, 1, 1)
    assert batch.unreadable == {"s:1": damaged}
    batch = parse_message((b"[" + b",".join([damaged, *whole]) + b"]").decode())
    assert (len(batch.events), len(batch.refused), len(batch.losses)) == (1, 1, 1)
    assert [*batch.unreadable.values()] == [damaged]


def test_a_note_of_a_newer_kind_waits() -> None:
    """In a journal as in a message."""
    newer = b'{"littlebro":"promise","what":"only a newer one knows"}'
    with pytest.raises(NewerFormat, match="promise"):
        parse(segment(newer), "s")
    with pytest.raises(NewerFormat, match="promise"):
        parse_message(f"[{newer.decode()}]")


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\0\0", b'{"id":"torn'])
def test_nothing_is_no_batch(content: bytes) -> None:
    assert untouched(content) is None


class TestPacking:
    """A message through kombu's own memory transport, to a consumer that knows nothing of littlebro."""

    @pytest.fixture
    def taken(self) -> Any:
        kombu = pytest.importorskip("kombu")
        pytest.importorskip("celery")
        from littlebro.publishing import _Packer

        def send(args: Any, **more: Any) -> Any:
            with kombu.Connection("memory://") as connection:
                queue = connection.SimpleQueue(new_id())
                exchange, key = queue.queue.exchange, queue.queue.routing_key
                producer = _Packer(connection, exchange=exchange, routing_key=key, auto_declare=False)
                producer.publish(args, headers={"id": "1"}, serializer="json", compression=None, **more)
                message = queue.get(timeout=5)
                message.ack()
                return message

        return send

    def test_a_batch_is_packed_and_any_consumer_unpacks_it(self, taken: Any) -> None:
        text = untouched(segment(*GOOD * 40))
        body: Any = (("default", text), {}, {"callbacks": None})
        message = taken(body)
        assert message.payload == [["default", text], {}, {"callbacks": None}]
        assert message.headers == {"id": "1", "compression": "application/x-gzip"}
        assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")

    def test_a_small_one_is_not(self, taken: Any) -> None:
        message = taken((("default", "[]"), {}, {}))
        assert message.payload == [["default", "[]"], {}, {}]
        assert "compression" not in message.headers

    def test_it_is_a_tenth_of_the_size(self) -> None:
        text = untouched(segment(*(line(params={"n": number}) for number in range(500))))
        assert text is not None
        assert len(zlib.compress(text.encode(), 1)) < len(text) / 6

    def test_the_projects_own_compression_comes_first(self, taken: Any) -> None:
        kombu = pytest.importorskip("kombu")
        from littlebro.publishing import _Packer

        with kombu.Connection("memory://") as connection:
            queue = connection.SimpleQueue(new_id())
            producer = _Packer(connection, exchange=queue.queue.exchange, routing_key=queue.queue.routing_key)
            producer.publish(("x" * 5000,), headers={}, serializer="json", compression="bzip2")
            message = queue.get(timeout=5)
            assert message.headers == {"compression": "application/x-bz2"}
            assert message.payload == ["x" * 5000]
