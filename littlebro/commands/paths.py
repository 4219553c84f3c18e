"""``littlebro paths``: what people do one after the other. Its rules are in `littlebro.analysis.reports.paths`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.reports.paths import Paths, paths
from littlebro.analysis.result import Figure, Table
from littlebro.commands.asking import (
    add_format,
    add_question,
    answer,
    duration,
    given,
    query,
    show,
    span_note,
)
from littlebro.commands.base import Terminal
from littlebro.dashboard.numbers import percent

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Print what people do one after the other, from an event on, or up to one."


def arguments(parser: ArgumentParser) -> None:
    """Add the question, where paths begin or end, and how they are printed."""
    add_question(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--start", metavar="NAME", help="Forward from the first event of this name in each session."
    )
    ways.add_argument(
        "--end", metavar="NAME", help="Backward from the first event of this name in each session."
    )
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="Events of a path (5).")
    parser.add_argument(
        "--limit", type=int, default=5, metavar="N", help="Names at a step before `other` (5)."
    )
    parser.add_argument(
        "--gap", default="30m", metavar="SPAN", help="The silence that ends a session: 30m, 12h (30m)."
    )
    add_format(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    result = answer(
        paths,
        query(options),
        start=options["start"],
        end=options["end"],
        steps=options["steps"],
        limit=options["limit"],
        gap=duration(options["gap"]),
        **given(options),
    )
    note = f"{result.sessions:,} sessions of {result.people:,} people. {span_note(result)}"
    show(terminal, options, result, _shown(result), note)


def _shown(result: Paths) -> Table:
    """Return the table for people: a block a step, each name with where it leads, shares of its sessions."""
    rows: list[list[Any]] = []
    for node in result.nodes:
        rows.append([f"{node.step + 1}", node.key.label, node.people, node.sessions, Figure("")])
        rows += [
            ["", f"  > {link.target.label}", link.people, link.sessions, _share(link.sessions, node.sessions)]
            for link in result.links
            if (link.step, link.source) == (node.step, node.key)
        ]
        if node.ended:
            end = "(nothing before)" if result.direction == "backward" else "(end)"
            rows.append(["", f"  > {end}", node.dropped, node.ended, _share(node.ended, node.sessions)])
    return Table(["step", "event", "people", "sessions", "share"], rows)


def _share(part: int, whole: int) -> Figure:
    return Figure(percent(part, whole))
