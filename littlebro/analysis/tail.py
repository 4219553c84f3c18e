"""The events that are not in the lake yet, in memory: read in the order of storing, and kept for the next question.

In: a backend, and the state of the lake. Out: tables of the engine's with the events, with their links, and with the
links of all there are as numbers. Where there is no lake, the tail is all of the store. It lives and dies with the
engine's instance; what it holds is looked at again each time, since a store may lose events or be another one.
"""

# ruff: noqa: S608 - names and numbers of our own

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from typing import Final

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.intake import drop_known, holds_back, stage_events
from littlebro.analysis.lake.manifest import Lake, Manifest
from littlebro.analysis.lake.numbers import give, numbers_of
from littlebro.analysis.lake.write import links_of, read_with, worth
from littlebro.analysis.rows import first_users, microseconds
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.storage.base import BaseBackend

__all__ = ["Tail", "tail_of"]

_RECENT: Final = 200  # events that are looked at again
_LOOKS: Final = 3  # at a store that is being written to
# An event behind its position in the order of storing, which is None where it has none yet.
_Seen = tuple[str | None, Event]
_numbers = itertools.count(1)
_guard = threading.Lock()
_LINK_KEY: Final = "anonymous_id, user_id, ts, id, collection"


def _as_numbers(links: str, numbers: str | None) -> str:
    """Return SQL of the links (anon, person) between people who have numbers, as those."""
    return (
        f"WITH numbers AS MATERIALIZED {numbers} SELECT a.number AS anon, p.number AS person FROM ({links}) links"
        " JOIN numbers a ON a.who = links.anon JOIN numbers p ON p.who = links.person"
    )


def tail_of(session: Session, alias: str, lake: Lake | None, manifest: Manifest | None) -> Tail:
    """Return the tail that belongs to this state of the lake; those of earlier states are let go."""
    state = manifest.version if manifest else ""
    kept = session.instance.kept
    with _guard:
        tail: Tail | None = kept.get(("tail", alias))
        outdated: list[Tail] = kept.setdefault("outdated tails", [])
        if tail is None or tail.state != state:
            outdated += [] if tail is None else [tail]
            tail = kept["tail", alias] = Tail(state, lake, manifest)
        waiting = tuple(outdated)
    for each in waiting:
        # Where somebody is still at it, a later question will see to it.
        if each.lock.acquire(blocking=False):
            try:
                each.drop(session)
                each.is_gone = True
            finally:
                each.lock.release()
            with _guard, suppress(ValueError):
                outdated.remove(each)
    return tail


