"""Events into files: one a collection and day, sorted, with the links that are in them; and small files into large.

In: a table of the session, or files of the lake. Out: `File` and `Links` for a manifest, all of them on the disk.
"""

# ruff: noqa: S608 - names and numbers of our own; a collection holds no quote

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from littlebro.analysis.engine import Session
from littlebro.analysis.lake.frequent import column, expression, keys_in, standing
from littlebro.analysis.lake.manifest import File, Lake, Links, Manifest
from littlebro.analysis.rows import COLUMNS, DAY, first_users

__all__ = [
    "compact",
    "links_of",
    "merge_links",
    "read_files",
    "read_named",
    "read_with",
    "rewrite",
    "worth",
    "write_links",
    "write_rows",
    "write_table",
]

_PARQUET: Final = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
# Files of one collection and day above which the smaller ones are made one; a day that is over is tidied sooner.
_MOST_FILES: Final = 6
_MOST_FILES_OLD: Final = 2
_DAY_IS_OVER: Final = 2
# Events of a relation from which on it pays to give them a moment of their own: with fewer it is longer in planning.
_PART: Final = 100_000
_SEALERS: Final = 2


def read_files(lake: Lake, files: Iterable[File]) -> str:
    """Return SQL of a relation with the rows of `files`, at least one; of its columns, `COLUMNS` are in each."""
    return _read(lake, (file.name for file in files))


def read_with(lake: Lake, files: Sequence[File], keys: Sequence[str], cuts: Sequence[int]) -> str:
    """Return SQL of a relation with the rows of `files`, their ``moment``, and ``key_0``, … for what is at plain keys.

    The moment is ``ts``, or a number that is before each of the sorted `cuts` (microseconds) that ``ts`` is before:
    one for all files between the same two, so that no column need be read.
    """
    alike: defaultdict[str, list[File]] = defaultdict(list)
    for file in files:
        stand = "".join(f", {standing(file, key)} AS key_{n}" for n, key in enumerate(keys))
        alike[f", {_moment(file, cuts)} AS moment{stand}"].append(file)
    columns = ", ".join(COLUMNS)
    return "({})".format(
        " UNION ALL ".join(
            f"SELECT {columns}{more} FROM {read_files(lake, same)}" for more, same in alike.items()
        )
    )


def worth(files: Sequence[File], cuts: Sequence[int]) -> bool:
    """Return whether so many events lie between two of the sorted `cuts` that a relation for each such part pays."""
    parts = {bisect_right(cuts, file.start) for file in files}
    return len(parts) * _PART <= sum(file.rows for file in files)


def _moment(file: File, cuts: Sequence[int]) -> str:
    place = bisect_right(cuts, file.start)
    if not cuts or place != bisect_right(cuts, file.end):
        return "ts"
    return f"CAST({cuts[place - 1] if place else cuts[0] - 1} AS BIGINT)"


def read_named(lake: Lake, files: Iterable[Links]) -> str:
    """Return SQL of a relation with the rows of files of links or of people, at least one."""
    return _read(lake, (each.name for each in files))


def _read(lake: Lake, names: Iterable[str]) -> str:
    listed = ", ".join(_quoted(str(lake.path(name))) for name in names)
    return f"read_parquet([{listed}])"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def write_table(session: Session, lake: Lake, table: str) -> tuple[File, ...]:
    """Write the events of a table, whose people have their numbers, into new files."""
    groups = session.rows(
        f"SELECT collection, {DAY} AS day, min(ts), max(ts) FROM {table} GROUP BY collection, day ORDER BY ALL"
    )
    with ThreadPoolExecutor(_SEALERS) as pool:  # the disk is waited for while the next file is being written
        files = []
        for collection, day, start, end in groups:
            part = f"(FROM {table} WHERE collection = '{collection}' AND {DAY} = {day})"
            source = table if len(groups) == 1 else part
            keys, own = keys_in(session, source)
            path, rows = _write(session, lake, source, own)
            sealed = pool.submit(lake.seal, path)
            files.append((File(path.name, collection, day, rows, 0, 0, start, end, keys, own), sealed))
        done = tuple(
            msgspec.structs.replace(file, bytes=sealed.result()[0], crc=sealed.result()[1])
            for file, sealed in files
        )
    lake.sync_folder()
    return done


