"""After ``manage.py migrate``: what the stores need that no migration reaches, indexes for instance.

Connected by the app's configuration. A store that is away is told, and never fails the command: the site's own tables
are what was asked for. Knows nothing of any store but its `setup`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from littlebro import conf
from littlebro.storage.base import BaseBackend
from littlebro.storage.handler import backends

__all__ = ["alone", "set_up_stores"]

_busy: Final[list[bool]] = []


def set_up_stores(*, verbosity: int = 1, plan: Any = None, stdout: Any = None, **_: Any) -> None:
    """Run `setup` of every alias's backend whose store is not made by migrations (receiver of ``post_migrate``).

    Not after ``flush``, which sends the signal too; not where migrations are undone; not in a test run, whose
    settings name the store that is not the test's; and not from inside a `setup` that migrates.
    """
    if plan is None or any(backwards for _migration, backwards in plan) or _is_test_run() or _busy:
        return
    with alone():
        for alias in _aliases():
            _set_up(alias, stdout if verbosity >= 1 else None)


@contextmanager
def alone() -> Iterator[None]:
    """Let a `setup` that migrates set up no other alias's store meanwhile."""
    _busy.append(True)
    try:
        yield
    finally:
        _busy.pop()


def _aliases() -> list[str]:
    try:
        return conf.aliases()
    except ImproperlyConfigured:  # told by the system checks
        return []


def _set_up(alias: str, output: Any) -> None:
    try:
        backend = backends[alias]
    except ImproperlyConfigured:
        return
    if backend.set_up_by_migrate or type(backend).setup is BaseBackend.setup:
        return
    try:
        backend.ping()  # bounded, where a setup may have to be patient
        backend.setup()
    except Exception as error:  # noqa: BLE001 - whatever a plugin's store raises; migrate has done what it was asked to
        sys.stderr.write(
            f"LITTLEBRO[{alias!r}]: the store could not be set up: {_short(error)}\n"
            f"  Once it answers: manage.py littlebro setup --alias {alias}\n"
        )
    else:
        if output is not None:
            output.write(f"  Set up the store of LITTLEBRO[{alias!r}].")


def _is_test_run() -> bool:
    # Django's setup_test_environment(), which every runner calls, puts it there.
    return hasattr(sys.modules.get("django.core.mail"), "outbox")


def _short(error: Exception) -> str:
    """Return an error in one line; drivers add pages."""
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text if len(text) <= 200 else text[:199] + '…'}"
