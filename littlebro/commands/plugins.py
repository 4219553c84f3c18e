"""``littlebro plugins``: each part that is installed, whose it is, and what is wrong with those that fail."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.commands.base import Terminal, printable, table
from littlebro.plugins.registry import Part, installed

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "List trackers, backends and plugins with package and version, and what failed and why."


def arguments(parser: ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="Print JSON, for machines.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """List the parts. One that fails is an answer, not a failure of the command."""
    parts = [*installed("trackers"), *installed("backends"), *installed("plugins")]
    if options["json"]:
        terminal.dump([part._asdict() for part in parts])
        return None
    if not parts:
        terminal.say(
            "Nothing is installed: not even our own parts have entry points. Was the package installed?"
        )
        return None
    for line in table(
        [[part.kind, part.name, f"{part.package} {part.version}", _state(part)] for part in parts]
    ):
        terminal.say(line)
    for part in parts:
        if part.error is not None and part.needs is None:
            terminal.say()
            terminal.say(f"{part.kind} {part.name} ({part.target}) failed: {printable(part.error)}")
    return None


def _state(part: Part) -> str:
    if part.needs is not None:
        return f'needs pip install "{part.needs}"'
    if part.error is not None:
        return "failed"
    if not part.active:
        return "switched off (LITTLEBRO_PLUGINS_AUTOLOAD)"
    return "works" if not part.hooks else f"works: {', '.join(part.hooks)}"
