"""The built pages hold together: no warning, every link inside leads to a page and to a place on it.

Sphinx itself is silent about a role such as ``:class:`` that finds nothing: it leaves plain text. Here that is a fault.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page links to, the places on it, and the references in its text that found nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.lost: list[str] = []
        self._anchors = 0
        self._lost_here = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if "id" in given:
            self.places.add(given["id"])
        self.links += [given[key] for key in ("href", "src") if key in given]
        if tag == "a":
            self._anchors += 1
        classes = given.get("class", "").split()
        if tag == "code":
            self._lost_here = "xref" in classes and not self._anchors

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._anchors -= 1
        if tag == "code":
            self._lost_here = False

    def handle_data(self, data: str) -> None:
        if self._lost_here:
            self.lost.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Path, Page]:
    """Build the documentation as `make docs` does, warnings being errors, and read its pages."""
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "trees")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
    done = subprocess.run(
        [*command, "-b", "html", str(ROOT / "docs"), str(folder / "html")],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path: Page(path.read_text()) for path in (folder / "html").rglob("*.html")}


def test_every_link_inside_resolves(site: Mapping[Path, Page]) -> None:
    """A relative link leads to a file, and its fragment to a place on that page."""
    wrong: list[str] = []
    seen = 0
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = site[target].places if target in site else None
            if not target.exists() or (
                parts.fragment and there is not None and unquote(parts.fragment) not in there
            ):
                wrong.append(f"{path.name}: {link}")
    assert seen > 500
    assert not wrong


def test_every_reference_found_what_it_names(site: Mapping[Path, Page]) -> None:
    """A role in the text, `:class:` for one, became a link; ``!`` in front says that none is meant."""
    sources = "".join(path.read_text() for path in (ROOT / "docs").glob("*.rst"))
    meant = set(re.findall(r":\w+:`!(?:[\w.]*\.)?(\w+)`", sources))
    lost = {
        f"{path.name}: {text}"
        for path, page in site.items()
        for text in page.lost
        if text.removesuffix("()").rpartition(".")[2] not in meant
    }
    assert not lost


def test_relative_links_of_the_texts_beside_the_code() -> None:
    """README and its kin, read where they lie: their links lead to files of the repository."""
    seen = 0
    for path in ROOT.glob("*.rst"):
        for target in re.findall(r"`[^`<]+<([^`>]+)>`_", path.read_text()):
            if not urlsplit(target).scheme:
                seen += 1
                assert (ROOT / urlsplit(target).path).exists(), f"{path.name}: {target}"
    assert seen > 5
