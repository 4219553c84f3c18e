"""What a report reads: the events of an alias as three relations, as fresh as the store itself.

In: an alias, its collections. Out: a `Reader`, on whose session stand the views `events`, `links` and `people`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from django.utils import timezone

from littlebro import conf
from littlebro.analysis.engine import Session, engine
from littlebro.analysis.rows import EVENTS_FROM_LINES, line
from littlebro.events.event import utc
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

__all__ = ["Reader", "open_reader"]


class Reader(msgspec.Struct, frozen=True):
    """A consistent look at the events of an alias.

    `as_of` is aware, in UTC: whatever was stored before it is in. `version` is a text that changes whenever an
    answer may have changed. On the session are the relations

    - ``events``: id, collection, name, user_id, anonymous_id (text), ts and received (microseconds since the epoch,
      UTC), who (the event's own person as a 64-bit key, or NULL), params, context (JSON text), of `collections`;
    - ``links``: anonymous_id, anon, user_id, person: for each anonymous id ever seen with a user, in any
      collection, the first such user by (ts, id, collection);
    - ``people``: `events` with ``person``, the key after links were followed; NULL where an event has no id.
    """

    alias: str
    as_of: datetime
    version: str
    collections: tuple[str, ...]
    session: Session

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement of our own with ``$name`` parameters; see `Session.rows`."""
        return self.session.rows(sql, parameters)


@contextmanager
def open_reader(alias: str = "default", *, collections: tuple[str, ...] | None = None) -> Iterator[Reader]:
    """Give a reader on `collections` of the alias's store; None means the alias's own.

    Raises `ImproperlyConfigured` without DuckDB, `InvalidQuery` for what can be no collection,
    `UnsupportedOperation` for a backend that cannot be read.
    """
    wanted = (conf.alias_config(alias).collection,) if collections is None else tuple(collections)
    for name in wanted:
        if not isinstance(name, str) or not conf.COLLECTION.fullmatch(name):
            raise InvalidQuery(f"A collection is 1-64 of A-Z a-z 0-9 _ -, not {name!r:.80}.")
    with engine.session(conf.setting("LITTLEBRO_ANALYSIS_SECONDS")) as session:
        as_of = utc(timezone.now())
        version = _load(session, alias)
        _make_views(session, wanted)
        yield Reader(alias, as_of, version, wanted, session)


def _load(session: Session, alias: str) -> str:
    """Read the whole store into a temporary table."""
    path = session.instance.scratch.file(".jsonl")
    last = b""
    n = 0
    try:
        with path.open("wb") as lines:
            for event in backends[alias].scan(EventQuery()):
                last = line(event)
                n += 1
                lines.write(last)
        session.rows(f"CREATE TEMP TABLE stored AS {EVENTS_FROM_LINES}", {"path": str(path)})
    finally:
        path.unlink(missing_ok=True)
    return f"{n}:{hash(last)}"


def _make_views(session: Session, collections: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{name}'" for name in collections)  # a collection holds no quote
    chosen = f"collection IN ({listed})" if listed else "false"
    session.rows(f"CREATE TEMP VIEW events AS SELECT * FROM stored WHERE {chosen}")  # noqa: S608 - ours
    session.rows(
        "CREATE TEMP VIEW links AS"
        " SELECT anonymous_id, md5_number_lower('a' || anonymous_id) AS anon, user_id,"
        " md5_number_lower('u' || user_id) AS person FROM ("
        "  SELECT anonymous_id, arg_min(user_id, (ts, id, collection)) AS user_id FROM stored"
        "  WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL GROUP BY anonymous_id)"
    )
    session.rows(
        "CREATE TEMP VIEW people AS SELECT e.*, coalesce(l.person, e.who) AS person"
        " FROM events e LEFT JOIN links l ON e.user_id IS NULL AND l.anon = e.who"
    )
