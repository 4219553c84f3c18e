"""Pages that plugins add to the dashboard by `littlebro_dashboard_panels`.

In: the plugins' hooks. Out: panels by slug, and a sentence for each that cannot be shown, for the system checks. A
plugin that fails takes nothing else along.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from littlebro.exceptions import PluginError
from littlebro.plugins import Panel
from littlebro.plugins.discovery import describe, refusing
from littlebro.plugins.manager import HookImpl, Hooks, hooks

__all__ = ["Added", "added"]

_log: Final = logging.getLogger("littlebro.dashboard")
_known: tuple[Hooks, Added] | None = None


class Added(msgspec.Struct, frozen=True):
    """The panels of plugins by slug, and what is wrong with others."""

    panels: Mapping[str, Panel]
    problems: tuple[str, ...]


def added() -> Added:
    """Return what the plugins add; they are asked once for as long as they are loaded."""
    global _known  # noqa: PLW0603 - one answer a process
    found = hooks()
    if _known is None or _known[0] is not found:
        _known = (found, _collect(found))
    return _known[1]


def _collect(found: Hooks) -> Added:
    panels: dict[str, Panel] = {}
    problems: list[str] = []
    owners: dict[str, str] = {}
    for impl in found.dashboard_panels:
        for panel in _asked(impl, problems):
            if panel.slug in owners:
                problems.append(
                    f"The plugin {impl.plugin_name!r} gives a panel {panel.slug!r}, which is {owners[panel.slug]!r}'s."
                )
                continue
            owners[panel.slug] = impl.plugin_name
            panels[panel.slug] = panel
    return Added(panels, tuple(problems))


def _asked(impl: HookImpl, problems: list[str]) -> list[Panel]:
    try:
        with refusing(lambda error: f"The plugin {impl.plugin_name!r} gives no panels: {describe(error)}"):
            given: Any = impl.function()
            panels = [] if given is None else list(given)
    except PluginError as error:
        _log.exception("The panels of the plugin %s failed", impl.plugin_name)
        problems.append(str(error))
        return []
    if all(isinstance(panel, Panel) for panel in panels):
        return panels
    problems.append(f"The plugin {impl.plugin_name!r} gives what is no list of littlebro.plugins.Panel.")
    return []
