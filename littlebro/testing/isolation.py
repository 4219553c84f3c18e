"""Settings for a test run: strict, and with journals of its own.

A journal is a folder that outlives processes. A test run that used the one in the settings would leave its
events for the next server to deliver, and would deliver that server's events into the test database. So each
run has journals in a temporary folder, and what lies in the real ones stays there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import override_settings

__all__ = ["isolated"]

_depth: list[str] = []


@contextmanager
def isolated(folder: Path | None = None) -> Iterator[None]:
    """Turn strict mode on and move journals into `folder` (default: a temporary one) inside the block.

    LITTLEBRO_STRICT is left as it is where the settings name it. Inside another such block with nothing to
    change, does nothing.
    """
    if _depth and folder is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="littlebro-") as temporary:
        changes = _changes(Path(temporary) if folder is None else folder)
        _depth.append(temporary)
        try:
            if not changes:
                yield
                return
            with override_settings(**changes):
                yield
        finally:
            _depth.pop()


def _changes(folder: Path) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if getattr(settings, "LITTLEBRO_STRICT", None) is None:
        changes["LITTLEBRO_STRICT"] = True
    table = getattr(settings, "LITTLEBRO", None)
    if isinstance(table, Mapping) and any(_has_journal(entry) for entry in table.values()):
        changes["LITTLEBRO"] = {
            alias: _moved(entry, folder) if _has_journal(entry) else entry for alias, entry in table.items()
        }
    return changes


def _has_journal(entry: Any) -> bool:
    options = entry.get("TRACKER_OPTIONS") if isinstance(entry, Mapping) else None
    return isinstance(options, Mapping) and options.get("JOURNAL") is not None


def _moved(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {**entry, "TRACKER_OPTIONS": {**entry["TRACKER_OPTIONS"], "JOURNAL": str(folder / "journal")}}
