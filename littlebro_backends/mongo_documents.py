"""An event as a document of MongoDB's, and back, exactly.

BSON dates keep milliseconds: each time is kept twice, as a date for people, for TTL and for aggregations, and
in ``…_us`` as whole microseconds since 1970, by which littlebro itself asks and orders. Integers go as int32 or
int64 and come back as int, floats go as doubles. Keys are kept as they are (MongoDB 5 and later).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from littlebro.events.event import Event

__all__ = ["BATCH", "EVENT_FIELDS", "document", "documents", "event", "microseconds", "storable"]

BATCH: Final = "batch"
"""The field that names the write which stored a document: see `mongo_order`."""

EVENT_FIELDS: Final[Mapping[str, int]] = {"timestamp": 0, "received_at": 0}
"""The projection with which documents are read: times are read from the microseconds alone."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _PlainIntegers(TypeDecoder):
    """Give back int for int64; bson has a type of its own for it."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> int:
        return int(value)


_options: Final[CodecOptions[dict[str, Any]]] = CodecOptions(type_registry=TypeRegistry([_PlainIntegers()]))
_raw: Final = CodecOptions(document_class=RawBSONDocument)
_REFERENCE: Final = b"$ref\x00"


def microseconds(moment: datetime) -> int:
    """Return an aware moment as whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def document(event: Event, batch: ObjectId) -> dict[str, Any]:
    """Return the document of `event`; who is nobody is left out, so that the indexes of people stay small."""
    fields = {
        "_id": event.id,
        "name": event.name,
        "timestamp": event.timestamp,
        "timestamp_us": (event.timestamp - _EPOCH) // _MICROSECOND,
        "received_at": event.received_at,
        "received_at_us": (event.received_at - _EPOCH) // _MICROSECOND,
        "params": event.params,
        "context": event.context,
        "v": event.v,
        BATCH: batch,
    }
    if event.user_id is not None:
        fields["user_id"] = event.user_id
    if event.anonymous_id is not None:
        fields["anonymous_id"] = event.anonymous_id
    return fields


def event(fields: Mapping[str, Any], stream: str) -> Event:
    """Return the event that a document of the collection `stream` holds."""
    return Event(
        id=fields["_id"],
        name=fields["name"],
        timestamp=_EPOCH + timedelta(microseconds=fields["timestamp_us"]),
        received_at=_EPOCH + timedelta(microseconds=fields["received_at_us"]),
        params=fields["params"],
        context=fields["context"],
        user_id=fields.get("user_id"),
        anonymous_id=fields.get("anonymous_id"),
        collection=stream,
        v=fields["v"],
    )


def documents(batches: Sequence[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the documents of raw replies.

    bson makes an object of its own out of a mapping with the keys ``$ref`` and ``$id``, and loses some others on
    the way; what may hold one is decoded step by step instead.
    """
    for batch in batches:
        if _REFERENCE in batch:
            yield from map(_plain, bson.decode_all(batch, _raw))
        else:
            yield from bson.decode_all(batch, _options)


def storable(text: str) -> bool:
    """Return whether any document could hold `text`; the driver raises for what none could."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _plain(value: Any) -> Any:
    if isinstance(value, RawBSONDocument):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, Int64) else value
