"""``littlebro setup``: let every alias's backend make the tables, indexes or files that it needs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.commands.base import Terminal, add_alias, chosen, each_alias, left_over
from littlebro.storage.after_migrate import alone
from littlebro.storage.handler import backends

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Make what the backends need (tables, indexes); harmless if run again."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias."""
    add_alias(parser, "Set up this alias only.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Set up each alias by itself."""

    def set_up(name: str) -> None:
        with alone():
            backends[name].setup()
        faults = backends[name].check()
        terminal.say(f"{name}: ready")
        for sentence in faults:
            terminal.note(f"{name}: {sentence}")

    return left_over(terminal, each_alias(chosen(options["alias"]), set_up), "Not set up")
