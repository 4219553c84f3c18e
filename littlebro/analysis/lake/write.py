"""Events into files: one a collection and day, sorted, with the links that are in them; and small files into large.

In: a table of the session, or files of the lake. Out: `File` and `Links` for a manifest, all of them on the disk.
"""

# ruff: noqa: S608 - names and numbers of our own; a collection holds no quote

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.manifest import File, Lake, Links, Manifest
from littlebro.analysis.rows import COLUMNS, DAY, first_users

__all__ = [
    "compact",
    "merge_links",
    "pending_links",
    "read_files",
    "read_links",
    "rewrite",
    "without_merged",
    "write_table",
]

_COLUMNS: Final = ", ".join(COLUMNS)
_PARQUET: Final = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
# Files of one collection and day above which the smaller ones are made one; a day that is over is tidied sooner.
_MOST_FILES: Final = 6
_MOST_FILES_OLD: Final = 2
_DAY_IS_OVER: Final = 2


def read_files(lake: Lake, files: Iterable[File]) -> str:
    """Return SQL of a relation with the rows of `files`, at least one."""
    return _read(lake, (file.name for file in files))


def read_links(lake: Lake, links: Iterable[Links]) -> str:
    """Return SQL of a relation with the rows of files of links, at least one."""
    return _read(lake, (each.name for each in links))


def _read(lake: Lake, names: Iterable[str]) -> str:
    listed = ", ".join(_quoted(str(lake.path(name))) for name in names)
    return f"read_parquet([{listed}])"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def write_table(session: Session, lake: Lake, table: str) -> list[File]:
    """Write the events of a table into new files."""
    groups = session.rows(f"SELECT collection, {DAY}, count(*) FROM {table} GROUP BY ALL ORDER BY ALL")
    whole = len(groups) == 1
    return [
        _write(
            session, lake, collection, day,
            table if whole else f"(FROM {table} WHERE collection = '{collection}' AND {DAY} = {day})",
        )
        for collection, day, _ in groups
    ]  # fmt: skip


def rewrite(session: Session, lake: Lake, file: File, keep: str) -> File | None:
    """Write those rows of a file for which `keep` holds into a new one; None where there are none."""
    source = f"(FROM {read_files(lake, [file])} WHERE {keep})"
    if not session.rows(f"SELECT 1 FROM {source} LIMIT 1"):
        return None
    return _write(session, lake, file.collection, file.day, source)


def _write(session: Session, lake: Lake, collection: str, day: int, source: str) -> File:
    path = lake.new()
    session.rows(
        f"COPY (SELECT {_COLUMNS} FROM {source} ORDER BY name, ts, id) TO {_quoted(str(path))} ({_PARQUET})"
    )
    rows, start, end = session.rows(
        f"SELECT count(*), min(ts), max(ts) FROM read_parquet({_quoted(str(path))})"
    )[0]
    size, crc = lake.seal(path)
    links = _write_links(session, lake, source)
    return File(path.name, collection, day, rows, size, crc, start, end, links)


def _write_links(session: Session, lake: Lake, source: str) -> Links | None:
    path = lake.new("links")
    session.rows(f"COPY ({first_users(source)}) TO {_quoted(str(path))} ({_PARQUET})")
    rows = session.rows(f"SELECT count(*) FROM read_parquet({_quoted(str(path))})")[0][0]
    if not rows:
        path.unlink()
        return None
    size, crc = lake.seal(path)
    return Links(path.name, rows, size, crc)


def pending_links(manifest: Manifest) -> list[Links]:
    """Return the files of links that are not merged yet."""
    names = set(manifest.unmerged)
    return [file.links for file in manifest.files if file.links and file.name in names]


def merge_links(session: Session, lake: Lake, manifest: Manifest) -> Manifest:
    """Return the manifest with all links in one file. Nothing is written where the new ones change nothing."""
    pending = pending_links(manifest)
    merged = manifest.merged
    if pending and merged is not None:
        news = session.rows(
            f"SELECT 1 FROM {read_links(lake, pending)} n ANTI JOIN {read_links(lake, [merged])} m"
            " ON n.anonymous_id = m.anonymous_id AND (m.ts, m.id, m.collection) <= (n.ts, n.id, n.collection) LIMIT 1"
        )
        if not news:
            pending = []
    if pending:
        merged = _write_links(session, lake, read_links(lake, [*pending, *([merged] if merged else [])]))
    return msgspec.structs.replace(manifest, merged=merged, unmerged=())


def without_merged(manifest: Manifest) -> Manifest:
    """Return the manifest with all links to be merged anew, since events that some came from are gone."""
    return msgspec.structs.replace(
        manifest, merged=None, unmerged=tuple(file.name for file in manifest.files if file.links)
    )


def compact(session: Session, lake: Lake, manifest: Manifest, today: int) -> Manifest:
    """Return the manifest with the small files of each collection and day made one, where they are too many."""
    by_day: defaultdict[tuple[str, int], list[File]] = defaultdict(list)
    for file in manifest.files:
        by_day[file.collection, file.day].append(file)
    for (collection, day), files in by_day.items():
        old = day <= today - _DAY_IS_OVER
        if len(files) <= (_MOST_FILES_OLD if old else _MOST_FILES):
            continue
        small = _small(files)
        one = _write(session, lake, collection, day, read_files(lake, small))
        merged = {file.name for file in small}
        unmerged = set(manifest.unmerged)
        # Their links are merged already, unless one's are not; then those of the new file hold them.
        left = tuple(name for name in manifest.unmerged if name not in merged)
        if one.links is not None and merged & unmerged:
            left = (*left, one.name)
        manifest = manifest.with_files([one], small, unmerged=left)
    return manifest


def _small(files: Sequence[File]) -> list[File]:
    """Return the smaller ones of `files`: what is merged is about as large as what it is merged with."""
    ordered = sorted(files, key=lambda file: file.rows)
    chosen, total = ordered[:2], ordered[0].rows + ordered[1].rows
    for file in ordered[2:]:
        if file.rows > 2 * total:
            break
        chosen.append(file)
        total += file.rows
    return chosen
