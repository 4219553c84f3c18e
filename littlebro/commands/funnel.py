"""``littlebro funnel``: how many people get from step to step. Its rules are in `littlebro.analysis.reports.funnel`."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.question import Person
from littlebro.analysis.reports.funnel import ORDERS, Exclusion, Funnel, FunnelStep, funnel, funnel_people
from littlebro.analysis.result import ALL, Figure, Table
from littlebro.commands.asking import (
    add_format,
    add_question,
    answer,
    duration,
    given,
    path,
    print_table,
    query,
    show,
    span_note,
    step,
)
from littlebro.commands.base import Terminal, UsageError
from littlebro.dashboard.export import csv_text
from littlebro.dashboard.numbers import duration as written
from littlebro.dashboard.numbers import percent

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Print how many people get from step to step, in what time, or who they are."

_NUMBERED: Final = re.compile(r"([1-9][0-9]?):(.+)", re.DOTALL)


def arguments(parser: ArgumentParser) -> None:
    """Add the steps, the question, the kind of funnel, and how it is printed."""
    parser.add_argument(
        "steps",
        nargs="+",
        metavar="STEP",
        help="NAME, or NAME[params.total>=10], in square brackets what must hold; * is any name.",
    )
    add_question(parser)
    parser.add_argument(
        "--window", default="14d", metavar="SPAN", help="To finish in, from step 1 on: 30m, 12h, 14d (14d)."
    )
    parser.add_argument(
        "--order", choices=ORDERS, default=ORDERS[0], help="ordered, strict or any (ordered)."
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="[N:]STEP",
        help="Leave who does this between step N and the next (without N: after any step); may be repeated.",
    )
    parser.add_argument("--by", metavar="PATH", help="A funnel for each value at this path.")
    parser.add_argument(
        "--by-step", type=int, default=1, metavar="N", help="The step whose value counts (1)."
    )
    parser.add_argument(
        "--limit", type=int, default=10, metavar="N", help="Values before `other`, or people (10)."
    )
    parser.add_argument("--people", type=int, metavar="N", help="Print who reached step N.")
    parser.add_argument("--dropped", action="store_true", help="With --people: only who went no further.")
    add_format(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> None:
    """Ask and print."""
    if options["dropped"] and options["people"] is None:
        raise UsageError("--dropped belongs to --people N.")
    steps = [step(text) for text in options["steps"]]
    asked = {
        "order": options["order"],
        "window": duration(options["window"]),
        "exclude": [each for text in options["exclude"] for each in _exclusions(text, len(steps))],
        "limit": options["limit"],
        **given(options),
    }
    if options["people"] is not None:
        number = _index("--people", options["people"], len(steps))
        found = answer(funnel_people, query(options), steps, step=number, dropped=options["dropped"], **asked)
        _people(terminal, options, found)
        return
    by = path(options["by"]) if options["by"] else None
    by_step = _index("--by-step", options["by_step"], len(steps))
    result = answer(funnel, query(options), steps, by=by, by_step=by_step, **asked)
    show(terminal, options, result, _shown(result), span_note(result))


def _exclusions(text: str, steps: int) -> list[Exclusion]:
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        return [Exclusion(step(numbered[2]), _index("--exclude", int(numbered[1]), steps - 1))]
    return [Exclusion(step(text), after) for after in range(steps - 1)]


def _index(option: str, number: int, most: int) -> int:
    if not 1 <= number <= most:
        message = f"{option}: there is no step {number} to count from; say 1 to {most}."
        raise UsageError(message)
    return number - 1


def _people(terminal: Terminal, options: Mapping[str, Any], found: list[Person]) -> None:
    table = Table(["user_id", "anonymous_id"], [[person.user_id, person.anonymous_id] for person in found])
    if options["json"]:
        terminal.dump(found)
    elif options["csv"]:
        terminal.raw(csv_text(table))
    else:
        print_table(terminal, table)


def _shown(result: Funnel) -> Table:
    """Return the table for people: shares in per cent, times in words."""
    columns = ["step", "people", "from start", "from step before", "median time", "open"]
    if result.by is None:
        return Table(["", *columns], [[n, *_row(one)] for n, one in enumerate(result.steps, 1)])
    groups = [(ALL, result.steps), *((group.key, group.steps) for group in result.groups)]
    return Table(
        [".".join(result.by), "", *columns],
        [
            [key.label if n == 1 else "", n, *_row(one)]
            for key, steps in groups
            for n, one in enumerate(steps, 1)
        ],
    )


def _row(one: FunnelStep) -> list[Any]:
    return [
        one.label,
        one.people,
        _share(one.from_start),
        _share(one.from_previous),
        None if one.median_seconds is None else Figure(written(one.median_seconds)),
        one.open,
    ]


def _share(share: float | None) -> Figure | None:
    return None if share is None else Figure(percent(share, 1))
