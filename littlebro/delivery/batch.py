"""What is inside a sealed segment, or a message that travels through a broker: events, notes of refused input, and
counts of losses.

Bytes in, a `Batch` out; a torn line (its writer was killed in the middle) was never accepted and is passed over, a
damaged one is kept for the dead letters. Knows the format of lines, not where they go.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from littlebro.events.event import FORMAT, Event, decode
from littlebro.exceptions import InvalidEvent, NewerFormat

__all__ = ["Batch", "parse", "parse_message", "refusal_line", "untouched"]

# Event lines start with their id; every other line says with this key what it is.
_MARK: Final = b'{"littlebro":'
_INNER_MARK: Final = b"\n" + _MARK
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Batch(msgspec.Struct):
    """The lines of one segment, by what they are; `unreadable` is keyed by segment and line number."""

    events: list[Event]
    refused: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    unreadable: dict[str, bytes]

    def notes(self, source: str) -> list[dict[str, Any]]:
        """Return what is no event as notes that can travel by themselves; `source` is the segment's name."""
        lost = [{**note, "source": source} for note in self.losses]
        unread = [
            {"littlebro": "unreadable", "key": key, "line": line} for key, line in self.unreadable.items()
        ]
        return [*self.refused, *lost, *unread]


class _Glance(msgspec.Struct):
    """What tells an event from anything else without reading it."""

    id: str
    v: int = FORMAT


class _Note(msgspec.Struct):
    littlebro: str


class _Refused(msgspec.Struct):
    alias: str
    id: str
    collection: str
    name: str
    reason: str


class _Loss(msgspec.Struct):
    alias: str
    day: date
    counts: dict[str, int]
    source: str = ""  # the segment, once a note travels by itself


class _Unreadable(msgspec.Struct):
    key: str
    line: bytes


_glances: Final = msgspec.json.Decoder(list[_Glance])
_kind: Final = msgspec.json.Decoder(_Note)
# What a note must hold to find its way into a table: one that does not would fail there again and again.
_forms: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "refused": msgspec.json.Decoder(_Refused),
    "loss": msgspec.json.Decoder(_Loss),
    "unreadable": msgspec.json.Decoder(_Unreadable),
}
_note: Final = msgspec.json.Decoder(dict[str, Any])


def parse_message(text: str) -> Batch:
    """Return what a message's JSON array holds; raises `NewerFormat` where a newer littlebro sent it.

    What is neither event nor note is unreadable.
    """
    batch = Batch([], [], [], {})
    try:
        items = [bytes(item) for item in _items.decode(text)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        items = [text.encode(errors="replace")]
    for item in items:
        try:
            _sort(item, batch)
        except (InvalidEvent, msgspec.MsgspecError):
            batch.unreadable[f"message:{blake2b(item, digest_size=12).hexdigest()}"] = item
    return batch


def _sort(text: bytes, batch: Batch) -> None:
    """Put an event or a note to its like in `batch`; raises `InvalidEvent` or `MsgspecError` for a damaged one."""
    if not text.startswith(_MARK):
        batch.events.append(decode(text))
        return
    kind = _kind.decode(text).littlebro
    if kind not in _forms:
        message = f"A note of the kind {kind!r} waits for a newer littlebro."
        raise NewerFormat(message)
    checked = _forms[kind].decode(text)
    if kind == "unreadable":
        batch.unreadable[checked.key] = checked.line
    else:
        (batch.losses if kind == "loss" else batch.refused).append(_note.decode(text))


def parse(content: bytes, name: str) -> Batch:
    """Return what the segment `name` holds; raises `NewerFormat` where a newer littlebro wrote it."""
    batch = Batch([], [], [], {})
    body, _, _torn = content.rpartition(b"\n")
    lines = body.split(b"\n")
    for number, line in enumerate(lines, 1):
        # NUL bytes are room that was reserved and never written; JSON has none.
        text = line.lstrip(b"\0")
        if not text:
            continue
        try:
            _sort(text, batch)
        except (InvalidEvent, msgspec.MsgspecError):
            # The last line may be torn though it has its end: memory is copied in no certain order.
            if number < len(lines) or b"\0" not in line:
                batch.unreadable[f"{name}:{number}"] = line
    return batch


def untouched(content: bytes) -> str | None:
    """Return the events of a segment as the text of a JSON array, just as they were written.

    None where it holds anything else, or less than that much is certain: `parse` then says what. It takes a fifth
    of the time: the lines are looked over (each is JSON, an object with an id, of a format known here), not read.
    """
    body, end, _torn = content.rpartition(b"\n")
    if not end or b"\0" in body or body.startswith(_MARK) or _INNER_MARK in body:
        return None
    text = b"[" + body.replace(b"\n", b",") + b"]"  # a line of JSON holds no line break
    try:
        glances = _glances.decode(text)
        if len(glances) != body.count(b"\n") + 1 or any(glance.v > FORMAT for glance in glances):
            return None
        return text.decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def refusal_line(
    alias: str, error: InvalidEvent, given: Mapping[str, Any], event_id: str, collection: str
) -> bytes:
    """Return the small line that tells of refused input: name, id, path and reason, never the params."""
    name = given.get("name")
    return msgspec.json.encode(
        {
            "littlebro": "refused",
            "alias": alias,
            "id": event_id,
            "collection": collection,
            "name": shown(name)[:200] if isinstance(name, str) else "",
            "at": datetime.now(UTC),
            "reason": shown(str(error))[:500],
        }
    )


def shown(text: str) -> str:
    """Return `text` with what no database or terminal can take escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