def rewrite(session: Session, lake: Lake, file: File, keep: str) -> File | None:
    """Write those rows of a file for which `keep` holds into a new one; None where there are none."""
    return _write_file(session, lake, file, f"(FROM {read_files(lake, [file])} WHERE {keep})")


def _write_file(session: Session, lake: Lake, like: File, source: str) -> File | None:
    """Write a relation of events of one collection and day; None where it is empty."""
    start, end = session.rows(f"SELECT min(ts), max(ts) FROM {source}")[0]
    if start is None:
        return None
    keys, own = keys_in(session, source)
    path, rows = _write(session, lake, source, own)
    size, crc = lake.seal(path)
    return File(path.name, like.collection, like.day, rows, size, crc, start, end, keys, own)


def _write(session: Session, lake: Lake, source: str, own: Sequence[str]) -> tuple[Path, int]:
    path = lake.new()
    columns = ", ".join([*COLUMNS, *(f"{expression(key)} AS {column(key)}" for key in own)])
    rows = session.rows(
        f"COPY (SELECT {columns} FROM {source} ORDER BY name, ts, id) TO {_quoted(str(path))} ({_PARQUET})"
    )
    return path, int(rows[0][0])


def write_links(session: Session, lake: Lake, source: str) -> tuple[Links, ...]:
    """Write the links in a relation of events or of links; nothing where there are none."""
    path, rows = write_rows(session, lake, "links", first_users(source))
    return (Links(path.name, rows, *lake.seal(path)),) if rows else ()


def write_rows(session: Session, lake: Lake, kind: str, sql: str) -> tuple[Path, int]:
    """Write the rows of `sql` into a new file of that kind, not sealed yet; no file where there are none."""
    path = lake.new(kind)
    rows = int(session.rows(f"COPY ({sql}) TO {_quoted(str(path))} ({_PARQUET})")[0][0])
    if not rows:
        path.unlink()
    return path, rows


def links_of(lake: Lake, manifest: Manifest) -> str | None:
    """Return SQL of a relation with the links of a state; None where there are none."""
    if manifest.links is None:
        return f"({first_users(read_files(lake, manifest.files))})" if manifest.files else None
    if len(manifest.links) < 2:
        return read_named(lake, manifest.links) if manifest.links else None
    return f"({first_users(read_named(lake, manifest.links))})"


def merge_links(session: Session, lake: Lake, manifest: Manifest) -> Manifest:
    """Return the manifest with all links in one file. Nothing is written where the new ones change nothing."""
    links = manifest.links
    if links is None:
        source = read_files(lake, manifest.files) if manifest.files else None
    elif len(links) < 2:
        return manifest
    else:
        news = session.rows(
            f"SELECT 1 FROM {read_named(lake, links[1:])} n ANTI JOIN {read_named(lake, links[:1])} m"
            " ON n.anonymous_id = m.anonymous_id AND (m.ts, m.id, m.collection) <= (n.ts, n.id, n.collection) LIMIT 1"
        )
        if not news:
            return msgspec.structs.replace(manifest, links=links[:1])
        source = read_named(lake, links)
    return msgspec.structs.replace(manifest, links=write_links(session, lake, source) if source else ())


def compact(session: Session, lake: Lake, manifest: Manifest, today: int) -> Manifest:
    """Return the manifest with the small files of each collection and day made one, where they are too many."""
    by_day: defaultdict[tuple[str, int], list[File]] = defaultdict(list)
    for file in manifest.files:
        by_day[file.collection, file.day].append(file)
    for (_, day), files in by_day.items():
        old = day <= today - _DAY_IS_OVER
        if len(files) > (_MOST_FILES_OLD if old else _MOST_FILES):
            small = _small(files)
            one = _write_file(session, lake, small[0], read_files(lake, small))
            manifest = manifest.with_files([one] if one else [], small)
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
