"""``littlebro status``: what waits in the journals, what was lost, what is dead, what runs. Changes nothing."""

from __future__ import annotations

import platform
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import django
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router
from django.db.models import Count, Sum

from littlebro.__version__ import __version__
from littlebro.commands.base import Terminal, add_alias, chosen, explain, printable, table
from littlebro.conf import alias_config
from littlebro.delivery.handler import trackers
from littlebro.models import DeadLetter, LossCount
from littlebro.storage.handler import backends

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Show what waits in the journal, what was lost and why, dead letters, and versions."


def arguments(parser: ArgumentParser) -> None:
    """Add --alias and --json."""
    add_alias(parser, "Show this alias only.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for machines.")


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Print the status; what cannot be read is part of it."""
    report = _report(chosen(options["alias"]))
    if options["json"]:
        terminal.dump(report)
    else:
        _print(terminal, report)
    if report["unreadable"]:
        return "Not all of the status could be read; the reasons are above."
    return None


def _report(names: list[str]) -> dict[str, Any]:
    unreadable: list[str] = []
    losses: dict[str, Counter[str]] = {name: Counter() for name in names}
    dead: dict[str, dict[str, int]] = {name: {} for name in names}
    try:
        _read_tables(losses, dead)
    except DatabaseError as error:
        unreadable.append(f"losses and dead letters: {explain(error)}")
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = _alias(name, losses[name], dead[name])
        except ImproperlyConfigured as error:
            unreadable.append(explain(error))
        except OSError as error:  # a journal that this account may not enter
            unreadable.append(f"LITTLEBRO[{name!r}]: {explain(error)}")
    return {"versions": _versions(unreadable), "aliases": found, "unreadable": unreadable}


def _read_tables(losses: dict[str, Counter[str]], dead: dict[str, dict[str, int]]) -> None:
    sums = LossCount.objects.filter(alias__in=losses).values_list("alias", "reason").order_by()
    for alias, reason, n in sums.annotate(total=Sum("n")):
        losses[alias][reason] += n
    letters = DeadLetter.objects.filter(alias__in=dead).values_list("alias", "sink").order_by()
    for alias, sink, n in letters.annotate(total=Count("pk")):
        dead[alias][sink] = n


def _alias(name: str, losses: Counter[str], dead: dict[str, int]) -> dict[str, Any]:
    config = alias_config(name)
    tracker, backend = trackers[name], backends[name]
    state = tracker.status()
    # What this process itself counted and no journal has taken; without a journal there is nothing else.
    losses.update(state.get("unwritten_losses") or {})
    journal = state.get("journal")
    return {
        "tracker": config.tracker,
        "backend": config.backend,
        "sinks": list(config.sinks),
        "backend_trouble": _trouble(backend),
        "journal": journal,
        "last_errors": _last_errors(journal),
        "losses": dict(sorted(losses.items())),
        "losses_kept": journal is not None,
        "dead_letters": dict(sorted(dead.items())),
    }


def _trouble(backend: Any) -> list[str]:
    """Return what the backend says of itself; that it does not answer, where it does not."""
    try:
        backend.ping()
        return [str(sentence) for sentence in backend.check()]
    except Exception as error:  # noqa: BLE001 - a stranger's backend may raise anything, and that is the answer
        return [f"does not answer: {explain(error)}"]


def _last_errors(journal: Mapping[str, Any] | None) -> dict[str, str]:
    if journal is None:
        return {}
    places = journal["destinations"].items()
    return {place: state["trouble"] for place, state in places if state.get("trouble")}


def _versions(unreadable: list[str]) -> dict[str, str]:
    versions = {
        "littlebro": __version__,
        "django": django.get_version(),
        "python": platform.python_version(),
    }
    alias = router.db_for_read(DeadLetter)
    connection = connections[alias]
    try:
        number = ".".join(map(str, connection.get_database_version()))
        mariadb = connection.vendor == "mysql" and getattr(connection, "mysql_is_mariadb", False)
        versions["database"] = f"{'MariaDB' if mariadb else connection.display_name} {number}"
    except DatabaseError as error:
        unreadable.append(f"database {alias!r}: {explain(error)}")
    return versions


def _print(terminal: Terminal, report: Mapping[str, Any]) -> None:
    terminal.say(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    for name, state in report["aliases"].items():
        terminal.say()
        terminal.say(f"{name}: tracker {state['tracker']}, backend {state['backend']}")
        for line in (
            *_journal_lines(state["journal"]),
            *_loss_lines(state),
            *_letter_lines(state["dead_letters"]),
        ):
            terminal.say(f"  {line}")
        for sentence in state["backend_trouble"]:
            terminal.say(f"  backend: {printable(sentence)}")
    for sentence in report["unreadable"]:
        terminal.err.write(f"Cannot be read: {printable(sentence)}")


def _journal_lines(journal: Mapping[str, Any] | None) -> list[str]:
    if journal is None:
        return ["journal: none"]
    lines = [f"journal: {journal['folder']}, {journal.get('active', 0)} open"]
    rows: list[list[object]] = []
    for place, state in journal["destinations"].items():
        row: list[object] = [f"  for {_place(place)}:", f"{state['segments']} segments"]
        if "events" in state:
            row.append(f"{state['events']} events")
        row += [f"{state['size']} bytes", f"oldest {state['age']:.0f} s" if state["segments"] else ""]
        rows.append(row)
    lines += table(rows)
    for place, reason in _last_errors(journal).items():
        lines.append(f"  last error of {_place(place)}: {printable(reason)}")
    return lines


def _loss_lines(state: Mapping[str, Any]) -> list[str]:
    kept = (
        "" if state["losses_kept"] else " (without a journal: of this process alone, the log has the others)"
    )
    if not state["losses"]:
        return [f"lost: nothing{kept}"]
    rows = [[f"  {reason}:", n] for reason, n in state["losses"].items()]
    return [f"lost, by reason{kept}:", *table(rows)]


def _letter_lines(letters: Mapping[str, int]) -> list[str]:
    if not letters:
        return ["dead letters: none"]
    return [f"dead letters of {_place(sink)}: {n}" for sink, n in letters.items()]


def _place(sink: str) -> str:
    return f"sink {sink}" if sink else "the backend"
