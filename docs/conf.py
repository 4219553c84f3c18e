"""Sphinx's configuration."""

import os
import sys
from pathlib import Path

import django

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent / "_ext")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.http import HttpRequest  # noqa: E402 - after the path is set

from littlebro import __version__  # noqa: E402 - the same
from littlebro.plugins import hookspecs  # noqa: E402 - the same

# autodoc evaluates annotations, and the module imports this one for type checkers alone.
vars(hookspecs)["HttpRequest"] = HttpRequest

project = "django-littlebro"
copyright = "The django-littlebro authors"
author = "The django-littlebro authors"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "littlebro_docs"]
exclude_patterns = ["_build", "_ext"]
nitpicky = False
default_role = "code"
smartquotes = False  # they would turn the dashes of an option into one

autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"django-littlebro {version}"
