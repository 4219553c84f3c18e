"""``littlebro deadletters``: list, show, replay or delete the events that a destination would not take."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from littlebro.commands.base import (
    Terminal,
    UsageError,
    add_alias,
    ask,
    chosen,
    database_number,
    printable,
    table,
)
from littlebro.delivery.deadletters import each_letter, replay_each
from littlebro.models import DeadLetter

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "List, show, replay or delete dead letters."

_REASON: Final = 100


def arguments(parser: ArgumentParser) -> None:
    """Add the action and the filters."""
    parser.add_argument(
        "action", choices=tuple(_ACTIONS), metavar="ACTION", help=f"One of {', '.join(_ACTIONS)}."
    )
    add_alias(parser, "Only those of this alias.")
    parser.add_argument(
        "--sink", metavar="ALIAS", help="Only those that this sink refused; '' is the alias's backend."
    )
    parser.add_argument(
        "--id",
        type=database_number,
        action="append",
        metavar="N",
        help="This one (see list); may be repeated.",
    )
    parser.add_argument("--all", action="store_true", help="All of them; all but list want a filter or this.")
    parser.add_argument(
        "--limit", type=database_number, default=50, metavar="N", help="Most lines of a list (50)."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON lines, for machines (list, show).")
    parser.add_argument(
        "--no-input",
        "--noinput",
        dest="interactive",
        action="store_false",
        help="Do not ask before deleting.",
    )


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Do the action to the letters that the filters leave."""
    letters = DeadLetter.objects.order_by("pk")
    if options["alias"] is not None:
        # A letter may outlive its alias in the settings, so that any name which letters have will do.
        if not letters.filter(alias=options["alias"]).exists():
            chosen(options["alias"])
        letters = letters.filter(alias=options["alias"])
    if options["sink"] is not None:
        letters = letters.filter(sink=options["sink"])
    if options["id"]:
        letters = letters.filter(pk__in=options["id"])
        missing = set(options["id"]) - set(letters.values_list("pk", flat=True))
        if missing:
            raise UsageError(
                f"There is no dead letter {', '.join(map(str, sorted(missing)))} among those asked for."
            )
    filtered = options["alias"] is not None or options["sink"] is not None or bool(options["id"])
    if options["action"] != "list" and not filtered and not options["all"]:
        raise UsageError("Say which: --id N, --alias ALIAS, --sink ALIAS, or --all.")
    return _ACTIONS[options["action"]](terminal, letters, options)


def _list(terminal: Terminal, letters: QuerySet[DeadLetter], options: Mapping[str, Any]) -> str | None:
    total = letters.count()
    shown = letters.defer("body")[: options["limit"]]
    if options["json"]:
        for letter in shown:
            terminal.say(msgspec.json.encode(_facts(letter)).decode())
    elif total:
        rows: list[list[object]] = [["id", "alias", "sink", "name", "event", "attempts", "since", "reason"]]
        for letter in shown:
            since = f"{letter.created_at:%Y-%m-%d %H:%M}"
            row = [
                letter.pk,
                letter.alias,
                letter.sink or "-",
                letter.name or "-",
                letter.event_id,
                letter.attempts,
            ]
            rows.append([*row, since, _short(letter.reason)])
        for line in table(rows):
            terminal.say(line)
    else:
        terminal.say("No dead letters.")
    if total > len(shown):
        terminal.note(f"{total - len(shown)} more; --limit shows them.")
    return None


def _show(terminal: Terminal, letters: QuerySet[DeadLetter], options: Mapping[str, Any]) -> str | None:
    for letter in each_letter(letters):
        facts = {**_facts(letter), "body": bytes(letter.body).decode("utf-8", "backslashreplace")}
        if options["json"]:
            terminal.say(msgspec.json.encode(facts).decode())
            continue
        for key, value in facts.items():
            terminal.say(f"{key}: {printable(str(value))}")
        terminal.say()
    return None


def _replay(terminal: Terminal, letters: QuerySet[DeadLetter], _options: Mapping[str, Any]) -> str | None:
    became = Counter(replay_each(letters))
    refused, hopeless = became["refused"], became["hopeless"]
    terminal.say(f"{became['stored']} stored, {refused + hopeless} kept")
    said = []
    if refused:
        said.append(
            f"{refused} dead letters were refused again; `littlebro deadletters list` has the reasons."
        )
    if hopeless:
        said.append(f"{hopeless} cannot be replayed: notes of refused input, or damaged lines.")
    return " ".join(said) or None


def _delete(terminal: Terminal, letters: QuerySet[DeadLetter], options: Mapping[str, Any]) -> str | None:
    n = letters.count()
    if (
        n
        and options["interactive"]
        and not ask(f"{n} dead letters will be deleted, and their events are lost then.")
    ):
        return "Nothing was deleted."
    deleted, _ = letters.order_by().delete()
    terminal.say(f"{deleted} deleted")
    return None


def _facts(letter: DeadLetter) -> dict[str, Any]:
    names = (
        "alias",
        "sink",
        "collection",
        "event_id",
        "name",
        "user_id",
        "anonymous_id",
        "reason",
        "attempts",
    )
    facts = {"id": letter.pk, **{name: getattr(letter, name) for name in names}}
    return {**facts, "created_at": letter.created_at.isoformat()}


def _short(text: str) -> str:
    return text if len(text) <= _REASON else f"{text[: _REASON - 1]}…"


_ACTIONS: Final = {"list": _list, "show": _show, "replay": _replay, "delete": _delete}
