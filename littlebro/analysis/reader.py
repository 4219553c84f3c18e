"""What a report reads: the events of an alias as three relations, as fresh as the store itself.

In: an alias, its collections. Out: a `Reader`, on whose session stand the views `events`, `links` and `people`: the
lake, where there is one, and the tail. A lake that is damaged or behind is seen to first.
"""

# ruff: noqa: S608 - names and numbers of our own; a collection holds no quote

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from littlebro import conf
from littlebro.analysis.engine import Session, engine
from littlebro.analysis.lake.frequent import expression, is_plain
from littlebro.analysis.lake.manifest import Lake, Manifest, lake_of, store_of
from littlebro.analysis.lake.sync import sync
from littlebro.analysis.question import Path
from littlebro.analysis.rows import COLUMNS
from littlebro.analysis.tail import Tail, tail_of
from littlebro.events.event import utc
from littlebro.exceptions import InvalidQuery, LakeError
from littlebro.storage.base import BaseBackend
from littlebro.storage.handler import backends

__all__ = ["Reader", "open_reader"]

_ATTEMPTS: Final = 3
# Without a lake the tail may be this many times as long before a report says that it needs one.
_WITHOUT_LAKE: Final = 10
# Seconds after which the lake of a backend that keeps no order of storing is compared again when a report asks.
_STALE: Final = 60.0
_UNDER: Final = {"people": ("events", "links")}  # the views that a view is made of
_LINKS: Final = "anonymous_id, anon, user_id, person"


