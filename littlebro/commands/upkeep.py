"""``littlebro upkeep``: adopt what dead processes left in the journals of this machine, deliver all that is sealed."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.commands.base import Failure, Terminal, add_alias, chosen, each_alias, left_over
from littlebro.delivery.handler import trackers

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Deliver what lies in the journal of this machine, also what dead processes left there."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias."""
    add_alias(parser, "Look after this alias only.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Look after each alias by itself. What a living process is writing still is no failure."""
    waiting: list[Failure] = []

    def look_after(name: str) -> None:
        done = trackers[name].upkeep()
        counts = ", ".join(f"{key} {value}" for key, value in done.items() if key != "reason")
        terminal.say(f"{name}: {counts or 'nothing to do'}")
        if done.get("reason"):
            waiting.append(Failure(name, str(done["reason"])))

    failures = each_alias(chosen(options["alias"]), look_after)
    return left_over(terminal, [*failures, *waiting], "Not all was delivered")
