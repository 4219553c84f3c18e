"""The lake brought up to date: what was stored since the last time goes in, some hundred thousand events at a time.

Each chunk is a state of its own, so that a sync that is killed has lost one chunk's work. What is read again, by the
overlap or since it was mended meanwhile, is known by its id. A backend that keeps no order of storing is compared
whole, day by day.
"""

# ruff: noqa: S608 - names and numbers of our own

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from littlebro.analysis.engine import Session, engine
from littlebro.analysis.lake.intake import OVERLAP, Chunk, drop_known, holds_back, stage, stage_events
from littlebro.analysis.lake.manifest import Lake, Manifest, lake_of, store_of
from littlebro.analysis.lake.mend import mend, verify_days
from littlebro.analysis.lake.numbers import gather, number
from littlebro.analysis.lake.write import compact, merge_links, read_files, write_links, write_table
from littlebro.analysis.rows import DAY
from littlebro.events.query import EventQuery
from littlebro.exceptions import LakeError
from littlebro.storage.base import BaseBackend
from littlebro.storage.handler import backends

__all__ = ["Synced", "sync", "today"]

CHUNK: Final = 250_000
_VERIFY_EVERY: Final = 3600.0
_DAY_SECONDS: Final = 86_400
_LINKS_AFTER: Final = 16  # files whose links wait, above which they are merged while a long sync goes on


class Synced(msgspec.Struct, frozen=True):
    """What a sync did: events added, events in the lake, days mended; `complete` unless its time was up before."""

    added: int
    rows: int
    mended: int
    complete: bool


def sync(
    alias: str = "default", *, wait: float = 0.0, seconds: float | None = None, verify: bool | None = None
) -> Synced:
    """Bring the lake of the alias's store up to date.

    Waits up to `wait` seconds for another process that does the same, then raises `Busy`. With `seconds` it stops
    after the chunk during which they are up. `verify` compares the counts a day with the backend's and mends what
    differs; None does so once an hour. Raises `LakeError` where there is no lake, and whatever the backend raises.
    """
    lake = lake_of(alias)
    if lake is None:
        raise LakeError("LITTLEBRO_LAKE is not set: there is no lake; reports read the store itself.")
    with engine.session(None) as session, lake.writing(wait):
        return _Sync(session, lake, backends[alias]).run(seconds, verify)


