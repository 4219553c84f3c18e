"""``littlebro live``: what came in last, and how many people are there. See `littlebro.analysis.reports.live`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.question import in_zone, zone_of
from littlebro.analysis.reports.live import Live, live
from littlebro.analysis.result import Table, as_text
from littlebro.commands.asking import add_filters, add_format, answer, given, query, show
from littlebro.commands.base import Terminal
from littlebro.events.event import Event

__all__ = ["HELP", "arguments", "person_text", "run"]

HELP: Final = "Print the newest events as they were stored, and how many people are there now."


def arguments(parser: ArgumentParser) -> None:
    """Add the filters, how many events, and how they are printed."""
    add_filters(parser)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="Events to print (20).")
    add_format(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    result = answer(live, query(options), limit=options["limit"], **given(options))
    people = "person" if result.people_5 == 1 else "people"
    note = f"{result.people_5:,} {people} in the last 5 minutes, {result.people_30:,} in the last 30."
    show(terminal, options, result, _shown(result), note)


def person_text(event: Event) -> str | None:
    """Return the ids of an event as one text."""
    if event.user_id is not None:
        return f"u:{event.user_id}"
    return None if event.anonymous_id is None else f"a:{event.anonymous_id}"


def _shown(result: Live) -> Table:
    """Return the table for people: the columns that fit a line."""
    zone = zone_of(result.tz)
    return Table(
        ["received", "happened", "event", "person", "params"],
        [
            [
                in_zone(event.received_at, zone),
                in_zone(event.timestamp, zone),
                event.name,
                person_text(event),
                as_text(event.params) if event.params else "",
            ]
            for event in result.events
        ],
    )
