"""Where ``export`` and ``person`` write: standard output, or a file that appears only when it is whole."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

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
    if path is None or path == "-":
        for piece in pieces:
            terminal.out.write(piece, str, "")
        return
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            stream.writelines(pieces)
        part.replace(target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(
            error, OSError
        ):  # of the file: what reads the events has words of its own for its errors
            message = f"{path} could not be written: {error.strerror or error}."
            raise CommandError(message) from error
        raise
