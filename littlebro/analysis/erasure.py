"""Erasure and retention, the reading side included: what goes from the stores goes from the lake too.

In: who, or an alias. Out: how much went, and where. The store comes first, so that no sync brings back what has just
left the lake. Without a lake this is what `littlebro.delivery` does, and no more.
"""

from __future__ import annotations

from pathlib import Path

from littlebro.analysis.lake.erase import erase_person, expire
from littlebro.analysis.lake.manifest import lake_of
from littlebro.conf import alias_config
from littlebro.delivery import deadletters, retention
from littlebro.delivery import forget as delivery_forget

__all__ = ["forget", "purge"]


def forget(alias: str, user_id: str | None = None, anonymous_id: str | None = None) -> dict[str, int]:
    """Erase a person from `alias`: see `littlebro.delivery.forget.forget`; and from the lakes of its stores.

    The answer has ``lake`` besides, where there is one: how many events went from the lakes of backend and sinks.
    Dead letters of aliases that stand in the settings no more belong to nobody: they go with any alias's.
    """
    erased = delivery_forget.forget(alias, user_id=user_id, anonymous_id=anonymous_id)
    erased["dead letters"] += deadletters.forget_abandoned(user_id, anonymous_id)
    lakes = [erase_person(name, user_id, anonymous_id) for name in _stores(alias)]
    return {**erased, "lake": sum(lakes)} if lakes else erased


def purge(alias: str) -> int:
    """Delete the events of `alias` that are past retention: see `littlebro.delivery.retention`; lakes included."""
    query = retention.expired(alias)
    if query is None:
        return 0
    deleted = retention.purge(alias)
    for name in _stores(alias):
        expire(name, query)
    return deleted


def _stores(alias: str) -> list[str]:
    """Return the aliases, this one and its sinks, that have a lake; one for each lake."""
    lakes: dict[Path, str] = {}
    for name in (alias, *alias_config(alias).sinks):
        if (lake := lake_of(name)) is not None:
            lakes.setdefault(lake.folder, name)
    return list(lakes.values())
