"""``littlebro flush``: wait until what lies in the journals of this machine is stored."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.commands.base import Failure, Terminal, add_alias, chosen, each_alias, left_over
from littlebro.delivery.handler import trackers

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Deliver what is sealed in the journal, waiting up to --timeout seconds."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias and --timeout."""
    add_alias(parser, "Flush this alias only.")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="Longest wait for each alias (30)."
    )


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Flush each alias by itself."""
    late: list[Failure] = []

    def flush(name: str) -> None:
        if trackers[name].flush(options["timeout"]):
            terminal.say(f"{name}: stored")
        else:
            late.append(
                Failure(name, "not all was stored in time; `littlebro status` says what waits, and why")
            )

    failures = each_alias(chosen(options["alias"]), flush)
    return left_over(terminal, [*failures, *late], "Not flushed")
