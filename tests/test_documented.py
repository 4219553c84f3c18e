"""Documentation by force: what a stranger may use has its place in the docs and a test that uses it.

The names are taken from the code itself, so that a new hook, option, check, exception, subcommand, reason or
public name turns these tests red until somebody has written about it and tested it. Pages are read as a reader
gets them, generated parts in place.
"""

import ast
import importlib
import importlib.util
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from littlebro import checks, exceptions
from littlebro.commands import SUBCOMMANDS
from littlebro.conf.defaults import ALIAS_OPTIONS, GLOBAL_SETTINGS, JOURNAL_OPTIONS, Option
from littlebro.delivery.losses import REASONS
from littlebro.plugins import hookspecs
from littlebro.plugins.discovery import load_path
from littlebro.plugins.validation import SPECS

ROOT = Path(__file__).parent.parent
PUBLIC = (
    "littlebro",
    "littlebro.analysis",
    "littlebro.delivery",
    "littlebro.events",
    "littlebro.exceptions",
    "littlebro.plugins",
    "littlebro.storage",
    "littlebro.testing",
    "littlebro.testing.contracts",
)
OPTIONS = {**ALIAS_OPTIONS, **JOURNAL_OPTIONS, **GLOBAL_SETTINGS}


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/_ext/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def page(name: str) -> str:
    """Return the text of one page, generated parts in place, comments and hidden snippets left out."""
    text: str = _generator().expanded((ROOT / "docs" / name).read_text())
    return re.sub(
        r"^\.\. (?:invisible-code-block: .*|skip: .*)\n(?:(?:[ \t]+.*)?\n)*", "", text, flags=re.MULTILINE
    )


@cache
def every_page() -> str:
    """Return all pages in one."""
    return "\n".join(page(path.name) for path in sorted((ROOT / "docs").glob("*.rst")))


def _words_of(node: ast.AST, prose: set[int]) -> Iterator[str]:
    """Yield what a piece of a test uses: names, and the words of its texts."""
    match node:
        case (
            ast.Name(id=name)
            | ast.Attribute(attr=name)
            | ast.FunctionDef(name=name)
            | ast.keyword(arg=str(name))
        ):
            yield name
        case ast.alias(name=name):
            yield name.rpartition(".")[2]
        case ast.Constant(value=str(text)) if id(node) not in prose:
            yield text
            yield from re.findall(r"[\w.-]+", text)


@cache
def used_in_tests() -> frozenset[str]:
    """Return every name and word that the tests use, docstrings and comments apart; this file is left out."""
    words: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path == Path(__file__):
            continue
        tree = ast.parse(path.read_text())
        prose = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            words.update(_words_of(node, prose))
    return frozenset(words)


def mentions(text: str, name: str) -> bool:
    """Return whether a text has a name as a word of its own."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None


def has_entry(text: str, name: str) -> bool:
    """Return whether a text has a definition of a name, as Sphinx's directives write it."""
    return (
        re.search(rf"^ *\.\. (?:auto|py:)\w+:: (?:[\w.]+\.)?{re.escape(name)}(?:\(.*)?$", text, re.MULTILINE)
        is not None
    )


@pytest.mark.parametrize("name", SPECS)
def test_hook(name: str) -> None:
    """A hook says when it is called, what each argument is and what becomes of its result; a test implements it."""
    text = inspect.cleandoc(getattr(hookspecs, name).__doc__ or "")
    assert len(text.splitlines()) > 3, "the docstring is the page"
    for argument in SPECS[name].arguments:
        assert f":param {argument}: " in text
    assert ":returns: " in text
    assert has_entry(page("hooks.rst"), name)
    assert name in used_in_tests()


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: str(option.name))
def test_option(option: Option) -> None:
    """A setting or option has a line of help that is a sentence, its place on the page, and a test that sets it."""
    assert re.fullmatch(r"[A-Z].{15,}\.", option.help)
    assert re.search(rf"^\.\. confval:: {option.name}$", page("settings.rst"), re.MULTILINE)
    assert option.name in used_in_tests()


def check_ids() -> list[str]:
    """Return the ids of the checks, as the code that makes their messages names them."""
    return sorted(set(re.findall(r'"littlebro\.([EW]\d{3})"', inspect.getsource(checks))))


@pytest.mark.parametrize("check", check_ids())
def test_check(check: str) -> None:
    """A check says in a docstring what it finds; the page says so, and what to do; a test has found it."""
    text: dict[str, str] = _generator().check_texts()
    assert len(text.get(check, "")) > 10
    assert page("checks.rst").count(f"\n``littlebro.{check}``\n   ") == 2, "what it finds, and what to do"
    assert f".. _check-{check}:" in page("checks.rst")
    assert f"littlebro.{check}" in used_in_tests()


