"""Event tracking that feels like Django's cache.

Public names only; each is loaded when first asked for, so that `import littlebro` in a settings file costs
nothing and needs no configured Django.
"""

from typing import TYPE_CHECKING, Any

from littlebro.__version__ import __version__

if TYPE_CHECKING:
    from littlebro.decorators import track_event
    from littlebro.delivery.handler import tracker, trackers
    from littlebro.events import Condition, Event, EventQuery, bind
    from littlebro.plugins import hookimpl

__all__ = [
    "Condition",
    "Event",
    "EventQuery",
    "__version__",
    "bind",
    "hookimpl",
    "track_event",
    "tracker",
    "trackers",
]

_HOMES = {
    "Condition": "littlebro.events",
    "Event": "littlebro.events",
    "EventQuery": "littlebro.events",
    "bind": "littlebro.events",
    "hookimpl": "littlebro.plugins",
    "track_event": "littlebro.decorators",
    "tracker": "littlebro.delivery.handler",
    "trackers": "littlebro.delivery.handler",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its room at first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'littlebro' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only on first use

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, those not loaded yet included."""
    return sorted({*globals(), *__all__})
