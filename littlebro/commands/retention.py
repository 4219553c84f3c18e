"""``littlebro retention``: how many come back, cohort by cohort. See `littlebro.analysis.reports.retention`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.question import zone_of
from littlebro.analysis.reports.retention import PERIODS, Retention, retention
from littlebro.analysis.result import Figure, Table
from littlebro.commands.asking import add_format, add_question, answer, given, query, show, span_note, step
from littlebro.commands.base import Terminal
from littlebro.dashboard.numbers import percent

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Print how many of those who began come back, by day, week or month."


def arguments(parser: ArgumentParser) -> None:
    """Add the two steps, the question, the periods, and how it is printed."""
    parser.add_argument(
        "begin", metavar="START", help="With what people begin: NAME, or NAME[params.plan=pro]."
    )
    parser.add_argument("back", metavar="BACK", help="What counts as coming back; * is an event of any name.")
    add_question(parser)
    parser.add_argument("--period", choices=PERIODS, default="day", help="day, week or month (day).")
    parser.add_argument("--periods", type=int, default=8, metavar="N", help="How many of them to show (8).")
    parser.add_argument(
        "--recurring",
        action="store_true",
        help="Count who begins in each period anew, not the first time only.",
    )
    parser.add_argument(
        "--on-or-after", action="store_true", help="Count who comes back in a period or any later one."
    )
    parser.add_argument(
        "--percent", action="store_true", help="Print shares of the cohort instead of people."
    )
    add_format(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    result = answer(
        retention,
        query(options),
        step(options["begin"]),
        step(options["back"]),
        period=options["period"],
        periods=options["periods"],
        first_time=not options["recurring"],
        on_or_after=options["on_or_after"],
        **given(options),
    )
    cells = [cell for cohort in result.cohorts for cell in cohort.cells]
    marks = ["* may still grow."] if any(cell.running and cell.people for cell in cells) else []
    note = " ".join([span_note(result), *marks])
    show(terminal, options, result, _shown(result, shares=options["percent"]), note)


def _shown(result: Retention, *, shares: bool) -> Table:
    """Return the table for people: cells that may still grow are marked, cohorts that are cut too."""
    form = "%Y-%m" if result.period == "month" else "%Y-%m-%d"
    zone = zone_of(result.tz)
    rows = []
    for cohort in result.cohorts:
        cells = []
        for cell in cohort.cells:
            if cell.people is None or (shares and not cohort.size):
                cells.append(Figure(""))
                continue
            text = percent(cell.people, cohort.size) if shares else f"{cell.people:,}"
            cells.append(Figure(f"{text}{'*' if cell.running else ' '}"))
        rows.append(
            [f"{cohort.start.astimezone(zone):{form}}{' *' if cohort.partial else ''}", cohort.size, *cells]
        )
    periods = len(result.cohorts[0].cells)
    return Table([result.period, "people", *(f"{result.period} {n} " for n in range(periods))], rows)