class Reader(msgspec.Struct, frozen=True):
    """A consistent look at the events of an alias.

    `as_of` is aware, in UTC: whatever was stored before it is in. `version` is a text that changes whenever an
    answer may have changed. On the session are the relations

    - ``events``: id, collection, name, user_id, anonymous_id (text), ts and received (microseconds since the epoch,
      UTC), who (the event's own person as a 64-bit key, or NULL), number (the same as one of `numbers`, negative
      for an anonymous id), params, context (JSON text), of `collections`;
    - ``links``: anonymous_id, anon, user_id, person: for each anonymous id ever seen with a user, in any
      collection, the first such user by (ts, id, collection);
    - ``pairs``: anon, person: the links as numbers, where events bear the anonymous id alone;
    - ``numbers``: who, number: of everybody, in any collection;
    - ``people``: `events` with ``person``, the key after links were followed; NULL where an event has no id.

    `columns` are columns of ``events`` and ``people`` with the JSON text at some paths, quicker than to look it up.
    They also have ``moment``: before each of the `cuts` (sorted, as ts) that ts is before, and quicker to read.
    `views` are the relations that no statement has named yet: to make one takes longer than to find an answer again.
    """

    alias: str
    as_of: datetime
    version: str
    collections: tuple[str, ...]
    session: Session
    columns: Mapping[Path, str]
    cuts: tuple[int, ...]
    numbers: tuple[int, int]
    views: dict[str, str]

    def moment(self, bounds: Iterable[int]) -> str:
        """Return the column that tells on which side of each of the bounds (as ts) an event is."""
        return "moment" if set(bounds) <= set(self.cuts) else "ts"

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement of our own with ``$name`` parameters; see `Session.rows`."""
        for name in [name for name in self.views if name in sql]:
            for each in (*_UNDER.get(name, ()), name):
                if each in self.views:
                    self.session.rows(f"CREATE TEMP VIEW {each} AS {self.views.pop(each)}")
        return self.session.rows(sql, parameters)


@contextmanager
def open_reader(
    alias: str = "default",
    *,
    collections: tuple[str, ...] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    paths: Iterable[Path | None] = (),
    cuts: Collection[int] = (),
    edges: Collection[int] = (),
) -> Iterator[Reader]:
    """Give a reader on `collections` of the alias's store; None means the alias's own.

    `start` and `end` (aware, half-open) save time where a report needs no events outside of them: ``events`` and
    ``people`` may then lack some of those, and hold others, so that the report filters all the same. ``links`` are
    those of the whole lifetime in any case. `paths` are those at which a report looks at all events, `cuts` the
    moments (as ts) that it compares with ``moment``, `edges` those that it would compare where the reader has them.

    Raises `ImproperlyConfigured` without DuckDB, `InvalidQuery` for what can be no collection,
    `UnsupportedOperation` for a backend that cannot be read.
    """
    wanted = (conf.alias_config(alias).collection,) if collections is None else tuple(collections)
    for name in wanted:
        if not isinstance(name, str) or not conf.COLLECTION.fullmatch(name):
            raise InvalidQuery(f"A collection is 1-64 of A-Z a-z 0-9 _ -, not {name!r:.80}.")
    with engine.session(conf.setting("LITTLEBRO_ANALYSIS_SECONDS")) as session:
        yield _open(session, alias, wanted, (start, end), _columns(paths), (cuts, edges))


def _columns(paths: Iterable[Path | None]) -> dict[Path, str]:
    """Return the columns of those paths that can have one."""
    able = dict.fromkeys(
        path for path in paths if path is not None and len(path) == 2 and is_plain("/".join(path))
    )
    return {path: f"key_{number}" for number, path in enumerate(able)}


def _open(
    session: Session,
    alias: str,
    collections: tuple[str, ...],
    span: tuple[datetime | None, datetime | None],
    keys: Mapping[Path, str],
    marks: tuple[Collection[int], Collection[int]],
) -> Reader:
    lake, backend = lake_of(alias), backends[alias]
    limit = int(conf.setting("LITTLEBRO_ANALYSIS_TAIL_EVENTS"))
    for _ in range(_ATTEMPTS):
        manifest = _present(lake, backend, session)
        as_of = utc(timezone.now())
        whole = not backend.supports_scan_stored  # then the tail is all of the store, or nothing
        if whole and manifest is not None and manifest.rows > limit:
            as_of = datetime.fromtimestamp(manifest.synced_at, UTC)
        elif whole:
            manifest = None
        tail = tail_of(session, lake.alias if lake else alias, lake, manifest)
        with tail.held(session):
            if tail.is_gone:
                continue
            if whole and manifest is not None:
                tail.leave_empty(session)
                done = True
            else:
                done = tail.refresh(session, backend, limit if lake else limit * _WITHOUT_LAKE)
            if done:
                session.rows("BEGIN TRANSACTION")
                # From the first look on all stands still, so that has to be before the tail is let go.
                session.rows(f"CREATE TEMP VIEW pairs AS FROM {tail.pairs}")
                views, cuts = _views(collections, tail, span, ["/".join(path) for path in keys], marks)
                version = f"{tail.state}/{tail.version}"
                numbers = (-tail.numbered[1], tail.numbered[0])
                return Reader(alias, as_of, version, collections, session, keys, cuts, numbers, views)
        if lake is None:
            raise ImproperlyConfigured(
                f"LITTLEBRO_LAKE is not set, and the store of {alias!r} has more than {limit * _WITHOUT_LAKE:,} events"
                " (ten times LITTLEBRO_ANALYSIS_TAIL_EVENTS): reports need a folder for a columnar copy of them."
            )
        _bring_up_to_date(alias, session)
    raise LakeError(
        f"The lake of {alias!r} does not keep up with what is stored, or a transaction that stores events has long been"
        " open; `littlebro sync` tells more."
    )


def _present(lake: Lake | None, backend: BaseBackend, session: Session) -> Manifest | None:
    """Return the state of the lake, mended where files of it are missing or cut short."""
    manifest = lake.load() if lake else None
    if lake is None or manifest is None:
        return None
    if manifest.store != store_of(lake.alias):
        return None
    age = time.time() - manifest.synced_at  # below 0 where the clock was set back
    stale = not (backend.supports_scan_stored or 0 <= age <= _STALE)
    if stale or lake.damaged(manifest):
        _bring_up_to_date(lake.alias, session)
        manifest = lake.load()
        if manifest is None or lake.damaged(manifest):
            raise LakeError(f"The lake of {lake.alias!r} is damaged and could not be mended; ask again.")
    return manifest


def _bring_up_to_date(alias: str, session: Session) -> None:
    """Sync within the time that the question has; raises `Busy` where somebody else is not done by then."""
    seconds = session.left()
    sync(alias, wait=seconds, seconds=seconds, verify=False)


def _views(
    collections: tuple[str, ...],
    tail: Tail,
    span: tuple[datetime | None, datetime | None],
    keys: Sequence[str],
    marks: tuple[Collection[int], Collection[int]],
) -> tuple[dict[str, str], tuple[int, ...]]:
    """Return the SQL of the views by name, and the moments that their ``moment`` tells apart."""
    listed = ", ".join(f"'{name}'" for name in collections)  # a collection holds no quote
    chosen = f"collection IN ({listed})" if listed else "false"
    standing = (f"{expression(key)} AS key_{n}" for n, key in enumerate(keys))
    columns = ", ".join([*COLUMNS, "ts AS moment", *standing])
    events = f"SELECT {columns} FROM {tail.table} WHERE {chosen}"
    lake_events, cuts = tail.lake_events(collections, *span, keys, *marks)
    if lake_events is not None:  # a file holds one collection
        events = f"FROM {lake_events} UNION ALL {events}"
    return {
        "events": events,
        "links": tail.all_links(_LINKS),
        "numbers": f"FROM {tail.all_numbers()}",
        "people": (  # whoever has a user needs no link, and is not looked for
            "SELECT e.*, coalesce(l.person, e.who) AS person"
            " FROM events e LEFT JOIN links l ON l.anon = CASE WHEN e.number < 0 THEN e.who END"
        ),
    }, cuts
