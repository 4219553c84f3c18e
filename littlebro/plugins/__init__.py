"""How parts are found and called: trackers and backends by name, plugins by hook.

What a plugin needs is here; the core asks `registry.find` for a class and `manager.hooks` for the hooks. This
room knows configuration and what an event is; it knows nothing of journals, databases or requests.
"""

from littlebro.plugins.hookspecs import REMOVE, Panel, hookimpl

__all__ = ["REMOVE", "Panel", "hookimpl"]
