"""The lake: a columnar copy of a store's events, in Parquet files, that reports are answered from.

It is derived from the store and can be deleted at any time. `sync` brings it up to date, `verify` holds it against
the store, `rebuild` makes it anew; `contents` tells what is in it.
"""

from littlebro.analysis.lake.erase import erase_person, expire
from littlebro.analysis.lake.look import Contents, contents, rebuild, verify
from littlebro.analysis.lake.manifest import Busy, lake_of
from littlebro.analysis.lake.sync import Synced, sync

__all__ = [
    "Busy",
    "Contents",
    "Synced",
    "contents",
    "erase_person",
    "expire",
    "lake_of",
    "rebuild",
    "sync",
    "verify",
]
