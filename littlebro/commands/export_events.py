"""``littlebro export``: the events of an alias as JSON lines or CSV, streamed, so that memory stays flat."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from django.core.management.base import CommandError
from django.utils import timezone

from littlebro.commands.base import Terminal, UsageError, add_alias, chosen, explain
from littlebro.commands.output import add_output, write
from littlebro.conf import alias_config
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery, UnsupportedOperation
from littlebro.exporting import COLUMNS, as_csv, as_jsonl, check_columns
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Write events as JSON lines or CSV, oldest first."


def arguments(parser: ArgumentParser) -> None:
    """Add format, what to export, and where to."""
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="The format (jsonl).")
    add_alias(parser, "Read this alias (default).", default="default")
    parser.add_argument("--start", metavar="TIME", help="From this time or day on, ISO 8601.")
    parser.add_argument("--end", metavar="TIME", help="Up to this time or day, which is itself left out.")
    parser.add_argument(
        "--name", action="append", metavar="NAME", help="Events of this name; may be repeated."
    )
    parser.add_argument("--user", metavar="ID", help="Events of this user id.")
    parser.add_argument("--anonymous", metavar="ID", help="Events of this anonymous id.")
    streams = parser.add_mutually_exclusive_group()
    streams.add_argument(
        "--collection",
        action="append",
        metavar="NAME",
        help="This collection, not the alias's own; may be repeated.",
    )
    streams.add_argument("--all-collections", action="store_true", help="Every collection of the backend.")
    parser.add_argument(
        "--columns",
        metavar="LIST",
        help=f"CSV columns, separated by commas: {', '.join(COLUMNS)}, or single values as params.KEY and context.KEY.",
    )
    add_output(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Stream the events that were asked for."""
    (alias,) = chosen(options["alias"])
    query = _query(alias, options)
    events = _events(alias, query)
    if options["format"] == "csv":
        write(terminal, options["output"], as_csv(events, _columns(options["columns"])))
    elif options["columns"] is not None:
        raise UsageError("--columns belongs to --format csv; JSON lines hold every field.")
    else:
        write(terminal, options["output"], as_jsonl(events))
    return None


def _events(alias: str, query: EventQuery) -> Iterator[Event]:
    """Yield the events; a store that fails, whatever it raises, ends the command with alias and reason."""
    backend = backends[alias]
    try:
        yield from iterate(backend, query)
    except (UnsupportedOperation, InvalidQuery):
        raise  # says all of that already
    except Exception as error:
        message = (
            f"Not all was exported: {alias} could not be read: {explain(error).rstrip('.')}. Is its store up, and was "
            "`manage.py littlebro setup` run? --traceback shows where."
        )
        raise CommandError(message) from error


def _query(alias: str, options: Mapping[str, Any]) -> EventQuery:
    collections = tuple(options["collection"] or ()) or (alias_config(alias).collection,)
    return EventQuery(
        names=tuple(options["name"]) if options["name"] else None,
        collections=None if options["all_collections"] else collections,
        start=_moment("--start", options["start"]),
        end=_moment("--end", options["end"]),
        user_id=options["user"],
        anonymous_id=options["anonymous"],
    )


def _columns(text: str | None) -> tuple[str, ...]:
    if text is None:
        return COLUMNS
    columns = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        check_columns(columns)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return columns


def _moment(option: str, given: object) -> datetime | None:
    """Return a time; a day is its midnight, and what has no time zone is read in the current one."""
    if given is None:
        return None
    try:
        moment = given if isinstance(given, date) else datetime.fromisoformat(str(given))
    except ValueError as error:
        message = f"{option} {given!r} is no time; write 2026-05-17, or 2026-05-17T10:05:03+02:00."
        raise UsageError(message) from error
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.min)
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
