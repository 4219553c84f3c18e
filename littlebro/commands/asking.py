"""What the subcommands of the reports share: the range, the filters, steps, and the three ways to print.

In: words of a command line. Out: `EventQuery`, `Step`, `Path`, as the reports take them, or `UsageError`; and a
result as a table for people, as JSON, or as CSV that a spreadsheet cannot run.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeVar

from littlebro.analysis.question import Path, Person, Step, in_zone, zone_of
from littlebro.analysis.result import Result, Table
from littlebro.commands.base import Terminal, UsageError, add_alias, chosen
from littlebro.dashboard.export import csv_text
from littlebro.dashboard.fields import conditions_of, parse_condition, parse_path
from littlebro.dashboard.known import first_event
from littlebro.dashboard.ranges import DEFAULT, RANGES, day_of, range_of
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = [
    "add_filters",
    "add_format",
    "add_question",
    "answer",
    "condition",
    "duration",
    "given",
    "path",
    "print_table",
    "query",
    "show",
    "span_note",
    "step",
]

_SIGNS: Final = {
    "!=": "ne", "<=": "le", ">=": "ge", "^=": "starts", "~": "contains", "=": "eq", "<": "lt", ">": "gt",
}  # fmt: skip
_SIGN: Final = re.compile("|".join(map(re.escape, _SIGNS)))
_STEP: Final = re.compile(r"(?P<name>.*?)(?P<where>(?:\[[^\[\]]*\])*)", re.DOTALL)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_Parsed = TypeVar("_Parsed")


def add_question(parser: ArgumentParser) -> None:
    """Add the range, and what `add_filters` adds."""
    parser.add_argument(
        "--range", choices=tuple(RANGES), metavar="RANGE", help=f"One of {', '.join(RANGES)} ({DEFAULT})."
    )
    parser.add_argument("--since", metavar="TIME", help="From this day or moment on, ISO 8601.")
    parser.add_argument("--until", metavar="TIME", help="To the end of this day, or up to this moment.")
    add_filters(parser)


def add_filters(parser: ArgumentParser) -> None:
    """Add alias, filters, person and time zone."""
    add_alias(parser, "Read this alias (default).", default="default")
    parser.add_argument(
        "--name", action="append", metavar="NAME", help="Events of this name; may be repeated."
    )
    parser.add_argument(
        "--collection",
        action="append",
        metavar="NAME",
        help="This collection, not the alias's own; may be repeated.",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="What must hold, such as params.total>=10; may be repeated.",
    )
    parser.add_argument("--person", metavar="PERSON", help="One person: u:USER_ID or a:ANONYMOUS_ID.")
    parser.add_argument("--tz", metavar="ZONE", help="The time zone of days and hours (TIME_ZONE).")


def add_format(parser: ArgumentParser) -> None:
    """Add --json and --csv."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="Print the whole result as JSON.")
    ways.add_argument("--csv", action="store_true", help="Print the table as CSV.")


def query(options: Mapping[str, Any]) -> EventQuery:
    """Return the events that are asked about."""
    zone = usage(zone_of, options["tz"])
    start, end = usage(_span, options, zone)
    return EventQuery(
        names=tuple(options["name"]) if options["name"] else None,
        collections=_collections(options),
        start=start,
        end=end,
        where=tuple(each for text in options["where"] for each in condition(text)),
    )


def _collections(options: Mapping[str, Any]) -> tuple[str, ...] | None:
    return tuple(options["collection"]) if options["collection"] else None


def _span(options: Mapping[str, Any], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    if "range" not in options:
        return None, None
    since, until = options["since"] or "", options["until"] or ""
    if options["range"] and (since or until):
        raise InvalidQuery("--range is a range by itself: leave --since and --until out.")
    asked = range_of(options["range"] or "", since, until, zone, datetime.now(UTC))
    if asked.start is not None:
        return asked.start, asked.end
    (alias,) = chosen(options["alias"])
    first = min(first_event(alias, _collections(options)) or asked.end, asked.end - timedelta(days=1))
    return day_of(first, zone), asked.end


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that every report takes."""
    (alias,) = chosen(options["alias"])
    person = usage(Person.parse, options["person"]) if options["person"] else None
    return {"alias": alias, "tz": options["tz"], "person": person}


def condition(text: str) -> list[Condition]:
    """Return the conditions, all of which must hold, that a --where names."""
    if text.startswith("["):
        return [usage(parse_condition, text)]
    sign = _SIGN.search(text, 1)
    if sign is not None:
        return usage(conditions_of, path(text[: sign.start()]), _SIGNS[sign[0]], text[sign.end() :].strip())
    if text.startswith("!"):
        return usage(conditions_of, path(text[1:]), "not_set", "")
    return usage(conditions_of, path(text), "set", "")


def path(text: str) -> Path:
    """Return the path that an option names."""
    return usage(parse_path, text)


def step(text: str) -> Step:
    """Return a step: a name, and conditions in square brackets, ``order-paid[params.total>=10]``; ``*`` is any name."""
    found = _STEP.fullmatch(text)
    name, where = (found["name"], found["where"]) if found else (text, "")
    if not name:
        message = f"{text!r} is no step; write NAME, NAME[params.total>=10], or * for an event of any name."
        raise UsageError(message)
    conditions = [each for part in where[1:-1].split("][") if part for each in condition(part)]
    return Step(None if name == "*" else name, tuple(conditions))


def duration(text: str) -> timedelta:
    """Return a span such as 30m, 12h or 14d."""
    found = _DURATION.fullmatch(text)
    if not found:
        message = f"{text!r} is no span of time; write 30m, 12h or 14d."
        raise UsageError(message)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def usage(parse: Callable[..., _Parsed], *arguments: Any, **named: Any) -> _Parsed:
    """Return what `parse` makes of `arguments`; what it refuses was the command line's fault."""
    try:
        return parse(*arguments, **named)
    except InvalidQuery as error:
        raise UsageError(str(error)) from error


answer = usage
"""Return the answer of a report; a question that it refuses was the command line's fault."""


def show(
    terminal: Terminal, options: Mapping[str, Any], result: Result, table: Table | None = None, note: str = ""
) -> None:
    """Print `result` as was asked; `table` is what people see of it, if not its own, `note` what they should know."""
    if options["json"]:
        terminal.dump(result.as_json())
    elif options["csv"]:
        terminal.raw(csv_text(result.table()))
    else:
        print_table(terminal, result.table() if table is None else table)
        terminal.note(" ".join(filter(None, (note, f"As of {_moment(result.as_of, options['tz'])}."))))


def print_table(terminal: Terminal, table: Table) -> None:
    """Print a table for people; say so where it has no rows."""
    terminal.say(str(table))
    if not table.rows:
        terminal.note("There is nothing in this range.")


def span_note(result: Any) -> str:
    """Return the range of a result in words: by days where it begins and ends with one."""
    zone = zone_of(result.tz)
    first, end = result.start.astimezone(zone), result.end.astimezone(zone)
    if first.hour or first.minute or end.hour or end.minute:
        return f"From {first:%Y-%m-%d %H:%M} up to {end:%Y-%m-%d %H:%M}, {result.tz}."
    last = end - timedelta(days=1)
    days = f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"{days}, {result.tz}."


def _moment(moment: datetime, tz: str | None) -> str:
    return f"{in_zone(moment, zone_of(tz)):%Y-%m-%d %H:%M:%S}"
