"""``littlebro purge``: delete the events that are older than their alias's RETENTION_DAYS."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.erasure import purge
from littlebro.commands.base import Terminal, add_alias, chosen, each_alias, left_over
from littlebro.delivery.retention import expired
from littlebro.storage.handler import backends
from littlebro.storage.reading import count

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Delete events past their alias's RETENTION_DAYS."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias and --dry-run."""
    add_alias(parser, "Purge this alias only.")
    parser.add_argument("--dry-run", action="store_true", help="Count what would be deleted; delete nothing.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Purge each alias by itself."""

    def clean(name: str) -> None:
        query = expired(name)
        if query is None or query.end is None:
            terminal.say(f"{name}: keeps its events (no RETENTION_DAYS)")
        elif options["dry_run"]:
            n = count(backends[name], query)
            terminal.say(f"{name}: {n} events from before {query.end:%Y-%m-%d %H:%M} UTC would be deleted")
        else:
            terminal.say(f"{name}: {purge(name)} events from before {query.end:%Y-%m-%d %H:%M} UTC deleted")

    return left_over(terminal, each_alias(chosen(options["alias"]), clean), "Not purged")
