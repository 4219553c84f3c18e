"""``littlebro import``: access logs, JSON lines and CSV become events; the same file again stores nothing."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from littlebro.commands.base import Terminal, UsageError, add_alias, chosen, explain, printable
from littlebro.conf import COLLECTION
from littlebro.importing import (
    ACCESS_LOGS,
    FORMATS,
    BadLine,
    Importer,
    Source,
    SourceError,
    Summary,
    open_source,
)
from littlebro.storage.handler import backends

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "Import a file of events or an access log; importing it again stores nothing twice."

_EVERY: Final = 0.2


def arguments(parser: ArgumentParser) -> None:
    """Add the file, its format, and where the events go."""
    parser.add_argument("file", metavar="FILE", help="The file, plain or gzip; - is standard input.")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="What the lines are.")
    add_alias(parser, "Store through this alias (default).", default="default")
    parser.add_argument(
        "--collection",
        metavar="NAME",
        help="Put all events there; else where a line says, or the alias's own.",
    )
    parser.add_argument(
        "--user-from-log",
        action="store_true",
        help="Take an access log's user field as the user id (it is a login name; else it is left out).",
    )
    parser.add_argument(
        "--by-tracker",
        action="store_true",
        help="Let the alias's tracker take the events, by journal and broker; else they are stored from here.",
    )
    parser.add_argument(
        "--show", type=int, default=10, metavar="N", help="Bad lines to show (10); all are counted."
    )


def run(terminal: Terminal, options: Mapping[str, Any]) -> str | None:
    """Import, and tell what became of every line."""
    (alias,) = chosen(options["alias"])
    if options["collection"] is not None and not COLLECTION.fullmatch(options["collection"]):
        raise UsageError(f"--collection {options['collection']!r} must be 1-64 of A-Z a-z 0-9 _ -.")
    if options["user_from_log"] and options["format"] not in ACCESS_LOGS:
        raise UsageError(f"--user-from-log belongs to the access logs, --format {', '.join(ACCESS_LOGS)}.")
    try:
        with open_source(options["file"]) as source:
            progress = _Progress(terminal, source, options["show"])
            importer = Importer(
                options["format"],
                alias,
                options["collection"],
                user_from_log=options["user_from_log"],
                by_tracker=options["by_tracker"],
                on_bad=progress.bad,
                on_progress=progress.step,
            )
            broken = _run(importer, source)
    except SourceError as error:
        raise UsageError(explain(error)) from error
    progress.clear()
    _report(terminal, importer.summary, alias, by_tracker=options["by_tracker"])
    return broken or _rest(importer.summary, by_tracker=options["by_tracker"])


def _run(importer: Importer, source: Source) -> str | None:
    """Import; return why it ended early, if it did. What was stored until then is in the summary."""
    again = "What was stored stays stored: run the same command again, nothing is stored twice."
    try:
        importer.run(source)
    except SourceError as error:
        if not importer.summary.read:
            raise
        return explain(error)
    except KeyboardInterrupt:
        return f"Interrupted. {again}"
    except Exception as error:  # noqa: BLE001 - whatever the backend raised; the reason is shown
        return f"The backend failed: {explain(error).rstrip('.')}. {again}"
    return None


def _rest(summary: Summary, *, by_tracker: bool) -> str | None:
    if not summary.bad and not summary.refused:
        return None
    parts = [f"{summary.bad} bad lines were left out"] if summary.bad else []
    if summary.refused:
        whose = "tracker (the log says why)" if by_tracker else "backend (`littlebro deadletters list`)"
        parts.append(f"{summary.refused} events were refused by the {whose}")
    return f"{', '.join(parts)}."


def _report(terminal: Terminal, summary: Summary, alias: str, *, by_tracker: bool) -> None:
    rate = summary.read / summary.seconds if summary.seconds else 0.0
    stored, present = ("unknown" if n is None else n for n in (summary.stored, summary.present))
    became = (
        f"handed on {summary.accepted - summary.refused}"
        if by_tracker
        else f"stored {stored}, already there {present}"
    )
    terminal.say(
        f"read {summary.read}, {became}, refused {summary.bad + summary.refused}"
        + (f", dropped {summary.dropped}" if summary.dropped else "")
        + f"; {summary.seconds:.1f} s, {rate:.0f} events/s"
    )
    for reason, n in summary.reasons.most_common():
        terminal.say(f"  {n} x {printable(reason)}")
    if not backends[alias].idempotent:
        terminal.note("This backend stores at least once: it cannot tell what it holds already.")


class _Progress:
    """One line on a terminal that counts, and the first bad lines above it."""

    def __init__(self, terminal: Terminal, source: Source, show: int) -> None:
        self._terminal = terminal
        self._source = source
        self._left = show
        self._live = terminal.verbosity > 0 and terminal.err.isatty()
        self._begin = time.monotonic()
        self._next = self._begin + _EVERY

    def bad(self, bad: BadLine) -> None:
        """Show a bad line, for the first ones."""
        if self._left > 0:
            self._left -= 1
            self.clear()
            self._terminal.err.write(printable(str(bad)), str)
            if not self._left:
                self._terminal.err.write("further bad lines are counted, not shown (--show N)", str)

    def step(self, summary: Summary) -> None:
        """Count on, a few times a second."""
        now = time.monotonic()
        if not self._live or now < self._next:
            return
        self._next = now + _EVERY
        size = self._source.size
        share = f"{min(1.0, self._source.position / size):4.0%} " if size else ""
        rate = summary.read / (now - self._begin)
        self._terminal.err.write(f"\r{share}{summary.read} lines, {rate:.0f}/s\033[K", str, "")
        self._terminal.err.flush()

    def clear(self) -> None:
        """Take the counting line away."""
        if self._live:
            self._terminal.err.write("\r\033[K", str, "")
