"""What is inside a sealed segment: events, notes of refused input, and counts of losses.

Bytes in, a `Batch` out; a torn line (its writer was killed in the middle) was never accepted and is passed
over, a damaged one is kept for the dead letters. Knows the format of lines, not where they go.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from littlebro.events.event import Event, decode
from littlebro.exceptions import InvalidEvent

__all__ = ["Batch", "parse", "refusal_line"]

# Event lines start with their id; every other line says with this key what it is.
_MARK: Final = b'{"littlebro":'


class Batch(msgspec.Struct):
    """The lines of one segment, by what they are; `unreadable` is keyed by segment and line number."""

    events: list[Event]
    refused: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    unreadable: dict[str, bytes]


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
            if text.startswith(_MARK):
                note = msgspec.json.decode(text, type=dict[str, Any])
                (batch.losses if note["littlebro"] == "loss" else batch.refused).append(note)
            else:
                batch.events.append(decode(text))
        except (InvalidEvent, msgspec.MsgspecError, KeyError):
            # The last line may be torn though it has its end: memory is copied in no certain order.
            if number < len(lines) or b"\0" not in line:
                batch.unreadable[f"{name}:{number}"] = line
    return batch


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
