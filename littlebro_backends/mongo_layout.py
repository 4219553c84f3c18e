"""How `mongo` lies in a database: one collection a stream, the log of the order of storing, the indexes.

In: the options. Out: names, and steps that make indexes or say which are missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pymongo import ASCENDING, IndexModel

from littlebro.conf import COLLECTION
from littlebro_backends.mongo_documents import BATCH
from littlebro_backends.mongo_steps import Steps

__all__ = ["Layout"]

_BATCH: Final = "littlebro_batch"
_EXPIRY: Final = "littlebro_expiry"
_PATH: Final = (("timestamp_us", ASCENDING), ("_id", ASCENDING))


class Layout:
    """Names and indexes; `prefix` stands before every collection, `ttl` is in seconds."""

    def __init__(self, prefix: str, ttl: int | None) -> None:
        self.prefix = prefix
        self.ttl = ttl
        self.log = f"{prefix}littlebro.stored"  # no stream's name holds a dot

    def name(self, stream: str) -> str:
        """Return the name of the collection that keeps `stream`."""
        return self.prefix + stream

    def streams(self) -> Steps[list[str]]:
        """Return the streams there are."""
        names = yield lambda database: database.list_collection_names()
        found = [name[len(self.prefix) :] for name in names if name.startswith(self.prefix)]
        return sorted(stream for stream in found if COLLECTION.fullmatch(stream))

    def indexes(self) -> list[IndexModel]:
        """Return the indexes of a stream: each reads one kind of query in order."""
        models = [
            IndexModel([*_PATH], name="littlebro_order"),
            IndexModel([("name", ASCENDING), *_PATH], name="littlebro_name"),
            IndexModel([(BATCH, ASCENDING)], name=_BATCH),
            _of_people("user_id", "littlebro_user"),
            _of_people("anonymous_id", "littlebro_anonymous"),
        ]
        if self.ttl is not None:
            models.append(IndexModel([("timestamp", ASCENDING)], name=_EXPIRY, expireAfterSeconds=self.ttl))
        return models

    def make(self, streams: Iterable[str]) -> Steps[None]:
        """Make the indexes of `streams` and of the log; changes or drops a TTL index that the options disagree with."""
        for stream in streams:
            yield from self._settle_expiry(self.name(stream))
            yield from self.make_stream(stream)
        yield from self.make_log()

    def make_log(self) -> Steps[None]:
        """Make the index of the log, and so the log."""
        unique = IndexModel([(BATCH, ASCENDING)], name=_BATCH, unique=True)
        yield lambda database: database[self.log].create_indexes([unique])

    def make_stream(self, stream: str) -> Steps[None]:
        """Make the indexes of one stream, and so the stream."""
        name, indexes = self.name(stream), self.indexes()
        yield lambda database: database[name].create_indexes(indexes)

    def _settle_expiry(self, name: str) -> Steps[None]:
        there = yield from self._there(name)
        if _EXPIRY not in there or there[_EXPIRY].get("expireAfterSeconds") == self.ttl:
            return
        if self.ttl is None:
            yield lambda database: database[name].drop_index(_EXPIRY)
            return
        index = {"name": _EXPIRY, "expireAfterSeconds": self.ttl}
        yield lambda database: database.command("collMod", name, index=index)

    def _there(self, name: str) -> Steps[dict[str, Any]]:
        """Return the indexes of a collection, none if there is no such collection."""
        found: dict[str, Any] = yield lambda database: database[name].index_information()
        return found

    def problems(self, streams: Iterable[str]) -> Steps[list[str]]:
        """Return what is missing or left over among the indexes of `streams`, a sentence each."""
        sentences: list[str] = []
        log = yield from self._there(self.log)
        if log and _BATCH not in log:
            sentences.append(f"The log {self.log!r} has no index {_BATCH}.")
        for stream in streams:
            there = yield from self._there(self.name(stream))
            wanted = [str(index.document["name"]) for index in self.indexes()]
            missing = sorted(set(wanted) - set(there))
            if missing:
                sentences.append(f"The stream {stream!r} has no index {', '.join(missing)}.")
            expiry = there.get(_EXPIRY)
            if expiry is not None and expiry.get("expireAfterSeconds") != self.ttl:
                days = expiry.get("expireAfterSeconds", 0) / 86_400
                sentences.append(
                    f"The stream {stream!r} forgets events after {days:g} days, and TTL_DAYS is"
                    f" {'None' if self.ttl is None else f'{self.ttl / 86_400:g}'}."
                )
        return sentences


def _of_people(field: str, name: str) -> IndexModel:
    return IndexModel(
        [(field, ASCENDING), *_PATH], name=name, partialFilterExpression={field: {"$exists": True}}
    )
