"""``littlebro forget``: erase a person from every alias; what is still on its way will be dropped on arrival."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.erasure import forget
from littlebro.commands.base import Failure, Terminal, UsageError, ask, chosen, each_alias, left_over

__all__ = ["HELP", "add_person", "arguments", "person_of", "run"]

HELP: Final = "Erase a person everywhere: backends, sinks, dead letters, journal, lake."


def arguments(parser: ArgumentParser) -> None:
    """Add --user, --anonymous and --no-input."""
    add_person(parser)
    parser.add_argument(
        "--no-input", "--noinput", dest="interactive", action="store_false", help="Do not ask, erase."
    )


def add_person(parser: ArgumentParser) -> None:
    """Add the two ways to say who is meant."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--user", metavar="ID", help="The user id, as the events hold it: the pk as text.")
    group.add_argument("--anonymous", metavar="ID", help="The anonymous id, as the cookie holds it.")


def person_of(options: Mapping[str, Any]) -> dict[str, str | None]:
    """Return who is meant, as `forget` and `person` take it."""
    user_id, anonymous_id = options["user"], options["anonymous"]
    if (user_id is None) == (anonymous_id is None):
        raise UsageError("Say who is meant: --user ID or --anonymous ID.")
    return {"user_id": None if user_id is None else str(user_id), "anonymous_id": anonymous_id}


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Erase after asking; tell where something could not be erased."""
    person = person_of(options)
    kind = "user" if person["user_id"] is not None else "anonymous id"
    if options["interactive"] and not ask(
        f"All events of the {kind} {options['user'] or options['anonymous']!r} will be deleted from every alias, "
        "for good."
    ):
        return "Nothing was erased."
    kept: list[Failure] = []

    def erase(name: str) -> None:
        for place, n in forget(name, **person).items():
            if n < 0:
                kept.append(Failure(name, f"{place}: cannot delete, events may be left there"))
            else:
                terminal.say(f"{name}: {place}: {n} deleted")

    failures = each_alias(chosen(None), erase)
    return left_over(terminal, [*failures, *kept], "Not erased everywhere")
