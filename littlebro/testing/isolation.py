"""Settings for a test run: strict, and with journals of its own.

A journal is a folder that outlives processes. A test run that used the one in the settings would leave its
events for the next server to deliver, and would deliver that server's events into the test database. So each
run has journals, and a lake, in a temporary folder, and what lies in the real ones stays there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import override_settings

__all__ = ["isolated"]

_folders: list[Path] = []


@contextmanager
def isolated(folder: Path | None = None) -> Iterator[None]:
    """Turn strict mode on and move journals and lake into `folder` (default: a temporary one) inside the block.

    LITTLEBRO_STRICT is left as it is where the settings name it, and a journal that a surrounding block has
    moved already stays there unless a `folder` is given.
    """
    with ExitStack() as stack:
        own = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="littlebro-")))
        changes = _changes(own, moved=[] if folder else _folders)
        _folders.append(own)
        stack.callback(_folders.remove, own)
        if changes:
            stack.enter_context(override_settings(**changes))
        yield


def _changes(folder: Path, moved: Sequence[Path]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if getattr(settings, "LITTLEBRO_STRICT", None) is None:
        changes["LITTLEBRO_STRICT"] = True
    lake = getattr(settings, "LITTLEBRO_LAKE", None)
    if isinstance(lake, str | Path) and not any(Path(lake).is_relative_to(own) for own in moved):
        changes["LITTLEBRO_LAKE"] = folder / "lake"  # the real one would be filled from the test database
    table = getattr(settings, "LITTLEBRO", None)
    if isinstance(table, Mapping):
        real = [alias for alias, entry in table.items() if _has_journal(entry, moved)]
        if real:
            changes["LITTLEBRO"] = {**table, **{alias: _moved(table[alias], folder) for alias in real}}
    return changes


def _has_journal(entry: Any, moved: Sequence[Path]) -> bool:
    """Return whether an alias has a journal that is not moved yet; what has a wrong shape is not ours to judge."""
    options = entry.get("TRACKER_OPTIONS") if isinstance(entry, Mapping) else None
    journal = options.get("JOURNAL") if isinstance(options, Mapping) else None
    return isinstance(journal, str | Path) and not any(
        Path(journal).is_relative_to(folder) for folder in moved
    )


def _moved(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {**entry, "TRACKER_OPTIONS": {**entry["TRACKER_OPTIONS"], "JOURNAL": str(folder / "journal")}}
