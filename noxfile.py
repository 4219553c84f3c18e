"""The matrix: the suite on every Python and Django that we support, and with no optional package at all.

``nox`` runs all cells, on SQLite; ``nox -s "suite-3.12-6.0"`` runs one, ``nox -s bare`` the one without extras.
Pythons are found on PATH or among pyenv's versions; a missing one fails its cell. What follows ``--`` goes to
pytest.
"""

import os
import shutil
import subprocess
from pathlib import Path
from random import randrange

import nox

nox.needs_version = ">=2024.10.9"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

CELLS = {
    "3.11": ["5.2"],
    "3.12": ["5.2", "6.0", "6.1"],
    "3.13": ["5.2", "6.0", "6.1"],
}
SERVERS = ("POSTGRESQL", "MARIADB", "MONGODB", "REDIS", "RABBITMQ")
# The tools of the suite, and nothing that one of our extras would bring.
BARE_TOOLS = [
    "hatchling",
    "hypothesis",
    "pytest",
    "pytest-asyncio",
    "pytest-cov",
    "pytest-django",
    "pytest-randomly",
    "sybil",
    "tzdata",
]


def interpreter(version: str) -> str:
    """Return a Python of `version` that really runs: a name on PATH may be a stand-in that refuses to."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *root.glob(f"{version}.*/bin/python")):
        if candidate and _runs(candidate):
            return str(candidate)
    return f"python{version}"


def _runs(candidate: "str | Path") -> bool:
    return subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603 - ours


def run_suite(session: nox.Session) -> None:
    """Run pytest; tests that need a server are skipped, with the reason given here."""
    missing = {f"LITTLEBRO_TEST_{server}_MISSING": "the matrix runs on SQLite" for server in SERVERS}
    seed = f"--randomly-seed={randrange(2**32)}"  # said with the command, so that the order can be had again
    session.run("python", "-m", "pytest", "-q", seed, *session.posargs, env={**missing, "CI": ""})


def add_cell(python: str, django: str) -> None:
    """Declare the session of one Python and one Django."""

    @nox.session(name=f"suite-{python}-{django}", python=interpreter(python))
    def cell(session: nox.Session) -> None:
        session.install("-e", ".[test]", f"Django~={django}.0")
        run_suite(session)


for _python, _djangos in CELLS.items():
    for _django in _djangos:
        add_cell(_python, _django)


@nox.session(python=interpreter("3.12"))
def bare(session: nox.Session) -> None:
    """Run the suite where none of the extras is installed: what needs one says so, the rest works."""
    session.install("-e", ".", *BARE_TOOLS)
    run_suite(session)
