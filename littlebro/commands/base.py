"""What the subcommands share: where they print, which aliases they mean, how they fail.

A subcommand is a module with `HELP`, `arguments(parser)` and `run(terminal, options)`, where `run` returns None when
all is done, or a sentence about what was refused or left over (exit code 1). `UsageError` is exit code 2.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper

from littlebro.analysis.result import columns_of, to_left
from littlebro.conf import aliases, nearest
from littlebro.exceptions import LittlebroError

__all__ = [
    "Failure",
    "Subcommand",
    "Terminal",
    "UsageError",
    "add_alias",
    "ask",
    "chosen",
    "database_number",
    "discard",
    "each_alias",
    "explain",
    "left_over",
    "table",
]


class UsageError(CommandError):
    """Say that the command was called wrongly; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class Terminal(NamedTuple):
    """Where a subcommand prints: answers to `out`, all else to `err`. `verbosity` 0 leaves out what is no answer."""

    out: OutputWrapper
    err: OutputWrapper
    verbosity: int = 1

    def say(self, text: str = "") -> None:
        """Print a line of the answer."""
        with self._answering():
            self.out.write(text)

    def note(self, text: str) -> None:
        """Print a line about the answer, unless told to be quiet."""
        if self.verbosity > 0:
            self.err.write(text, str)

    def dump(self, value: object) -> None:
        """Print `value` as indented JSON."""
        self.raw(f"{msgspec.json.format(msgspec.json.encode(value), indent=2).decode()}\n")

    def raw(self, text: str) -> None:
        """Print text for machines as it is, and in UTF-8 whatever the terminal's encoding is."""
        buffer = getattr(self.out, "buffer", None)
        with self._answering():
            if buffer is None:
                self.out.write(text, str, "")
                return
            self.out.flush()
            buffer.write(text.encode())

    def flush(self) -> None:
        """See to it that the answer is out."""
        with self._answering():
            self.out.flush()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say why the answer cannot be written; a reader that has enough is for the command to see to."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(self.out)
            message = f"Standard output could not be written: {error.strerror or error}."
            raise CommandError(message) from error


def discard(stream: OutputWrapper) -> None:
    """Send what else comes to a stream nowhere: Python would complain once more when it closes the stream."""
    with suppress(OSError):  # a stream in memory has no number
        number = stream.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


class Subcommand(Protocol):
    """What a module of this package is, apart from this one."""

    HELP: str

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the subcommand's own arguments."""

    def run(self, terminal: Terminal, options: Mapping[str, Any]) -> str | None:
        """Do it; return a sentence about what was refused or left over, or None."""


class Failure(NamedTuple):
    """An alias for which something did not work, and why."""

    alias: str
    reason: str


def add_alias(parser: ArgumentParser, help_text: str, default: str | None = None) -> None:
    """Add `--alias`; without `default` it means every alias unless given."""
    parser.add_argument("--alias", default=default, metavar="ALIAS", help=help_text)


def chosen(alias: str | None) -> list[str]:
    """Return the one alias that was named, or all; refuse one that does not exist."""
    known = aliases()
    if alias is None:
        return known
    if alias not in known:
        raise UsageError(f"LITTLEBRO has no alias {alias!r}.{nearest(alias, known)}")
    return [alias]


def database_number(text: str) -> int:
    """Return the number that an option gives, one that a query can hold: the `type` of such an option."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ArgumentTypeError(f"{text[:20]} is not a number from 0 to {2**63 - 1}")
    return number


def each_alias(names: Iterable[str], work: Callable[[str], None]) -> list[Failure]:
    """Do `work` for each alias; what one of them fails at is returned and keeps no other from its turn."""
    failures: list[Failure] = []
    for name in names:
        try:
            work(name)
        except Exception as error:  # noqa: BLE001 - each alias fails for itself; the reason is shown
            failures.append(Failure(name, explain(error)))
    return failures


def explain(error: BaseException) -> str:
    """Return an error as a person reads it: our own messages as they are, others with their class.

    A store may quote what a stranger sent: what a terminal would obey is spelt out.
    """
    text = printable(" ".join(str(error).split()))
    if isinstance(error, LittlebroError | ImproperlyConfigured | CommandError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def left_over(terminal: Terminal, failures: Sequence[Failure], what: str) -> str | None:
    """Show the failures; return the closing sentence, or None where there are none."""
    if not failures:
        return None
    for failure in failures:
        terminal.err.write(f"  {failure.alias}: {failure.reason}", str)
    return f"{what}: {', '.join(failure.alias for failure in failures)}; the reason is above."


def ask(question: str) -> bool:
    """Return whether the person at the terminal says yes; refuse to guess where there is none."""
    try:
        return input(f"{question} Type 'yes' to go on: ").strip().lower() == "yes"
    except EOFError as error:
        message = "There is nobody at the terminal to ask; --no-input goes on without asking."
        raise UsageError(message) from error


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows as lines with aligned columns; control characters are shown, not sent to the terminal."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(columns_of, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(to_left(cell, width) for cell, width in zip(row, widths, strict=True)) for row in cells
    )
    return [line.rstrip() for line in lines]


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey (escape sequences, direction overrides) spelt out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
