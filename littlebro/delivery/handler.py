"""The aliases: `trackers["audit"]`, and `tracker`, which is the default one.

Process-wide, as `CACHES` is meant: one dict, one lock. Trackers are built at first use, found by the registry;
`setting_changed` closes and rebuilds them. Fork-safe, since journals and backends are.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from littlebro import conf
from littlebro.delivery.base import BaseTracker
from littlebro.plugins import manager, registry
from littlebro.storage.handler import backends

__all__ = ["TrackerHandler", "tracker", "trackers"]

_log = logging.getLogger(__name__)


class TrackerHandler:
    """A mapping of aliases to trackers, each built when it is first asked for."""

    def __init__(self) -> None:
        self._built: dict[str, BaseTracker] = {}
        self._start_anew()
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        self._lock = threading.RLock()

    def __getitem__(self, alias: str) -> BaseTracker:
        """Return the tracker of `alias`; raises `ImproperlyConfigured` where its settings are wrong."""
        found = self._built.get(alias)
        if found is None:
            with self._lock:
                found = self._built.get(alias)
                if found is None:
                    config = conf.alias_config(alias)
                    tracker_class = registry.find("trackers", config.tracker, alias)
                    found = registry.made("trackers", config.tracker, alias, lambda: tracker_class(config))
                    # A wrong destination must be told now, not to a background thread after a day's events.
                    for destination in (alias, *config.sinks):
                        backends[destination]
                    self._built[alias] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(conf.aliases())

    def __contains__(self, alias: object) -> bool:
        return alias in conf.aliases()

    def all(self) -> list[BaseTracker]:
        """Return the trackers that are built by now."""
        return list(self._built.values())

    def is_built(self, alias: str, tracker: BaseTracker) -> bool:
        """Return whether it is the one of `alias` that is in use by now."""
        return self._built.get(alias) is tracker

    def reset(self) -> None:
        """Close all trackers, backends and plugins; the next use builds them from the settings of then."""
        with self._lock:
            built, self._built = self._built, {}
            default.__dict__.clear()
        # Not under the lock: a tracker may wait for a thread of its own, and that one ask for a tracker.
        for found in built.values():
            try:
                found.close()
            except Exception:  # noqa: BLE001 - one that cannot close keeps no other open, nor the settings from changing
                _log.exception("%r could not be closed", found)
        backends.reset()
        manager.reset()


class _DefaultTracker:
    """Stands for `trackers["default"]`; each method is looked up once, then found on this object itself."""

    def __getattr__(self, name: str) -> Any:
        found = trackers["default"]
        value = getattr(found, name)
        if callable(value) and not name.startswith("_"):
            self.__dict__[name] = value
            # A setting changed meanwhile: the next call asks anew.
            if not trackers.is_built("default", found):
                self.__dict__.pop(name, None)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.pop(name, None)  # or what was looked up before would go on being called
        setattr(trackers["default"], name, value)

    def __delattr__(self, name: str) -> None:
        self.__dict__.pop(name, None)
        with contextlib.suppress(AttributeError):  # it was set on a tracker that has been rebuilt since
            delattr(trackers["default"], name)

    def __dir__(self) -> list[str]:
        return dir(trackers["default"])

    def __repr__(self) -> str:
        return "<littlebro.tracker, which stands for littlebro.trackers['default']>"


default = _DefaultTracker()
trackers = TrackerHandler()

if TYPE_CHECKING:
    tracker = cast(BaseTracker, default)
else:
    tracker = default


def on_setting_changed(*, setting: str, **_: Any) -> None:
    """Close and rebuild everything when a test overrides one of our settings (`django.test.signals`)."""
    if conf.is_ours(setting) or setting in {"DATABASES", "DATABASE_ROUTERS"}:
        trackers.reset()
