"""``littlebro lake``: what is in the columnar copy that reports read; hold it against the store, make it anew."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.lake import Contents, contents, rebuild, verify
from littlebro.commands.base import Terminal, add_alias, each_alias, left_over, table
from littlebro.commands.sync import with_lake

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Show what is in the lake; with `verify` check and mend it, with `rebuild` make it anew."


def arguments(parser: ArgumentParser) -> None:
    """Add the action, --alias and --json."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=["show", "verify", "rebuild"],
        default="show",
        help="What to do: show what is in it, verify it against the store, or rebuild it (default: show).",
    )
    add_alias(parser, "Look at the lake of this alias only.")
    parser.add_argument("--json", action="store_true", help="Print what is in it as JSON.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Do it for each store by itself."""
    shown: list[Contents] = []

    def work(name: str) -> None:
        if options["action"] != "show":
            done = (verify if options["action"] == "verify" else rebuild)(name)
            terminal.note(f"{name}: {done.added} events added, {done.mended} days mended")
        found = contents(name)
        if found is None:
            terminal.note(f"{name}: there is no lake yet; `littlebro sync` makes it")
        else:
            shown.append(found)

    failures = each_alias(with_lake(options["alias"]), work)
    if options["json"]:
        terminal.dump(shown)
    else:
        for found in shown:
            _show(terminal, found)
    return left_over(terminal, failures, f"Could not {options['action']}")


def _show(terminal: Terminal, found: Contents) -> None:
    rows = [
        ("folder", found.folder),
        ("events", f"{found.events:,} on {found.days} days, from {found.first} to {found.last}"),
        *((f"  {collection}", f"{n:,}") for collection, n in sorted(found.collections.items())),
        ("links", f"{found.links:,} anonymous ids of known users"),
        ("files", f"{found.files}, {found.bytes / 1e6:.1f} MB"),
        ("synced", found.synced_at or "never"),
        ("verified", found.verified_at or "never"),
    ]
    terminal.say(f"{found.alias}:{'' if found.complete else ' (not complete yet)'}")
    for line in table([(f"  {name}", value) for name, value in rows]):
        terminal.say(line)
