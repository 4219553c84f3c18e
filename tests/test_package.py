"""What a stranger installs: its version, its parts, its public names, and what importing it costs."""

import ast
import json
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import littlebro
from tests.extras import load, skipping

ROOT = Path(__file__).parent.parent
PACKAGES = ("littlebro", "littlebro_backends", "littlebro_trackers")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LONGEST_FILE = 400  # lines


def sources(*folders: str) -> list[Path]:
    """Return every Python file below the folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def exporting() -> list[str]:
    """Return the names of the modules that say what they export; the demo is a site and not a library."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources(*PACKAGES)
        if "\n__all__" in path.read_text() and "demo" not in path.parts
    ]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_version_has_one_place() -> None:
    """The package, its metadata and its tag say the same version, written down once."""
    assert version("django-littlebro") == littlebro.__version__
    assert PROJECT["dynamic"] == ["version"]


@pytest.mark.parametrize("group", ["littlebro.trackers", "littlebro.backends"])
def test_parts_are_entry_points_that_load(group: str) -> None:
    """Every tracker and backend of ours is found as a stranger's would be, and is a class."""
    installed = {point.name: point for point in entry_points(group=group) if point.dist is not None}
    for name, target in PROJECT["entry-points"][group].items():
        assert installed[name].value == target
    for name in PROJECT["entry-points"][group]:
        with skipping():
            assert isinstance(installed[name].load(), type)


def test_the_core_needs_six_packages() -> None:
    """Nothing is required at run time that only an extra needs."""
    needed = [line for line in requires("django-littlebro") or [] if "extra ==" not in line]
    names = {re.split(r"[^A-Za-z0-9-]", line)[0].lower() for line in needed}
    assert names == {"django", "msgspec", "pluggy", "python-ipware", "stevedore", "uuid-utils"}


def test_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    """The wheel has the three packages with their marks of typing and templates, and no tests."""
    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".sqlite3")]


def test_sdist_holds_what_its_makefile_and_its_documentation_need(tmp_path: Path) -> None:
    """Who unpacks the source can run `make demo` and build the documentation; nothing that tools made is in it."""
    source = next(
        iter(SdistBuilder(str(ROOT)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    )
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.glob("django_littlebro-*")
    for needed in (".ci/find-python", "Makefile", "benchmarks", "noxfile.py", "CONTRIBUTING.rst"):
        assert (root / needed).exists(), needed
    for page in (root / "docs").glob("*.rst"):
        for included in re.findall(r"^\.\. include:: (\S+)", page.read_text(), re.MULTILINE):
            assert (page.parent / included).exists(), f"{page.name}: {included}"
    made = {".git", "_build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv"}
    assert not [path for path in root.rglob("*") if path.name in made]


@pytest.mark.parametrize("name", exporting())
def test_exported_names_are_there(name: str) -> None:
    """What a module says it exports it has, each name once and none of them private."""
    module = load(name)
    exported = module.__all__
    assert len(exported) == len(set(exported))
    assert not [each for each in exported if each.startswith("_") and each != "__version__"]
    for each in exported:
        assert hasattr(module, each)


def test_public_names_are_not_shadowed() -> None:
    """No module directly below has the name of a public attribute, which importing it would replace."""
    below = {module.name for module in pkgutil.iter_modules([str(ROOT / "littlebro")])}
    below.remove("__version__")  # loaded by the package itself, before its name is taken
    assert below.isdisjoint(littlebro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'track_evnt'"):
        littlebro.track_evnt  # noqa: B018 - the access is the test
    assert set(littlebro.__all__) <= set(dir(littlebro))


IMPORT = """
import json, sys, threading

sys.dont_write_bytecode = True
opened = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if (set(mode) & set("wax+")) if isinstance(mode, str) else flags & 3:
            opened.append(str(path))

sys.addaudithook(watch)
import littlebro

heavy = {"celery", "kombu", "pymongo", "duckdb", "django.db.models"}
found = sorted(heavy & set(sys.modules))
print(json.dumps({"heavy": found, "threads": threading.active_count(), "opened": opened}))
"""


def test_import_costs_nothing() -> None:
    """`import littlebro` loads no optional library and no models, starts no thread and opens no file."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"heavy": [], "threads": 1, "opened": []}


@pytest.mark.parametrize("path", sources(*PACKAGES, "tests", "benchmarks", "examples"), ids=relative)
def test_file_fits_its_frame(path: Path) -> None:
    """A file has one purpose, said in a header, and is no longer than can be read in one go."""
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    if text.strip() and "migrations" not in path.parts:
        assert ast.get_docstring(ast.parse(text)), "a module begins by saying what it is for"


def test_gates_have_a_reason_for_each_exception() -> None:
    """An ignored rule says why, wherever it is ignored."""
    bare = [
        f"{relative(path)}:{number}"
        for path in sources(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"#\s*noqa: [A-Z0-9, ]+$", line)
    ]
    assert not bare
