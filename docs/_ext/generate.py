# noqa: INP001 - found by its path, by Sphinx's conf.py and by the tests
"""The generated parts of the documentation, as reStructuredText: settings, hooks, checks, losses, promises,
subcommands.

In: littlebro's own tables and docstrings. Out: lines. Needs a configured Django and no Sphinx, so that the
tests can read what a reader will see.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from littlebro import checks
from littlebro.commands import SUBCOMMANDS
from littlebro.conf import defaults
from littlebro.delivery import losses
from littlebro.plugins import hookspecs
from littlebro.plugins.validation import SPECS

__all__ = ["PRODUCERS", "expanded", "produce"]

_DIRECTIVE: Final = re.compile(r"^\.\. generated:: (?P<words>.+)$", re.MULTILINE)
_CHECK: Final = re.compile(r"\b([EW]\d{3}): (.*?)(?=\s*\b[EW]\d{3}: |\Z)", re.DOTALL)
_DANGLING: Final = re.compile(r"(?<=\w)_(?=\W|$)")
_SHOWN: Final = 4  # items of a default that are shown with it; more stand below
_SIZES: Final = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def options(table: str) -> Iterator[str]:
    """Yield the options of a table of `littlebro.conf.defaults`, each with its default and its line of help."""
    for option in getattr(defaults, table).values():
        yield from (f".. confval:: {option.name}", f"   :default: {_default(option)}", "")
        yield from (f"   {_prose(option.help)}", "")
        if isinstance(option.default, tuple) and len(option.default) > _SHOWN:
            yield from (f"   {', '.join(f'``{item}``' for item in option.default)}", "")


def table(name: str) -> Iterator[str]:
    """Yield the options of a table of `littlebro.conf.defaults` in short, each a link to the page of settings."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 24 24 52", "")
    yield from ("   * - Option", "     - Default", "     - Meaning")
    for option in getattr(defaults, name).values():
        yield from (
            f"   * - :confval:`{option.name}`",
            f"     - {_default(option)}",
            f"     - {_prose(option.help)}",
        )


def _prose(text: str) -> str:
    """Return plain text for a page: a name that ends in an underscore would be read as a link."""
    return _DANGLING.sub(r"\_", text)


def _default(option: defaults.Option) -> str:
    value = option.default
    if isinstance(value, tuple) and len(value) > _SHOWN:
        return f"the {len(value)} keys below"
    for size, unit in _SIZES:
        if type(value) is int and "BYTES" in option.name and value % size == 0:
            return f"``{value}`` ({value // size} {unit})"
    return f"``{value!r}``"


def hooks() -> Iterator[str]:
    """Yield the hooks with signature and docstring, in the order in which an event meets them."""
    for name in SPECS:
        function: Callable[..., Any] = getattr(hookspecs, name)
        signature = str(inspect.signature(function)).replace("'", "")
        yield from (f".. py:function:: {name}{signature}", "")
        for line in inspect.cleandoc(function.__doc__ or "").splitlines():
            yield f"   {line}".rstrip()
        yield ""


def check_texts() -> Mapping[str, str]:
    """Return what the docstrings of `littlebro.checks` say of each check, by the id without its prefix."""
    found: dict[str, str] = {}
    for name in checks.__all__:
        found.update(_CHECK.findall(inspect.cleandoc(getattr(checks, name).__doc__ or "")))
    return {
        check: " ".join(text.split()) for check, text in sorted(found.items(), key=lambda pair: pair[0][1:])
    }


def check_list() -> Iterator[str]:
    """Yield the system checks by number."""
    for check, text in check_texts().items():
        kind = "Error" if check.startswith("E") else "Warning"
        yield from (f"``littlebro.{check}``", f"   {kind}: {_prose(text)}", "")


def loss_list() -> Iterator[str]:
    """Yield the reasons under which losses are counted."""
    for reason, text in losses.REASONS.items():
        yield from (f"``{reason}``", f"   {_prose(text)}", "")


def promises(contract: str) -> Iterator[str]:
    """Yield what each test of a contract for strangers states."""
    from littlebro.testing import contracts  # noqa: PLC0415 - needs pytest

    suite = getattr(contracts, contract)
    rooms = reversed(suite.__mro__)
    for name in dict.fromkeys(name for room in rooms for name in vars(room) if name.startswith("test_")):
        yield from (f"``{name}``", f"   {' '.join(getattr(suite, name).__doc__.split())}", "")


def command(name: str) -> Iterator[str]:
    """Yield what a subcommand is for, and each of its arguments."""
    module = SUBCOMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"manage.py littlebro {name}", add_help=False)
    module.arguments(parser)
    yield from (_prose(module.HELP), "", f".. program:: littlebro {name}", "")
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        yield from (f".. option:: {_spelling(action)}", "", f"   {_prose(action.help or '')}".rstrip(), "")


def _spelling(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    if not action.option_strings:
        return metavar or action.dest
    choices = "|".join(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else f" {metavar or choices or action.dest.upper()}"
    return ", ".join(f"{flag}{value}" for flag in action.option_strings)


PRODUCERS: Final[Mapping[str, Callable[..., Iterator[str]]]] = {
    "options": options,
    "table": table,
    "hooks": hooks,
    "checks": check_list,
    "losses": loss_list,
    "promises": promises,
    "command": command,
}


def produce(words: Sequence[str]) -> list[str]:
    """Return the lines that ``.. generated:: WORDS`` stands for."""
    return list(PRODUCERS[words[0]](*words[1:]))


def expanded(page: str) -> str:
    """Return the text of a page with its generated parts in place."""
    return _DIRECTIVE.sub(lambda found: "\n".join(produce(found["words"].split())), page)
