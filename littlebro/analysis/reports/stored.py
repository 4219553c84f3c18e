"""From the engine's rows back to events, newest first, a page at a time, without reading what is not on the page.

In: a reader, conditions, an order. Out: `Event`s. Parameters are most of a lake's bytes: which moments a page has is
found out first, and these alone are read whole.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from littlebro.analysis.question import moment_of
from littlebro.analysis.reader import Reader
from littlebro.events.event import Event
from littlebro.exceptions import InvalidQuery

__all__ = ["Before", "Range", "newest", "pack", "page_range", "unpack"]

_COLUMNS: Final = "id, collection, name, ts, received, user_id, anonymous_id, params, context"
_T = TypeVar("_T")


class Before(NamedTuple):
    """A position in the order of (moment in microseconds, id, collection): what comes before it is meant."""

    moment: int
    id: str
    collection: str


class Range(NamedTuple):
    """The moments of a page, in microseconds, both included, and how many events have to be read for it at most."""

    low: int
    high: int
    most: int


def page_range(
    reader: Reader,
    source: str,
    parameters: Mapping[str, Any],
    limit: int,
    *,
    by: Literal["ts", "received"] = "ts",
    before: Before | None = None,
) -> Range | None:
    """Return the moments of the `limit` newest rows of `source` (the SQL of a relation); None where there are none."""
    most, test = limit, "TRUE"
    if before is not None:  # of the last page's last moment some have been shown, by id
        test = f"{by} <= {before.moment}"
        same = reader.rows(f"SELECT count(*) FROM {source} WHERE {by} = {before.moment}", parameters)  # noqa: S608 - ours
        most += same[0][0]
    low, high = reader.rows(
        f"SELECT min({by}), max({by}) FROM (SELECT {by} FROM {source} WHERE {test} ORDER BY {by} DESC LIMIT {most})",  # noqa: S608 - ours
        parameters,
    )[0]
    return None if low is None else Range(low, high, most)


def newest(
    reader: Reader,
    tests: Sequence[str],
    parameters: Mapping[str, Any],
    limit: int,
    page: Range,
    *,
    table: Literal["events", "people"] = "events",
    by: Literal["ts", "received"] = "ts",
    before: Before | None = None,
) -> list[Event]:
    """Return up to `limit` events of that range for which one of `tests` holds, by (`by`, id, collection) backwards.

    No event fulfils two of the tests. Several that compare with one value each are quicker than one with a list: what
    is no match is then not even unpacked.
    """
    parts = (
        f"SELECT {_COLUMNS} FROM {table} WHERE {by} >= {page.low} AND {by} <= {page.high} AND {test}"  # noqa: S608 - ours; values are parameters
        for test in tests
    )
    rows = reader.rows(
        f"SELECT * FROM ({' UNION ALL '.join(parts)})"  # noqa: S608 - ours
        f" ORDER BY {by} DESC, id DESC, collection DESC LIMIT {page.most}",
        parameters,
    )
    place = 3 if by == "ts" else 4
    return [_event(row) for row in rows if before is None or (row[place], row[0], row[1]) < before][:limit]


def pack(position: object) -> str:
    """Return a position as the text of a cursor, safe in URLs."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def unpack(cursor: str, form: type[_T]) -> _T:
    """Return the position that `cursor` holds; raises `InvalidQuery` for any other text."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=form)
    except (msgspec.MsgspecError, binascii.Error, UnicodeError, AttributeError) as error:
        raise InvalidQuery("This is no cursor of ours; ask again without one, from the start.") from error


def _event(row: Sequence[Any]) -> Event:
    name, collection, kind, ts, received, user, anonymous, params, context = row
    return Event(
        id=name,
        name=kind,
        timestamp=moment_of(ts),
        received_at=moment_of(received),
        params=msgspec.json.decode(params),
        context=msgspec.json.decode(context),
        user_id=user,
        anonymous_id=anonymous,
        collection=collection,
    )
