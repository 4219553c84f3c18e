"""The command line of the package itself: `python -m littlebro demo`.

Needs no project of the user's: what needs one is `manage.py littlebro`. Each command is imported only when it is
asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from littlebro.__version__ import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the package; return its exit code (2: a wrong command line).

    Args:
        argv: the words after `python -m littlebro`; None takes them from the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m littlebro",
        description="Event tracking for Django.",
        epilog="Inside a project, use: manage.py littlebro",
    )
    parser.add_argument("--version", action="version", version=f"django-littlebro {__version__}")
    parser.add_argument("command", choices=["demo"], help="demo: a small shop, its visitors and their events")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see: python -m littlebro demo --help")
    options = parser.parse_args(argv)

    from littlebro.demo.runner import main as demo  # noqa: PLC0415 - only the command that was asked for

    return demo(options.arguments)


if __name__ == "__main__":
    sys.exit(main())
