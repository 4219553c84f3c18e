"""What may not be installed: the libraries of our extras. A test that needs one is skipped with the reason."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

import pytest

from tests.services import demanded

__all__ = ["LIBRARIES", "installed", "load", "skipping"]

LIBRARIES = ("amqp", "billiard", "bson", "celery", "duckdb", "gunicorn", "kombu", "pymongo")


def installed(library: str) -> bool:
    """Return whether a library is here."""
    return find_spec(library) is not None


@contextmanager
def skipping() -> Iterator[None]:
    """Skip the test where the library of an extra cannot be imported; in CI that is a failure."""
    try:
        yield
    except ModuleNotFoundError as error:
        if demanded() or (error.name or "").split(".")[0] not in LIBRARIES:
            raise
        pytest.skip(f"{error.name}, of an extra, is not installed")


def load(name: str) -> ModuleType:
    """Import a module of ours."""
    with skipping():
        return importlib.import_module(name)