def today() -> int:
    """Return the present day, counted from 1970-01-01, UTC."""
    return int(time.time() // _DAY_SECONDS)


class _Sync:
    """One sync; the lock is held."""

    def __init__(self, session: Session, lake: Lake, backend: BaseBackend) -> None:
        self.session = session
        self.lake = lake
        self.backend = backend
        old = lake.load()
        self.old = old if old is not None else Manifest()
        self.new = self.old
        # No more than a chunk: the first one alone is held against all that is in.
        self.recent: deque[str] = deque(maxlen=min(OVERLAP, CHUNK))
        self.added = 0
        self.mended = 0

    def run(self, seconds: float | None, verify: bool | None) -> Synced:
        end = None if seconds is None else time.monotonic() + seconds
        started = time.time()
        if self.old.store != store_of(self.lake.alias) or not self.old.made:
            self._commit(self.lake.begin())
        self.new = self.lake.sweep(self.new)
        self.old = self.new
        self.mended += self._mend_damage(deep=bool(verify))
        complete = self._take_in(end) if self.backend.supports_scan_stored else self._compare()
        self._commit(gather(self.session, self.lake, merge_links(self.session, self.lake, self.new)))
        self._commit(msgspec.structs.replace(self.new, complete=complete, synced_at=started))
        due = abs(started - self.new.verified_at) > _VERIFY_EVERY  # the clock may have been set back
        if complete and (verify or (verify is None and due)) and self.backend.supports_scan_stored:
            self.mended += self._verify(started, deep=bool(verify))
        self._commit(compact(self.session, self.lake, self.new, today()))
        return Synced(self.added, self.new.rows, self.mended, complete)

    def _commit(self, new: Manifest) -> None:
        if new is not self.new or new is not self.old:
            self.old = self.new = self.lake.commit(self.old, new)

    def _mend_damage(self, *, deep: bool) -> int:
        damaged = self.lake.damaged(self.new, deep=deep)
        if not damaged:
            return 0
        new, days = mend(self.session, self.lake, self.backend, self.new, damaged)
        self._commit(new)
        return days

    def _verify(self, started: float, *, deep: bool) -> int:
        new, days = verify_days(self.session, self.lake, self.backend, self.new, deep=deep)
        new = merge_links(self.session, self.lake, new)
        self._commit(msgspec.structs.replace(new, verified_at=started))
        return days

    def _take_in(self, end: float | None) -> bool:
        """Add what was stored since; return whether that is all."""
        check = True
        after = self.new.anchor
        if after is not None:  # or it would come nearer to the last with each sync
            self.recent.append(after)
        while True:
            chunk = stage(self.session, self.backend, after, CHUNK)
            days = None if check else self.new.ahead
            known = drop_known(self.session, self.lake, self.new, "staged", days) if chunk.events else 0
            if check and after is not None and not known and self._is_another_store(after, chunk.events):
                self._commit(self.lake.begin())
                self.recent.clear()
                after = None
                continue
            if chunk.events:
                self._add(chunk)
            if chunk.events < CHUNK:
                return True
            check, after = False, chunk.positions[-1]
            if end is not None and time.monotonic() >= end:
                return False

    def _add(self, chunk: Chunk) -> None:
        new = number(self.session, self.lake, self.new, "staged")
        files = write_table(self.session, self.lake, "staged")
        links = write_links(self.session, self.lake, "staged") if files else ()
        self.added += sum(file.rows for file in files)
        self.recent.extend(chunk.positions)
        position, anchor = self.recent[-1], self.recent[0]
        if not files and (position, anchor) == (self.new.position, self.new.anchor):
            return
        together = None if new.links is None else (*new.links, *links)
        new = new.with_files(files, position=position, anchor=anchor, links=together)
        if len(together or ()) > _LINKS_AFTER:
            new = merge_links(self.session, self.lake, new)
        self._commit(new)

    def _is_another_store(self, after: str, events: int) -> bool:
        """Tell, where no event came that should be read again, whether the store was emptied or replaced.

        That nothing came at all may be due to an open transaction, which may be over by now.
        """
        if self.backend.supports_count and self.backend.count(EventQuery()) == self.new.rows:
            return False
        return bool(events) or not (
            holds_back(self.backend) or next(self.backend.scan_stored(after), None) is not None
        )

    def _compare(self) -> bool:
        """Hold all that the backend has against the lake, and write anew the days that differ."""
        stage_events(self.session, self.backend.scan(EventQuery()))
        here = (
            f"SELECT collection, {DAY} AS day, count(*) AS n, sum(md5_number_lower(id)::HUGEINT) AS ids FROM"
        )
        there = (
            f"{here} {read_files(self.lake, self.new.files)} GROUP BY ALL"
            if self.new.files
            else (
                "SELECT NULL::VARCHAR AS collection, NULL::BIGINT AS day, 0::BIGINT AS n, 0::HUGEINT AS ids WHERE false"
            )
        )
        differing = self.session.rows(
            f"SELECT collection, day, coalesce(a.n, 0) - coalesce(b.n, 0) FROM ({here} staged GROUP BY ALL) a"
            f" FULL JOIN ({there}) b USING (collection, day) WHERE (a.n, a.ids) IS DISTINCT FROM (b.n, b.ids)"
        )
        days = {(row[0], row[1]) for row in differing}
        self._replace(days)
        self.added += sum(max(0, row[2]) for row in differing)
        return True

    def _replace(self, days: Iterable[tuple[str, int]]) -> None:
        days = set(days)
        if not days:
            return
        gone = [file for file in self.new.files if (file.collection, file.day) in days]
        listed = ", ".join(f"('{collection}', {day})" for collection, day in sorted(days))
        self.session.rows(f"DELETE FROM staged WHERE (collection, {DAY}) NOT IN ({listed})")
        new = number(self.session, self.lake, self.new, "staged")
        files = write_table(self.session, self.lake, "staged")
        self._commit(new.with_files(files, gone, links=None))
