"""``littlebro person``: everything known of one person, as JSON lines, for instance to answer GDPR article 15.

What waits in the journal of this machine is delivered first, dead letters are included, and an event that two
aliases or sinks hold is written once. With --table, --json or --csv it is the report of one alias instead, whose
rules are in `littlebro.analysis.reports.person`.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from littlebro.analysis.question import Person, in_zone, zone_of
from littlebro.analysis.reports.person import PersonReport
from littlebro.analysis.reports.person import person as report
from littlebro.analysis.result import Table, as_text
from littlebro.commands.asking import add_format, answer, print_table, show
from littlebro.commands.base import (
    Failure,
    Terminal,
    UsageError,
    add_alias,
    chosen,
    explain,
    left_over,
    printable,
)
from littlebro.commands.forget import add_person, person_of
from littlebro.commands.output import add_output, write
from littlebro.delivery.deadletters import abandoned, each_letter
from littlebro.delivery.forget import person
from littlebro.delivery.handler import trackers
from littlebro.events.event import Event, decode
from littlebro.exceptions import LittlebroError
from littlebro.exporting import as_jsonl
from littlebro.models import DeadLetter

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Export what is known of one person, as JSON lines, or print the report on them."

_FORMATS: Final = ("table", "json", "csv")


def arguments(parser: ArgumentParser) -> None:
    """Add --user, --anonymous and --output, and what the report takes."""
    add_person(parser)
    add_output(parser)
    parser.add_argument("--table", action="store_true", help="Print the report: names, ids and the timeline.")
    add_format(parser)
    add_alias(parser, "With the report: read this alias (default).")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="With the report: events of a page (50)."
    )
    parser.add_argument(
        "--cursor", metavar="TEXT", help="With the report: go on after the page that named this."
    )
    parser.add_argument(
        "--tz", metavar="ZONE", help="With the report: the time zone of its times (TIME_ZONE)."
    )


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Write what can be read, and tell which alias could not be; or print the report."""
    who = person_of(options)
    if any(options[form] for form in _FORMATS):
        _report(terminal, options, Person(**who))
        return None
    if options["alias"] or options["cursor"] or options["tz"]:
        raise UsageError("--alias, --cursor and --tz belong to the report: add --table, --json or --csv.")
    failures: list[Failure] = []
    write(terminal, options["output"], as_jsonl(_known(who, failures)))
    return left_over(terminal, failures, "Not all could be read")


def _report(terminal: Terminal, options: Mapping[str, Any], who: Person) -> None:
    if options["table"] and (options["json"] or options["csv"]):
        raise UsageError("Say one of --table, --json and --csv.")
    if options["output"]:
        raise UsageError("--output belongs to the export; the report is printed.")
    (alias,) = chosen(options["alias"] or "default")
    result = answer(
        report, who, limit=options["limit"], cursor=options["cursor"], alias=alias, tz=options["tz"]
    )
    if options["table"]:
        _head(terminal, result)
    more = f"More: --cursor {result.next_cursor}." if result.next_cursor else ""
    show(terminal, options, result, _timeline(result), more)


def _head(terminal: Terminal, result: PersonReport) -> None:
    """Print who it is, their ids, and what they did how often."""
    zone = zone_of(result.tz)
    many = "event" if result.events == 1 else "events"
    terminal.say(printable(f"{result.person}: {result.events:,} {many}"))
    for link in result.links:
        owner = (
            "" if link.user_id == result.person.user_id else f" (of {link.user_id})" if link.user_id else ""
        )
        terminal.say(printable(f"  also a:{link.anonymous_id}{owner}"))
    terminal.say()
    if result.names:
        rows = [
            [name.name, name.events, in_zone(name.first_seen, zone), in_zone(name.last_seen, zone)]
            for name in result.names
        ]
        print_table(terminal, Table(["event", "times", "first", "last"], rows))
        terminal.say()


def _timeline(result: PersonReport) -> Table:
    zone = zone_of(result.tz)
    return Table(
        ["time", "event", "params"],
        [
            [in_zone(event.timestamp, zone), event.name, as_text(event.params) if event.params else ""]
            for event in result.timeline
        ],
    )


def _known(who: Mapping[str, str | None], failures: list[Failure]) -> Iterator[Event]:
    seen: set[tuple[str, str]] = set()
    places = [(name, _of_alias(name, who, failures)) for name in chosen(None)]
    for name, events in (*places, ("dead letters", _of_letters(abandoned(), who))):
        try:
            for event in events:
                if (event.collection, event.id) not in seen:
                    seen.add((event.collection, event.id))
                    yield event
        except Exception as error:  # noqa: BLE001 - each alias fails for itself; the reason is shown
            failures.append(Failure(name, explain(error)))


def _of_alias(name: str, who: Mapping[str, str | None], failures: list[Failure]) -> Iterator[Event]:
    left = trackers[name].upkeep().get("left")
    if left and not trackers[name].flush():
        failures.append(Failure(name, "events still wait in the journal (`littlebro status` says why)"))
    yield from person(name, **who)
    yield from _of_letters(DeadLetter.objects.filter(alias=name), who)


def _of_letters(letters: QuerySet[DeadLetter], who: Mapping[str, str | None]) -> Iterator[Event]:
    known = {field: value for field, value in who.items() if value is not None}
    for letter in each_letter(letters.filter(**known)):
        try:
            yield decode(bytes(letter.body))
        except LittlebroError:
            continue  # a note about input that was refused: it holds no params
