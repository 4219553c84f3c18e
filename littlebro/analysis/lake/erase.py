"""What must not be in a lake any longer: a person who is forgotten, and what is past retention.

In: who, or until when. Out: how many events went. Files that held them are gone when the call returns, not later: a
question that was reading one fails, and is right when it is asked again.
"""

# ruff: noqa: S608 - names and numbers of our own; a person's ids are parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from littlebro.analysis.engine import Session, engine
from littlebro.analysis.lake.manifest import File, Lake, Manifest, lake_of, store_of
from littlebro.analysis.lake.mend import mend
from littlebro.analysis.lake.numbers import gather
from littlebro.analysis.lake.write import merge_links, read_files, rewrite
from littlebro.analysis.rows import microseconds
from littlebro.events.query import EventQuery
from littlebro.storage.handler import backends

__all__ = ["erase_person", "expire"]

_WAIT: Final = 600.0


def erase_person(alias: str, user_id: str | None, anonymous_id: str | None) -> int:
    """Take all events with one of these ids out of the lake of the alias's store, in every collection.

    Returns how many they were. A lake that this littlebro cannot read, of another version of it, or that is another
    store's, is emptied as a whole, and counts as none: the next sync makes it anew. Waits for a sync that is under way,
    ten minutes at most; raises `Busy` after that.
    """
    lake = lake_of(alias)
    if lake is None or not lake.folder.exists():
        return 0
    with engine.session(None) as session, lake.writing(_WAIT):
        manifest = _whole(session, lake)
        if manifest is None:
            return 0
        session.rows("CREATE TEMP TABLE forgotten (user_id VARCHAR, anonymous_id VARCHAR)")
        session.rows(
            "INSERT INTO forgotten VALUES ($user_id, $anonymous_id)",
            {"user_id": user_id, "anonymous_id": anonymous_id},
        )
        theirs = (
            "(coalesce(user_id = (SELECT user_id FROM forgotten), false)"
            " OR coalesce(anonymous_id = (SELECT anonymous_id FROM forgotten), false))"
        )
        return _take_out(session, lake, manifest, manifest.files, theirs)


def expire(alias: str, query: EventQuery) -> int:
    """Take the events that a query of retention (collections and an end) matches out of the lake; return how many.

    See `erase_person` for a lake that cannot be read.
    """
    lake = lake_of(alias)
    if lake is None or not lake.folder.exists() or query.end is None:
        return 0
    end = microseconds(query.end)
    with engine.session(None) as session, lake.writing(_WAIT):
        manifest = _whole(session, lake)
        if manifest is None:
            return 0
        files = [
            file
            for file in manifest.files
            if file.start < end and (query.collections is None or file.collection in query.collections)
        ]
        return _take_out(session, lake, manifest, files, f"ts < {end}") if files else 0


def _whole(session: Session, lake: Lake) -> Manifest | None:
    """Return the present state, mended where files are damaged: nobody could tell what is in those.

    None where there is no state that can be read, or it is another store's, whose events are not to be judged by who
    is to go from this one; what may lie there all the same is deleted.
    """
    manifest = lake.load()
    if manifest is None or manifest.store != store_of(lake.alias):
        lake.clear()
        return None
    damaged = lake.damaged(manifest)
    if not damaged:
        return manifest
    return lake.commit(manifest, mend(session, lake, backends[lake.alias], manifest, damaged)[0])


def _take_out(session: Session, lake: Lake, manifest: Manifest, files: Sequence[File], which: str) -> int:
    """Write the files anew that hold rows for which `which` is true, without them."""
    add: list[File] = []
    gone: list[File] = []
    erased = 0
    for file in files:
        found = session.rows(f"SELECT count(*) FROM {read_files(lake, [file])} WHERE {which}")[0][0]
        if not found:
            continue
        erased += found
        gone.append(file)
        left = rewrite(session, lake, file, f"NOT {which}")
        if left is not None:
            add.append(left)
    new = manifest
    if gone:
        new = merge_links(session, lake, manifest.with_files(add, gone, links=None, people=None))
        new = gather(session, lake, new)
        lake.sync_folder()
    # Also where nothing was found: whoever keeps events in memory looks at the number, and reads them again.
    lake.sweep(lake.commit(manifest, new, at_once=True))
    return erased
