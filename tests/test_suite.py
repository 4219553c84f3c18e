"""`make test` runs all parts of the suite, and is red where one is or where too little is covered."""

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
markers = ["slow: takes long", "extra: is optional"]

[tool.coverage.run]
source = ["work"]
branch = true
"""
# Whoever is asked first speaks last.
CONFTEST = """
import time

def pytest_configure(config):
    time.sleep({"slow": 2.0, "not slow and extra": 1.0}.get(config.option.markexpr, 0))
"""
WORK = "def slow():\n    return 1\n\n\ndef extra():\n    return 2\n\n\ndef core():\n    return 3\n"
TESTS = """
import pytest
import work

@pytest.mark.slow
def test_slow():
    assert work.slow() == {slow}

@pytest.mark.extra
def test_extra():
    assert work.extra() == {extra}

def test_core():
    assert {core}
"""


def run(
    folder: Path, slow: str = "1", extra: str = "2", core: str = "work.core() == 3", **more: str
) -> tuple[int, list[str]]:
    """Run a suite of three tests without servers; return the exit code and the lines printed."""
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "work.py").write_text(WORK)
    (folder / "test_work.py").write_text(TESTS.format(slow=slow, extra=extra, core=core))
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


def test_all_parts_are_run_and_added_up(tmp_path: Path) -> None:
    """Each test once, under its part's name; together they cover it all."""
    code, lines = run(tmp_path)
    assert code == 0, lines
    for part in ("slow ", "extra", "core "):
        assert any(line.startswith(f"{part} |") and "1 passed, 2 deselected" in line for line in lines), lines
    assert [line[:5] for line in lines[-3:]] == ["slow ", "extra", "core "], lines
    assert all("1 passed" in line for line in lines[-3:]), lines
    assert any(line.split()[:1] == ["TOTAL"] and line.endswith("100%") for line in lines), lines


@pytest.mark.parametrize(
    "wrong", [{"slow": "2"}, {"extra": "1"}, {"core": "False"}], ids=["slow", "extra", "core"]
)
def test_one_red_part_is_red(tmp_path: Path, wrong: dict[str, str]) -> None:
    """Whichever it is; the others are still run to their ends."""
    code, lines = run(tmp_path, **wrong)
    assert code == 1, lines
    assert ["1 failed" in line for line in lines[-3:]] == [
        part in wrong for part in ("slow", "extra", "core")
    ], lines
    assert ["1 passed" in line for line in lines[-3:]] == [
        part not in wrong for part in ("slow", "extra", "core")
    ]


def test_too_little_covered_is_red(tmp_path: Path) -> None:
    """All parts green, and a function that none calls."""
    code, lines = run(tmp_path, core="True")
    assert code == 2, lines
    assert any("total of 83 is less than fail-under=95" in line for line in lines), lines


def test_a_missing_server_is_a_failure_in_ci(tmp_path: Path) -> None:
    """Then nothing is run at all."""
    code, lines = run(tmp_path, CI="true")
    assert code == 1
    assert not any("passed" in line for line in lines)
    assert "CI is set, so a missing server is a failure" in lines
