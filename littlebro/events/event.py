"""What an event is, and its one form as bytes: a line of JSON.

The struct is frozen and holds a snapshot that the validator made; encoding and decoding live beside it, so
that journal, broker and dead letters all carry the same line. Knows nothing of where events go.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from uuid_utils import uuid7

from littlebro.exceptions import InvalidEvent, NewerFormat

__all__ = ["FORMAT", "Event", "Position", "decode", "encode", "new_id", "utc"]

FORMAT: Final = 1

Position = tuple[datetime, str, str]

# What is decoded is held to these, which cost nothing there: it may be damaged, or come from others than us, and some
# backends fail at it again and again. What a call gives is the validator's.
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Collection = Annotated[str, Meta(min_length=1, max_length=64)]
_Moment = Annotated[datetime, Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened once.

    `(collection, id)` is unique in every backend. `timestamp` is when it happened and `received_at` when
    littlebro got it, both aware, in UTC, to the microsecond. `params` is the caller's JSON object, `context`
    the ambient one (request, bound values, what enrichers add). `v` is the version of this format.
    """

    id: _Text
    name: _Text
    timestamp: _Moment
    received_at: _Moment
    params: dict[str, Any]
    context: dict[str, Any]
    user_id: _Text | None = None
    anonymous_id: _Text | None = None
    collection: _Collection = "littlebro"
    v: int = FORMAT

    @property
    def position(self) -> Position:
        """Return the place in reading order: (timestamp, id, collection)."""
        return (self.timestamp, self.id, self.collection)

    def with_params(self, params: dict[str, Any], context: dict[str, Any]) -> "Event":
        """Return this event with other params and context."""
        return msgspec.structs.replace(self, params=params, context=context)

    def with_context(self, context: dict[str, Any], user_id: str | None, anonymous_id: str | None) -> "Event":
        """Return this event with another context and other people."""
        return msgspec.structs.replace(self, context=context, user_id=user_id, anonymous_id=anonymous_id)


class _Version(msgspec.Struct):
    v: int = FORMAT


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Event)
_version: Final = msgspec.json.Decoder(_Version)

encode = _encoder.encode


def decode(line: bytes) -> Event:
    """Return the event that `line` holds.

    Raises `NewerFormat` for one that a newer littlebro wrote, `InvalidEvent` for what is no event.
    """
    try:
        event = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        _refuse_newer(line)
        raise InvalidEvent("event", f"not an event of format {FORMAT}: {error}") from error
    if event.v > FORMAT:
        _refuse_newer(line)
    return event


def _refuse_newer(line: bytes) -> None:
    try:
        version = _version.decode(line).v
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return
    if version > FORMAT:
        message = f"An event of format {version} waits for a newer littlebro; this one reads up to {FORMAT}."
        raise NewerFormat(message)


def new_id() -> str:
    """Return a fresh event id: a UUIDv7 (RFC 9562) as text, so that ids sort by the time of their making."""
    return str(uuid7())


def utc(moment: datetime) -> datetime:
    """Return an aware `moment` in UTC."""
    return moment.astimezone(UTC)
