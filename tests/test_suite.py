"""`make test` runs both halves of the suite, and is red where either is or where too little is covered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import SERVICES

SUITE = Path(__file__).parent / "suite.py"
PROJECT = """
[tool.pytest.ini_options]
addopts = ["-p", "no:littlebro", "-p", "no:django", "-p", "no:randomly", "-p", "no:asyncio"]
markers = ["slow: takes long"]

[tool.coverage.run]
source = ["work"]
branch = true
"""
# The half that is started first is kept back, longer than the other one takes to end: what puts its line first in spite
# of that is the order of the halves alone.
CONFTEST = """
import time

def pytest_configure(config):
    time.sleep({"slow": 2.0}.get(config.option.markexpr, 0))
"""
WORK = "def slow():\n    return 1\n\n\ndef quick():\n    return 2\n"
TESTS = """
import pytest
import work

@pytest.mark.slow
def test_slow():
    assert work.slow() == {slow}

def test_quick():
    assert {quick}
"""


def run(
    folder: Path, slow: str = "1", quick: str = "work.quick() == 2", **more: str
) -> tuple[int, list[str]]:
    """Run a suite of two tests without servers; return the exit code and the lines printed."""
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "work.py").write_text(WORK)
    (folder / "test_work.py").write_text(TESTS.format(slow=slow, quick=quick))
    missing = {kind.reason_variable(): "not for this test" for kind in SERVICES.values()}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, SUITE],
        env={**kept, "PYTHONPATH": str(folder), **missing, **more},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_both_halves_are_run_and_added_up(tmp_path: Path) -> None:
    """Each test once, under its half's name; together they cover it all."""
    code, lines = run(tmp_path)
    assert code == 0, lines
    for half in ("slow ", "quick"):
        assert any(line.startswith(f"{half} |") and "1 passed, 1 deselected" in line for line in lines), lines
    assert [line[:5] for line in lines[-2:]] == ["slow ", "quick"], lines
    assert all("1 passed" in line for line in lines[-2:]), lines
    assert any(line.split()[:1] == ["TOTAL"] and line.endswith("100%") for line in lines), lines


@pytest.mark.parametrize("wrong", [{"slow": "2"}, {"quick": "False"}], ids=["slow", "quick"])
def test_one_red_half_is_red(tmp_path: Path, wrong: dict[str, str]) -> None:
    """Whichever it is; the other half is still run to its end."""
    code, lines = run(tmp_path, **wrong)
    assert code == 1, lines
    assert {"1 failed" in line for line in lines[-2:]} == {True, False}, lines
    assert {"1 passed" in line for line in lines[-2:]} == {True, False}, lines


def test_too_little_covered_is_red(tmp_path: Path) -> None:
    """Both halves green, and a function that neither calls."""
    code, lines = run(tmp_path, quick="True")
    assert code == 2, lines
    assert any("total of 75 is less than fail-under=95" in line for line in lines), lines


def test_a_missing_server_is_a_failure_in_ci(tmp_path: Path) -> None:
    """Then nothing is run at all."""
    code, lines = run(tmp_path, CI="true")
    assert code == 1
    assert not any("passed" in line for line in lines)
    assert "CI is set, so a missing server is a failure" in lines