class Tail:
    """What is in the store and not in the lake, as the tables `table` and `links`; and `pairs`, of the lake's as well.

    Refresh it with its lock held, and open a transaction before the lock is let go: then one question sees one state.
    One that `is_gone` was let go meanwhile: take the present one.
    """

    def __init__(self, state: str, lake: Lake | None, manifest: Manifest | None) -> None:
        self.lock = threading.Lock()
        self.is_gone = False
        self.state = state
        self.changes = 0
        number = next(_numbers)
        self.table = f"memory.main.tail_{number}"
        self.links = f"memory.main.tail_links_{number}"
        self.pairs = f"memory.main.tail_pairs_{number}"
        self._lake_pairs = f"memory.main.lake_pairs_{number}"
        self._lake = lake
        self._manifest = manifest if manifest is not None and manifest.files else None
        self._base = manifest.position if manifest else None
        self._numbered = manifest.numbered if manifest else (0, 0)
        self._forget()

    @contextmanager
    def held(self, session: Session) -> Iterator[None]:
        """Hold its lock; raises `AnalysisTimeout` where others do so for longer than the question may take."""
        while not self.lock.acquire(timeout=session.left()):
            pass
        try:
            yield
        finally:
            self.lock.release()

    @property
    def version(self) -> str:
        """Return a text that is another one for each content."""
        return f"{self.table.rpartition('_')[2]}.{self.changes}"

    def refresh(self, session: Session, backend: BaseBackend, limit: int) -> bool:
        """Take in what was stored since; return False, in no certain state, where there is more than `limit`."""
        if not backend.supports_scan_stored:
            return self._read_whole(session, backend, limit)
        before, news = self._since(backend, limit)
        if news is None:
            self.drop(session)
            news = self._news(backend, limit) or []
            if len(news) <= limit and not self._is_complete(backend, before, len(news)):
                # Not all is told in the order of storing yet, nor seen behind it.
                return self._read_whole(session, backend, limit)
        if self.rows + len(news) > limit:
            return False
        if news or not self._made:
            self._add(session, (event for _, event in news))
            self._remember(news)
        return True

    def leave_empty(self, session: Session) -> None:
        """Hold nothing: the lake alone is read."""
        if not self._made:
            self._add(session, iter(()))

    def drop(self, session: Session) -> None:
        """Let go of the tables, also of those that were made by half."""
        self._forget()  # first: whoever is cut off in between must not think that all are there
        for table in (self.table, self.links, self.pairs, self._lake_pairs):
            session.rows(f"DROP TABLE IF EXISTS {table}")

    def _forget(self) -> None:
        self._made = False
        self.rows = 0
        self.numbered = self._numbered
        self._before = self._base
        self._recent: list[tuple[str, str, str]] = []
        self._in_order = True  # or some have no place in the order of storing: next time all is read again

    def _remember(self, news: list[_Seen]) -> None:
        self._in_order = all(position is not None for position, _ in news)
        self._recent += [(position or "", event.collection, event.id) for position, event in news]
        surplus = len(self._recent) - _RECENT
        if surplus > 0:
            self._before = self._recent[surplus - 1][0]
            del self._recent[:surplus]

    def _news(self, backend: BaseBackend, limit: int) -> list[_Seen] | None:
        """Return what was stored since, up to one more than `limit` allows; None where what was there is not."""
        found = backend.scan_visible(self._before)
        for known in self._recent:
            position, event = next(found, ("", None))
            if event is None and holds_back(backend):
                return []
            # What had a place may be without one for a while, as long as somebody's transaction is open.
            if event is None or known != (position or known[0], event.collection, event.id):
                return None
        return list(islice(found, max(0, limit - self.rows) + 1))

    def _since(self, backend: BaseBackend, limit: int) -> tuple[int, list[_Seen] | None]:
        """Return how many events there are, and what was stored since; None where what was there is not.

        Where more were seen than there were before, some came meanwhile, or some are gone. As many may have come as are
        gone, so that only a moment at which nothing comes tells.
        """
        for _ in range(_LOOKS):
            before = self._count(backend)
            news = self._news(backend, limit) if self._made and self._in_order else None
            if news is None or before in {-1, self.rows + len(news)}:
                break
        else:
            news = None
        return before, news

    def _count(self, backend: BaseBackend) -> int:
        """Return how many events there are, where the tail is all of the store and counting is cheap."""
        return backend.count(EventQuery()) if self._manifest is None and backend.supports_count else -1

    def _is_complete(self, backend: BaseBackend, before: int, news: int) -> bool:
        """Return whether the tail is what the store holds; events may have come or gone while it was read."""
        if before < 0:
            return True
        here = self.rows + news
        return before == here or before < here <= self._count(backend)

    def _read_whole(self, session: Session, backend: BaseBackend, limit: int) -> bool:
        self.drop(session)
        events = list(islice(backend.scan(EventQuery()), limit + 1))
        if len(events) > limit:
            return False
        self._add(session, iter(events))
        self._in_order = False
        return True

    def _add(self, session: Session, events: Iterator[Event]) -> None:
        try:
            self._take_in(session, events)
        except BaseException:  # out of time, say: what is in by now must not be there twice the next time
            self._forget()
            raise

    def _take_in(self, session: Session, events: Iterator[Event]) -> None:
        stage_events(session, events, "arrived")
        if self._manifest is not None and self._lake is not None:
            drop_known(session, self._lake, self._manifest, "arrived", self._manifest.ahead)
        self.numbered = give(session, "arrived", self.all_numbers(), self.numbered)
        if not self._made:
            self._keep_lake_pairs(session)
            session.rows(f"CREATE OR REPLACE TABLE {self.table} AS FROM arrived LIMIT 0")
            self._made = True
        self.rows += session.rows(f"INSERT INTO {self.table} FROM arrived")[0][0]
        self.changes += 1
        source = f"SELECT {_LINK_KEY} FROM {self.table}"
        if (lake_links := self._lake_links()) is not None:
            source += (
                f" UNION ALL SELECT {_LINK_KEY} FROM {lake_links} WHERE anonymous_id IN"
                f" (SELECT anonymous_id FROM {self.table} WHERE user_id IS NOT NULL)"
            )
        session.rows(f"CREATE OR REPLACE TABLE {self.links} AS {first_users(f'({source})')}")
        changed = f"SELECT anon, person FROM {self.links}"
        if lake_links is not None:  # those that had no number in the lake were no pair there
            changed += (
                f" UNION ALL SELECT anon, person FROM {lake_links} WHERE anon IN ({self._newly_numbered('who')})"
                f" AND anonymous_id NOT IN (SELECT anonymous_id FROM {self.links})"
            )
        session.rows(
            f"CREATE OR REPLACE TABLE {self.pairs} AS WITH own AS MATERIALIZED"
            f" ({_as_numbers(changed, self.all_numbers())})"
            f" FROM own UNION ALL FROM {self._lake_pairs} WHERE anon NOT IN (SELECT anon FROM own)"
        )

    def _keep_lake_pairs(self, session: Session) -> None:
        """Keep the links of the lake as numbers: they are many, and the same for as long as this tail lives."""
        links, numbers = self._lake_links(), self.all_numbers()
        pairs = (
            "SELECT 0 AS anon, 0 AS person LIMIT 0"
            if links is None
            else _as_numbers(f"SELECT anon, person FROM {links}", numbers)
        )
        session.rows(f"CREATE OR REPLACE TABLE {self._lake_pairs} AS {pairs}")

    def lake_events(
        self,
        collections: tuple[str, ...],
        start: datetime | None,
        end: datetime | None,
        keys: Sequence[str] = (),
        cuts: Collection[int] = (),
        edges: Collection[int] = (),
    ) -> tuple[str | None, tuple[int, ...]]:
        """Return SQL of a relation with the lake's events of `collections`, None where there are none; and the cuts.

        Files that hold nothing from `start` on, or nothing before `end`, are left out. What stands at each of `keys`
        and a moment come with them, as `read_with` gives them: by `cuts`, and by `edges` too where that pays.
        """
        whole = tuple(sorted({*cuts, *edges}))
        if self._manifest is None or self._lake is None:
            return None, whole
        files = [
            file
            for file in self._manifest.files
            if file.collection in collections
            and (start is None or file.end >= microseconds(start))
            and (end is None or file.start < microseconds(end))
        ]
        chosen = whole if worth(files, whole) else tuple(sorted(cuts))
        return read_with(self._lake, files, keys, chosen) if files else None, chosen

    def all_links(self, columns: str) -> str:
        """Return SQL of the `columns` of the links of lake and tail; the tail's take the place of the lake's."""
        links = f"SELECT {columns} FROM {self.links}"
        if (lake_links := self._lake_links()) is not None:
            links += (
                f" UNION ALL SELECT {columns} FROM {lake_links}"
                f" WHERE anonymous_id NOT IN (SELECT anonymous_id FROM {self.links})"
            )
        return links

    def _lake_links(self) -> str | None:
        """Return SQL of a relation with the links of the lake, None where there are none."""
        if self._manifest is None or self._lake is None:
            return None
        return links_of(self._lake, self._manifest)

    def all_numbers(self) -> str | None:
        """Return SQL of a relation (who, number) with the people of lake and tail, None where there are none."""
        found = []
        if self._manifest is not None and self._lake is not None:
            found.append(numbers_of(self._lake, self._manifest))
        if self._made:
            found.append(f"({self._newly_numbered('who, number')})")
        parts = " UNION ALL ".join(f"SELECT who, number FROM {part}" for part in found if part is not None)
        return f"({parts})" if parts else None

    def _newly_numbered(self, columns: str) -> str:
        """Return SQL of the `columns` of those who have no number in the lake."""
        users, anonymous = self._numbered
        return f"SELECT DISTINCT {columns} FROM {self.table} WHERE number >= {users} OR number < -{anonymous}"
