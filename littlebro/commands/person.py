"""``littlebro person``: everything known of one person, as JSON lines, for instance to answer GDPR article 15.

What waits in the journal of this machine is delivered first, dead letters are included, and an event that two
aliases or sinks hold is written once.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any, Final

from littlebro.commands.base import Failure, Terminal, chosen, explain, left_over
from littlebro.commands.forget import add_person, person_of
from littlebro.commands.output import add_output, write
from littlebro.delivery.forget import person
from littlebro.delivery.handler import trackers
from littlebro.events.event import Event, decode
from littlebro.exceptions import LittlebroError
from littlebro.exporting import as_jsonl
from littlebro.models import DeadLetter

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Export what is known of one person, as JSON lines."


def arguments(parser: ArgumentParser) -> None:
    """Add --user, --anonymous and --output."""
    add_person(parser)
    add_output(parser)


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Write what can be read; tell which alias could not be."""
    failures: list[Failure] = []
    write(terminal, options["output"], as_jsonl(_known(person_of(options), failures)))
    return left_over(terminal, failures, "Not all could be read")


def _known(who: Mapping[str, str | None], failures: list[Failure]) -> Iterator[Event]:
    seen: set[tuple[str, str]] = set()
    for name in chosen(None):
        try:
            left = trackers[name].upkeep().get("left")
            if left and not trackers[name].flush():
                failures.append(
                    Failure(name, "events still wait in the journal (`littlebro status` says why)")
                )
            for source in (person(name, **who), _letters(name, who)):
                for event in source:
                    if (event.collection, event.id) not in seen:
                        seen.add((event.collection, event.id))
                        yield event
        except Exception as error:  # noqa: BLE001 - each alias fails for itself; the reason is shown
            failures.append(Failure(name, explain(error)))


def _letters(alias: str, who: Mapping[str, str | None]) -> Iterator[Event]:
    known = {field: value for field, value in who.items() if value is not None}
    for letter in DeadLetter.objects.filter(alias=alias, **known).order_by("pk").iterator(chunk_size=500):
        try:
            yield decode(bytes(letter.body))
        except LittlebroError:
            continue  # a note about input that was refused: it holds no params
