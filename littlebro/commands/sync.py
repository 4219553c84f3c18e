"""``littlebro sync``: bring the lake, the columnar copy that reports read, up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro import conf
from littlebro.analysis.lake import lake_of, sync
from littlebro.commands.base import Terminal, UsageError, add_alias, chosen, each_alias, left_over
from littlebro.storage.handler import backends

__all__ = ["HELP", "arguments", "run", "with_lake"]

HELP: Final = "Bring the lake, the columnar copy that reports read, up to date."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias."""
    add_alias(parser, "Sync this alias only.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Sync each store by itself; one that is being synced already is left to whoever does it."""

    def bring(name: str) -> None:
        done = sync(name)
        mended = f", {done.mended} days mended" if done.mended else ""
        terminal.say(f"{name}: {done.added} events added, {done.rows} in all{mended}")

    return left_over(terminal, each_alias(with_lake(options["alias"]), bring), "Not synced")


def with_lake(alias: str | None) -> list[str]:
    """Return the aliases that have a lake, one for each; refuse to go on where no folder is set for any."""
    if conf.setting("LITTLEBRO_LAKE") is None:
        raise UsageError("LITTLEBRO_LAKE is not set: there is no lake; reports read the store itself.")
    lakes: dict[str, str] = {}
    for name in chosen(alias):
        lake = lake_of(name)
        if lake is not None and (alias is not None or backends[name].supports_scan):
            lakes.setdefault(lake.alias, name)
    return list(lakes.values())
