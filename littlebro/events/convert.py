"""Values that JSON does not know, each turned into one that it does, by one rule a type.

The slow half of the validator: scalars and plain containers never come here. The rules are the ones that
`docs/events.rst` lists; what has no rule is refused with a sentence that says what to pass instead.
"""

import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeGuard

import msgspec
from django.utils import timezone
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise

__all__ = ["NO_RULE", "is_text", "plain", "refusal", "to_utc"]

NO_RULE: Final = object()


def to_utc(moment: datetime.datetime) -> datetime.datetime:
    """Return `moment` in UTC; a naive one is read in Django's current time zone.

    Raises `OverflowError` where the result would lie outside the years 1 to 9999.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        moment = timezone.make_aware(moment.replace(tzinfo=None))
    moment = moment.astimezone(datetime.UTC)
    return datetime.datetime(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
        datetime.UTC,
    )


def is_text(value: object) -> TypeGuard[str]:
    """Return whether `value` is text itself: a lazy object only says that it is."""
    return issubclass(type(value), str)


def plain(value: Any) -> Any:
    """Return `value` as text, number, list or dict, one level deep, or `NO_RULE`.

    Enum members give the text of their value, Decimal and UUID their `str`, dates and times ISO 8601 (datetimes
    in UTC), timedeltas an ISO 8601 duration, paths and lazy translations their text; mappings, dataclasses,
    msgspec structs and pydantic models give objects, tuples give lists.
    """
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, datetime.datetime):
        return to_utc(value).isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return duration_iso_string(value)
    if isinstance(value, decimal.Decimal | uuid.UUID | pathlib.PurePath | Promise):
        return str(value)
    return _container(value)


def _container(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value.items())
    if isinstance(value, type):
        return NO_RULE
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if callable(getattr(value, "model_dump", None)) and hasattr(value, "model_fields_set"):
        return value.model_dump()
    return NO_RULE


def refusal(value: Any) -> str:
    """Return why a value without a rule is refused, and what to pass instead."""
    kind = type(value).__name__
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return f"a model instance ({kind}) cannot be kept; pass its pk"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{kind} cannot be kept in JSON; decode it, or pass its base64 text"
    if isinstance(value, AbstractSet):
        return f"a {kind} has no order; pass a sorted list"
    if isinstance(value, Iterator):
        return f"a {kind} would be used up by reading it; pass a list"
    return f"{kind} has no form in JSON; pass text, numbers, lists or dictionaries"
