"""``littlebro breakdown``: events and people by a value. Its rules are in `littlebro.analysis.reports.breakdown`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.reports.breakdown import ROW_MEASURES, Breakdown, breakdown
from littlebro.analysis.result import Table
from littlebro.commands.asking import add_format, add_question, answer, given, path, query, show, span_note
from littlebro.commands.base import Terminal
from littlebro.commands.trend import add_measure

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Print events and people by the value at a path: params.plan, context.browser, name."


def arguments(parser: ArgumentParser) -> None:
    """Add the path, the question, and how it is printed."""
    parser.add_argument(
        "by", metavar="PATH", help="params.KEY, context.KEY, name, user_id, collection and so on."
    )
    add_question(parser)
    add_measure(parser, ROW_MEASURES, None)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="Rows before `other` (20).")
    parser.add_argument(
        "--compare", choices=("previous", "year"), help="With the range before, or that of a year before."
    )
    add_format(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    result = answer(
        breakdown,
        query(options),
        by=path(options["by"]),
        measure=options["measure"],
        value=path(options["value"]) if options["value"] else None,
        limit=options["limit"],
        compare=options["compare"],
        **given(options),
    )
    show(terminal, options, result, _shown(result), span_note(result))


def _shown(result: Breakdown) -> Table:
    """Return the table for people, the whole range at its end."""
    plain = result.table()
    if not plain.rows:
        return plain
    totals: list[Any] = [result.total_events, result.total_people]
    before: list[Any] = [result.previous_total_events, result.previous_total_people]
    if result.measure is not None:
        totals.append(result.total_value)
        before.append(result.previous_total_value)
    if result.previous_start is not None:
        totals += before
    return Table(plain.columns, [*plain.rows, ["(all)", *totals]])
