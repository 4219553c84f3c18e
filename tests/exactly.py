"""Comparison that counts types, and random values of every kind, for tests of what is stored.

`exact` tells 1 from 1.0 and True, and one double from its neighbour; the strategies make what JSON can hold, and
what it cannot.
"""

import datetime
import decimal
import enum
import pathlib
import uuid
import zoneinfo
from typing import Any

from hypothesis import strategies as st

NOT_JSON = object()


def exact(value: Any) -> str:
    """Return a text that two values share only if they are equal in type and content, at any depth."""
    if type(value) is dict:
        return "{" + ",".join(f"{exact(key)}:{exact(value[key])}" for key in sorted(value)) + "}"
    if type(value) is list:
        return "[" + ",".join(map(exact, value)) + "]"
    return f"{type(value).__name__}:{value!r}"


class Colour(enum.Enum):
    """A stand-in for any Enum."""

    RED = "red"
    SEVEN = 7


# What every backend can keep: no NUL, no halves of surrogate pairs.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
# Fit to be a name or an id.
labels = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=200)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda number: number or 0.0
)
scalars = st.none() | st.booleans() | numbers | texts


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    # Keys with a letter in front are not sensitive ones by chance ("pin"), which would be redacted.
    keys = texts.map(lambda text: f"\u00f8{text}")
    return st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5)


json_values = st.recursive(scalars, _deeper, max_leaves=25)
json_objects = st.dictionaries(texts.map(lambda text: f"\u00f8{text}"), json_values, max_size=8)

any_text = st.text(st.characters(codec=None), max_size=10)
python_scalars = (
    scalars
    | any_text
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.sampled_from([*Colour, Colour, object(), len, NOT_JSON, ..., range(3), pathlib.PurePosixPath("/a")])
    | st.builds(iter, st.just([1]))
)
python_keys = (
    any_text | st.integers() | st.none() | st.booleans() | st.uuids() | st.sampled_from(list(Colour))
)
python_values = st.recursive(
    python_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(python_keys, inner, max_size=4)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


def documented(value: Any) -> Any:
    """Return what `value` is to be stored as, written anew from the table of inputs; only for what is kept."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, dict):
        return {key: documented(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [documented(item) for item in value]
    if isinstance(value, datetime.datetime):
        moment = value if value.utcoffset() is not None else value.replace(tzinfo=NEPAL)
        moment = moment.astimezone(datetime.UTC)
        point = f".{moment.microsecond:06}" if moment.microsecond else ""
        return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{point}Z"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        from django.utils.duration import duration_iso_string

        return duration_iso_string(value)
    if isinstance(value, decimal.Decimal | uuid.UUID | pathlib.PurePath):
        return str(value)
    if isinstance(value, float):
        return value or 0.0
    return value


# The suite's TIME_ZONE, in which naive datetimes are read.
NEPAL = zoneinfo.ZoneInfo("Asia/Kathmandu")
