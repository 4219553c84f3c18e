"""What reports are asked with: people, steps, paths, ranges and zones, each checked here once.

In: what a caller, a command line or a URL gives. Out: checked values, or `InvalidQuery` with a sentence that
says what would be right. Knows no SQL and no engine.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from django.utils.timezone import get_current_timezone
from django.utils.timezone import now as present

from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = [
    "COLUMNS",
    "Compare",
    "Interval",
    "Path",
    "Person",
    "Span",
    "Step",
    "at_or_now",
    "check_choice",
    "check_limit",
    "check_path",
    "in_zone",
    "microseconds",
    "moment_of",
    "span_of",
    "zone_of",
]

Path = tuple[str, ...]
"""``("params", key, …)``, ``("context", key, …)`` or one of `COLUMNS` alone: ``("name",)``."""

Interval = Literal["hour", "day", "week", "month"]
Compare = Literal["previous", "year"]

COLUMNS: Final = ("name", "user_id", "anonymous_id", "collection")
MAX_LIMIT: Final = 10_000
_SIGNS: Final = {"eq": "=", "ne": "≠", "le": "≤", "ge": "≥", "lt": "<", "gt": ">", "starts": "starts with"}
_OFFSET: Final = re.compile(r"(UTC)?[+-]\d\d:?\d\d(:?\d\d(\.\d{6})?)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Person(msgspec.Struct, frozen=True):
    """Somebody, as the reports know them: by `user_id` or, never seen with one, by `anonymous_id`.

    Exactly one of the two is text of 1 to 200 characters, the other is None; raises `InvalidQuery` otherwise.
    """

    user_id: str | None = None
    anonymous_id: str | None = None

    def __post_init__(self) -> None:
        text = self.anonymous_id if self.user_id is None else self.user_id
        if (self.user_id is None) is (self.anonymous_id is None) or not isinstance(text, str) or not text:
            raise InvalidQuery("A person has a user_id or an anonymous_id, as text, and not both.")

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        """Return the person as one text, for URLs: ``u:42``, ``a:abc``."""
        return f"u:{self.user_id}" if self.user_id is not None else f"a:{self.anonymous_id}"

    @property
    def who(self) -> int:
        """Return the 64-bit number that stands for this person in the engine.

        The lower half of the MD5 of ``u`` or ``a`` and the id, little end first: DuckDB's
        ``md5_number_lower``.
        """
        text = f"u{self.user_id}" if self.user_id is not None else f"a{self.anonymous_id}"
        digest = hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()
        return int.from_bytes(digest[8:], "little")

    @classmethod
    def parse(cls, text: str) -> Person:
        """Return the person whose `key` is `text`; raises `InvalidQuery` for any other text."""
        kind, colon, rest = text.partition(":")
        if kind not in {"u", "a"} or not colon or not 1 <= len(rest) <= 200:
            raise InvalidQuery("A person is written u:USER_ID or a:ANONYMOUS_ID.")
        return cls(user_id=rest) if kind == "u" else cls(anonymous_id=rest)


class Step(msgspec.Struct, frozen=True):
    """What somebody does: an event of this `name` (None: of any) that fulfils all conditions in `where`."""

    name: str | None = None
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if self.name is not None and not isinstance(self.name, str):
            raise InvalidQuery(f"The name of a step is text, not {type(self.name).__name__}.")
        if not isinstance(self.where, tuple | list) or not all(isinstance(c, Condition) for c in self.where):
            raise InvalidQuery("where is a tuple of Condition.")

    @property
    def label(self) -> str:
        """Return what a table calls this step."""
        name = "any event" if self.name is None else self.name
        tests = [
            ".".join(c.path[1:]) + (f" {sign}" if c.op in {"set", "not_set"} else f" {sign} {c.value!r:.40}")
            for c in self.where
            for sign in [_SIGNS.get(c.op, c.op.replace("_", " "))]
        ]
        return f"{name} ({', '.join(tests)})" if tests else name


class Span(msgspec.Struct, frozen=True):
    """A half-open range of time with the zone of its calendar and the moment at which it is asked about."""

    start: datetime
    end: datetime
    zone: tzinfo
    now: datetime

    @property
    def closed(self) -> bool:
        """Return whether the whole range is past."""
        return self.end <= self.now

    @property
    def tz(self) -> str:
        """Return the zone's name."""
        return str(self.zone)


