"""The documentation's pictures: every page has one, small and told in words; without Chromium none is made."""

import os
import re
import subprocess
import sys

import pytest

from littlebro.dashboard.pages import PAGES
from tests.dashboard.screenshots import FOLDER, MOST_BYTES, SHOTS

TEXT = (FOLDER.parent / "dashboard.rst").read_text()


def test_every_page_has_a_picture() -> None:
    assert {shot.name for shot in SHOTS} >= set(PAGES)
    assert {(shot.width, shot.scheme) for shot in SHOTS} == {(1280, "light"), (1280, "dark"), (390, "light")}


def test_the_documentation_shows_what_the_command_makes() -> None:
    """Each with a text for those who do not see it."""
    shown = re.findall(
        r"^\.\. image:: screenshots/([a-z-]+)\.webp\n(?:   :.+\n)*?   :alt: \S+", TEXT, re.MULTILINE
    )
    names = [shot.name for shot in SHOTS]
    assert sorted(shown) == sorted(names)
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{name}.webp" for name in names)
    for path in FOLDER.iterdir():
        start = path.read_bytes()[:12]
        assert (start[:4], start[8:]) == (b"RIFF", b"WEBP")
        assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("program", ["", "/nowhere/chromium"])
def test_without_chromium_a_sentence_says_what_to_install(program: str) -> None:
    """None on the path, or a wrong one named."""
    pytest.importorskip("playwright", reason="playwright is not installed; the extra 'test' brings it")
    environment = {**os.environ, "PATH": "/nowhere", "CI": "", "LITTLEBRO_TEST_CHROMIUM": program}
    done = subprocess.run(
        [sys.executable, "-m", "tests.dashboard.screenshots"],
        cwd=FOLDER.parent.parent, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"screenshots: Chromium .*install.*\n", done.stderr), done.stderr
