"""Where ``export`` and ``person`` write: standard output, or a file that appears only when it is whole."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from django.core.management.base import CommandError

from littlebro.commands.base import Terminal, UsageError

__all__ = ["add_output", "write"]


def add_output(parser: ArgumentParser) -> None:
    """Add --output."""
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="Write to this file, readable by you alone, instead of standard output.",
    )


def write(terminal: Terminal, path: str | None, pieces: Iterable[str]) -> None:
    """Write `pieces` of text as UTF-8, as they come."""
    if path in {None, "-", "/dev/stdout"}:
        for piece in pieces:
            terminal.raw(piece)
    elif not path:
        raise UsageError("--output wants the name of a file.")
    else:
        with _opened(path) as stream:
            stream.writelines(pieces)


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """Open a file that appears when it is whole, also behind a link; a FIFO or a device is written straight into."""
    try:
        target = Path(path)
        straight = target.exists() and not target.is_file()
        target = target if straight else target.resolve()
        # A name of its own: what a killed one left, whose pid may have been the same, is in nobody's way.
        part = target if straight else target.with_name(f".{target.name}.{token_hex(4)}.part")
        descriptor = os.open(part, os.O_WRONLY | (0 if straight else os.O_CREAT | os.O_EXCL), 0o600)
    except (OSError, RuntimeError, ValueError) as error:  # the last two: links in a circle, a name with NUL
        raise UsageError(f"{path} cannot be written: {_reason(error)}.") from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            yield stream
        if not straight:
            part.replace(target)
    except BaseException as error:
        if not straight:
            part.unlink(missing_ok=True)
        # Of the file: what reads the events has words of its own for its errors.
        if isinstance(error, OSError):
            raise CommandError(f"{path} could not be written: {_reason(error)}.") from error
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