def span_of(query: EventQuery, tz: str | tzinfo | None, now: datetime | None) -> Span:
    """Return the checked range of a report; start, end and now in UTC.

    Raises `InvalidQuery` where `query.start` or `query.end` is missing, or start is not before end.
    """
    if query.start is None or query.end is None:
        raise InvalidQuery("A report has a range: give the query start and end.")
    start, end = query.start.astimezone(UTC), query.end.astimezone(UTC)
    if start >= end:
        raise InvalidQuery(f"The range is empty: start {start.isoformat()} is not before {end.isoformat()}.")
    return Span(start, end, zone_of(tz), at_or_now(now))


def zone_of(tz: str | tzinfo | None) -> tzinfo:
    """Return the time zone of a report's calendar: by name (IANA), as an object, or Django's current one.

    A result names its zone, and answers are kept by that name, so that the name has to lead back to the zone.
    """
    if tz is None:
        tz = get_current_timezone()
    if isinstance(tz, tzinfo):
        if isinstance(tz, ZoneInfo) and tz.key:
            return tz
        offset = tz.utcoffset(None)  # a fixed one, whatever it is called
        return zone_of(str(tz)) if offset is None else timezone(offset)
    try:
        if _OFFSET.fullmatch(tz):  # what a fixed offset calls itself: UTC+05:30, +0530
            return datetime.strptime(tz.removeprefix("UTC"), "%z").tzinfo or UTC
        return ZoneInfo(tz)
    except (KeyError, ValueError, TypeError, OSError) as error:  # a folder's name is an OSError
        raise InvalidQuery(f"There is no time zone {tz!r:.80}; Europe/Berlin is one.") from error


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """Return `moment` as the clocks of `zone` show it; in UTC where the calendar ends in between."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def at_or_now(now: datetime | None) -> datetime:
    """Return `now`, or the present moment for None, in UTC."""
    if now is None:
        return present().astimezone(UTC)
    if now.tzinfo is None:
        raise InvalidQuery("now is a datetime with a time zone.")
    return now.astimezone(UTC)


def check_path(path: Path, label: str = "by") -> Path:
    """Return `path` as a tuple; raises `InvalidQuery` unless it is a `Path`."""
    parts = tuple(path) if isinstance(path, tuple | list) else ()
    if parts and all(isinstance(part, str) for part in parts):
        if len(parts) == 1 and parts[0] in COLUMNS:
            return parts
        if len(parts) > 1 and parts[0] in {"params", "context"}:
            return parts
    raise InvalidQuery(
        f"{label} is a path, such as ('params', 'plan'), or one of {', '.join(COLUMNS)} alone: ('name',)."
    )


def check_choice(value: object, choices: tuple[str, ...], label: str) -> None:
    """Raise `InvalidQuery` unless `value` is one of `choices`."""
    if value not in choices:
        raise InvalidQuery(f"There is no {label} {value!r:.80}; there are {', '.join(choices)}.")


def check_limit(limit: object, label: str = "limit", most: int = MAX_LIMIT) -> int:
    """Return `limit`; raises `InvalidQuery` unless it is a whole number from 1 to `most`."""
    if type(limit) is not int or not 1 <= limit <= most:
        raise InvalidQuery(f"{label} is a whole number from 1 to {most}, not {limit!r:.80}.")
    return limit


def microseconds(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970, as the engine's ``ts`` holds it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(ts: int) -> datetime:
    """Return the moment, in UTC, of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=ts)
