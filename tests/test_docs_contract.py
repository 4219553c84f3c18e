"""The backend that the docs teach keeps the contract that they state: copied from the page, proved in full."""

import re
import textwrap
from pathlib import Path
from typing import Any

from littlebro.storage import BaseBackend
from littlebro.testing.contracts import BackendContract

PAGE = Path(__file__).parent.parent / "docs/write_backend.rst"


def snippet() -> str:
    """Return the Python of the page that defines a backend."""
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:[ ]{3}.*\n|\n)+)", PAGE.read_text(), re.MULTILINE)
    [found] = [block for block in blocks if "class Backend(BaseBackend)" in block]
    return textwrap.dedent(found)


_namespace: dict[str, Any] = {"__name__": "tests.backend_of_the_docs"}
exec(compile(snippet(), str(PAGE), "exec"), _namespace)
Backend: type[BaseBackend] = _namespace["Backend"]


class TestBackendOfTheDocs(BackendContract):
    """A stranger's backend, as short as it can be."""

    def make_backend(self) -> BaseBackend:
        """See Hooks.make_backend()."""
        return Backend("default", str(self.folder / "events.sqlite3"), dict(Backend.option_defaults))

    def break_backend(self, backend: BaseBackend) -> None:
        """See Hooks.break_backend(); the way that the page advises."""
        place = Path(str(backend.location))
        place.rename(place.with_suffix(".away"))
        place.mkdir()

    def heal_backend(self, backend: BaseBackend) -> None:
        """See Hooks.heal_backend()."""
        place = Path(str(backend.location))
        place.rmdir()
        place.with_suffix(".away").rename(place)


def test_it_is_short() -> None:
    """What one must write to keep events somewhere new fits on a screen."""
    assert len(snippet().strip().splitlines()) <= 60
