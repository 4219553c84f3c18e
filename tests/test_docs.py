"""The documentation's Python runs: every snippet of a page, from top to bottom, in one namespace.

`.. skip: next` stands before a snippet that is not meant to run, `.. invisible-code-block: python` holds what
a snippet needs and a reader does not. There, `settings` is pytest-django's fixture: what it sets ends with the page.
"""

from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.rest import DocTestParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
READER = Sybil(parsers=[DocTestParser(), PythonCodeBlockParser(), SkipParser()])


def pages_with_snippets() -> list[Path]:
    """Return the pages that hold Python."""
    return [page for page in PAGES if "code-block:: python" in page.read_text() or ">>> " in page.read_text()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", pages_with_snippets(), ids=lambda page: page.name)
def test_snippets(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Every snippet of the page runs, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    document: Document = READER.parse(page)
    document.namespace["settings"] = settings
    ran = 0
    for example in document.examples():
        example.evaluate()
        ran += 1
    assert ran
