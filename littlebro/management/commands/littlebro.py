"""``manage.py littlebro SUBCOMMAND``: one command for all that is done to littlebro from outside.

Parses, calls the subcommand, and turns what went wrong into a sentence and an exit code: 0 done, 1 something refused
or left over, 2 usage. What the subcommands do is in `littlebro.commands`.
"""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
    OutputWrapper,
)
from django.db import DatabaseError

from littlebro.commands import SUBCOMMANDS, Terminal, UsageError
from littlebro.commands.base import discard, explain
from littlebro.delivery.transactions import committing
from littlebro.exceptions import LittlebroError

__all__ = ["Command"]


class Command(BaseCommand):
    """See the module."""

    help = "Look after littlebro: status, plugins, dead letters, import, export and more."
    # `status` and `plugins` are asked when something is wrong; a failing check must not keep them from saying what.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each subcommand a parser; Django's own options are understood on either side of its name."""
        found = parser.add_subparsers(
            dest="subcommand", required=True, metavar="SUBCOMMAND", title="subcommands"
        )
        for name, module in SUBCOMMANDS.items():
            child = found.add_parser(
                name, help=module.HELP, description=module.HELP, formatter_class=DjangoHelpFormatter
            )
            module.arguments(child)
            _add_base_options(child)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one subcommand."""
        if sys.stdout is None and not options.get("stdout"):
            self.stdout = OutputWrapper(_Closed())
        if hasattr(self.stdout, "reconfigure"):  # a name that the terminal's encoding lacks is shown escaped
            self.stdout.reconfigure(errors="backslashreplace")
        terminal = Terminal(self.stdout, self.stderr, options["verbosity"])
        try:
            with committing():
                rest = SUBCOMMANDS[options["subcommand"]].run(terminal, options)
            terminal.flush()
        except ImproperlyConfigured as error:
            raise UsageError(explain(error)) from error
        except LittlebroError as error:
            raise CommandError(explain(error)) from error
        except DatabaseError as error:
            message = (
                f"The database refused: {explain(error).rstrip('.')}. Is it up, and was `manage.py migrate` run? "
                "--traceback shows where."
            )
            raise CommandError(message) from error
        except BrokenPipeError:
            # Whoever reads (`| head`) has enough.
            discard(self.stdout)
            raise SystemExit(1) from None
        if rest is not None:
            raise CommandError(rest)


class _Closed(io.StringIO):
    """Stands where the shell closed standard output (``>&-``), and takes nothing."""

    def write(self, _text: str) -> int:
        """Refuse."""
        raise OSError("it is closed")


def _add_base_options(parser: argparse.ArgumentParser) -> None:
    """Take Django's options after the subcommand too, unseen in its help; those before it win if not repeated."""
    quiet: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("-v", "--verbosity", type=int, choices=[0, 1, 2, 3], **quiet)
    parser.add_argument("--settings", **quiet)
    parser.add_argument("--pythonpath", **quiet)
    for flag in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(flag, action="store_true", **quiet)