def test_checks_are_counted_through() -> None:
    """No number of a check is given twice, whatever its letter, and none is documented that does not exist."""
    numbers = [check[1:] for check in check_ids()]
    assert len(set(numbers)) == len(numbers)
    assert sorted(_generator().check_texts()) == check_ids()


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exception(name: str) -> None:
    """An exception says when it is raised, and a test has seen it."""
    found = getattr(exceptions, name)
    assert found.__doc__
    assert found.__doc__ != found.__base__.__doc__
    assert re.search(
        rf"^\.\. autoexception:: littlebro\.exceptions\.{name}$", page("reference.rst"), re.MULTILINE
    )
    assert name in used_in_tests()


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_subcommand(name: str) -> None:
    """A subcommand has a section with each of its options, an example and a word on exit codes; a test has run it."""
    commands = page("commands.rst")
    section = re.search(rf"^{name}\n-+\n(.*?)(?=^[^\n]+\n-{{3,}}\n|\Z)", commands, re.MULTILINE | re.DOTALL)
    assert section is not None
    text = section[1]
    assert SUBCOMMANDS[name].HELP in text
    assert f"$ python manage.py littlebro {name}" in text or f"manage.py littlebro {name}" in text
    assert name in used_in_tests()


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_argument_has_its_help(name: str) -> None:
    """No option of a subcommand is left without a sentence."""
    lines: list[str] = _generator().produce(["command", name])
    for number, line in enumerate(lines):
        if line.startswith(".. option::"):
            assert re.fullmatch(r"   .{10,}[.)]", lines[number + 2]), line


@pytest.mark.parametrize("reason", REASONS)
def test_loss_reason(reason: str) -> None:
    """A reason of losses is a sentence on the page of operations, and a test has counted it."""
    assert re.fullmatch(r"[A-Z].{15,}\.", REASONS[reason])
    assert f"\n``{reason}``\n   " in page("operations.rst")
    assert reason in used_in_tests() or any(word.startswith(f"{reason}:") for word in used_in_tests())


COUNTING = {"losses.count", "self._lost", "JournalRefused"}


def counted_reasons() -> set[str]:
    """Return the reasons under which the code counts losses, without what follows a colon."""
    found: set[str] = set()
    for path in (ROOT / "littlebro").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "losses.count",
                "self._lost",
                "JournalRefused",
            }:
                for argument in node.args:
                    found.update(_reasons_in(argument))
    return found


def _reasons_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            reason = part.value.partition(":")[0]
            if re.fullmatch(r"[a-z]+(-[a-z]+)*", reason):
                yield reason


def test_every_reason_is_listed() -> None:
    """Nothing is counted under a reason that the list does not explain."""
    found = counted_reasons()
    assert len(found) > 10, "the search finds what it looks for"
    assert found <= set(REASONS)


def public_names() -> list[Any]:
    """Return each public name with its module."""
    return [
        pytest.param(module, name, id=f"{module}.{name}")
        for module in PUBLIC
        for name in importlib.import_module(module).__all__
    ]


@pytest.mark.parametrize("module, name", public_names())
def test_public_name(module: str, name: str) -> None:
    """A public name has its entry in the reference, and a test uses it."""
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert found.__doc__
    assert (
        has_entry(page("reference.rst"), name)
        or has_entry(page("hooks.rst"), name)
        or has_entry(page("contracts.rst"), name)
    )
    assert name in used_in_tests()


def parts() -> list[Any]:
    """Return the trackers and backends that the package brings: kind, name and class."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    return [
        pytest.param(kind, name, target, id=f"{kind}-{name}")
        for kind in ("trackers", "backends")
        for name, target in points[f"littlebro.{kind}"].items()
    ]


@pytest.mark.parametrize("kind, name, target", parts())
def test_part(kind: str, name: str, target: str) -> None:
    """A tracker or backend of ours has a section of its page, its options on that, and a test by its name."""
    text = page(f"{kind}.rst")
    assert re.search(rf"^{name}\n-+$", text, re.MULTILINE)
    assert name in used_in_tests()
    try:
        options = load_path(target).option_defaults
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed; the extra {name!r} brings it")
    for option in options:
        assert mentions(text, option)


def test_pages_are_reachable() -> None:
    """Every page stands in the table of contents."""
    entries = set(re.findall(r"^   ([a-z_-]+)$", (ROOT / "docs/index.rst").read_text(), re.MULTILINE))
    assert {path.stem for path in (ROOT / "docs").glob("*.rst")} - {"index"} == entries


def test_every_example_is_in_the_docs() -> None:
    """The tutorials show the files of the examples themselves, so that neither can drift from the other."""
    files = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "examples").rglob("*")
        if file.suffix in {".py", ".toml"}
    }
    shown = set(re.findall(r"^\.\. literalinclude:: \.\./(examples/\S+)$", every_page(), re.MULTILINE))
    assert files
    assert shown == files


def test_the_readme_opens_with_what_works() -> None:
    """The first thing in the README is how to see it run; its links lead to files that exist."""
    text = (ROOT / "README.rst").read_text()
    assert "make demo" in text.split("\n\n")[2]
    assert "make test" in text.split("\n\n")[2]
    for target in re.findall(r"<([\w./]+\.rst)>`_", text):
        assert (ROOT / target).is_file(), target
