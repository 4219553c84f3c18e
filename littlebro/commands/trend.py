"""``littlebro trend``: a measure over time. The rules are those of `littlebro.analysis.reports.trend`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.calendar import INTERVALS
from littlebro.analysis.question import zone_of
from littlebro.analysis.reports.trend import MEASURES, Trend, trend
from littlebro.analysis.result import Table
from littlebro.commands.asking import add_format, add_question, answer, given, path, query, show, span_note
from littlebro.commands.base import Terminal
from littlebro.dashboard.ranges import suiting

__all__ = ["HELP", "add_measure", "arguments", "run"]

HELP: Final = "Print a measure over time: events, people, sums and more, by hour, day, week or month."


def arguments(parser: ArgumentParser) -> None:
    """Add the question, what is measured, and how it is printed."""
    add_question(parser)
    parser.add_argument(
        "--interval", choices=INTERVALS, help="hour, day, week or month (what suits the range)."
    )
    add_measure(parser, MEASURES, "events")
    parser.add_argument(
        "--by", metavar="PATH", help="A line for each value at this path, such as params.plan."
    )
    parser.add_argument("--limit", type=int, default=5, metavar="N", help="Lines before `other` (5).")
    parser.add_argument(
        "--compare", choices=("previous", "year"), help="With the range before, or that of a year before."
    )
    add_format(parser)


def add_measure(parser: ArgumentParser, measures: tuple[str, ...], default: str | None) -> None:
    """Add --measure and --value."""
    parser.add_argument(
        "--measure",
        choices=measures,
        default=default,
        metavar="MEASURE",
        help=f"One of {', '.join(measures)}{f' ({default})' if default else ''}.",
    )
    parser.add_argument(
        "--value", metavar="PATH", help="The number of sum, average, min, max, median, p95: params.total."
    )


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    asked = query(options)
    suited = suiting(asked.start, asked.end) if asked.start and asked.end else "day"
    result = answer(
        trend,
        asked,
        interval=options["interval"] or suited,
        measure=options["measure"],
        value=path(options["value"]) if options["value"] else None,
        by=path(options["by"]) if options["by"] else None,
        limit=options["limit"],
        compare=options["compare"],
        **given(options),
    )
    partial = "* holds a part only." if any(bucket.partial for bucket in result.buckets) else ""
    show(terminal, options, result, _shown(result), " ".join(filter(None, (span_note(result), partial))))


def _shown(result: Trend) -> Table:
    """Return the table for people: a mark instead of the column `partial`, and the whole range at the end."""
    plain = result.table()
    form = (
        "%Y-%m-%d %H:%M"
        if result.interval == "hour"
        else "%Y-%m"
        if result.interval == "month"
        else "%Y-%m-%d"
    )
    zone = zone_of(result.tz)
    rows = [
        [f"{bucket.start.astimezone(zone):{form}}{' *' if bucket.partial else ''}", *row[1:-1]]
        for bucket, row in zip(result.buckets, plain.rows, strict=True)
    ]
    totals = [series.total for series in (*result.series, *(result.comparison or ()))]
    return Table(plain.columns[:-1], [*rows, ["(all)", *totals]])
