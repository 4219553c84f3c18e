# noqa: INP001 - found by its path, by Sphinx's conf.py
"""Sphinx's side of the generated pages: the directive ``.. generated:: WHAT [ARGUMENT]``.

Parses what `generate` writes at the place of the directive. Knows Sphinx, and nothing of littlebro.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import generate
from sphinx.util.docutils import SphinxDirective

from littlebro import checks, commands
from littlebro.conf import defaults
from littlebro.delivery import losses
from littlebro.plugins import hookspecs

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SOURCES = (checks, commands, defaults, losses, hookspecs, generate)


class Generated(SphinxDirective):
    """Put generated text in place; the page is read anew when a module that it is made from changes."""

    required_arguments: ClassVar[int] = 1
    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[Any]:
        """Parse the text where the directive stands."""
        for module in _SOURCES:
            self.env.note_dependency(inspect.getfile(module))
        return self.parse_text_to_nodes("\n".join(generate.produce(self.arguments)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("generated", Generated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
