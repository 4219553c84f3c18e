"""What a person wants of a lake: to see what is in it, to have it checked, to have it made anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from littlebro.analysis.lake.manifest import Lake, Manifest, lake_of
from littlebro.analysis.lake.sync import Synced, sync
from littlebro.exceptions import LakeError

__all__ = ["Contents", "contents", "rebuild", "verify"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a lake: sizes in bytes, times aware and in UTC, None where there is nothing to tell."""

    alias: str
    folder: str
    events: int
    collections: dict[str, int]
    days: int
    files: int
    bytes: int
    links: int
    first: datetime | None
    last: datetime | None
    synced_at: datetime | None
    verified_at: datetime | None
    complete: bool


def contents(alias: str = "default") -> Contents | None:
    """Return what is in the lake of the alias's store, None if nothing is yet; raises `LakeError` if none is set."""
    lake = _lake(alias)
    manifest = lake.load()
    if manifest is None:
        return None
    collections: dict[str, int] = {}
    for file in manifest.files:
        collections[file.collection] = collections.get(file.collection, 0) + file.rows
    return Contents(
        alias=lake.alias, folder=str(lake.folder), events=manifest.rows, collections=collections,
        days=len({file.day for file in manifest.files}), files=len(manifest.files),
        bytes=sum(file.bytes for file in manifest.on_disk()),
        links=manifest.links[0].rows if manifest.links else 0,
        first=_moment(min((file.start for file in manifest.files), default=None)),
        last=_moment(max((file.end for file in manifest.files), default=None)),
        synced_at=_at(manifest.synced_at), verified_at=_at(manifest.verified_at), complete=manifest.complete,
    )  # fmt: skip


def verify(alias: str = "default", *, wait: float = 60.0) -> Synced:
    """Bring the lake up to date, read every byte of it, hold its counts a day against the backend's; mend it."""
    return sync(alias, wait=wait, verify=True)


def rebuild(alias: str = "default", *, wait: float = 60.0) -> Synced:
    """Make the lake anew from the backend."""
    lake = _lake(alias)
    with lake.writing(wait):
        lake.commit(lake.load() or Manifest(), lake.begin())
    return sync(alias, wait=wait)


def _lake(alias: str) -> Lake:
    lake = lake_of(alias)
    if lake is None:
        raise LakeError("LITTLEBRO_LAKE is not set: there is no lake; reports read the store itself.")
    return lake


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def _at(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
