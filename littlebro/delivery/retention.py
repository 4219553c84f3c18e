"""Retention: events older than an alias's RETENTION_DAYS are deleted, in its backend and in its sinks."""

from datetime import UTC, datetime, timedelta

from littlebro.conf import alias_config
from littlebro.events.query import EventQuery
from littlebro.storage.handler import backends

__all__ = ["expired", "purge"]


def expired(alias: str) -> EventQuery | None:
    """Return the query for the events of `alias` that are past retention; None where they are kept for ever."""
    config = alias_config(alias)
    if config.retention_days is None:
        return None
    end = datetime.now(UTC) - timedelta(days=config.retention_days)
    return EventQuery(end=end, collections=(config.collection,))


def purge(alias: str) -> int:
    """Delete the events of `alias` that are past retention; return how many its backend had.

    Sinks that can delete are purged as well. Raises `UnsupportedOperation` where the backend cannot delete.
    """
    query = expired(alias)
    if query is None:
        return 0
    deleted = backends[alias].delete_many(query)
    for sink in alias_config(alias).sinks:
        if backends[sink].supports_delete:
            backends[sink].delete_many(query)
    return deleted
