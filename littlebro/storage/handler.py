"""From an alias to its backend: one instance for the whole process, made at first use.

Django's handler keeps one object a thread and a task, which would mean a client a task; this one is a dict,
a lock and the pid. A forked child makes its own backends and neither uses nor closes the inherited ones.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

from littlebro import conf
from littlebro.plugins import registry
from littlebro.storage.base import BaseBackend

__all__ = ["BackendHandler", "backends"]

_log = logging.getLogger(__name__)


class BackendHandler:
    """The backends by alias: ``backends["default"]``."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._made: dict[str, BaseBackend] = {}
        # Inherited clients stay referenced: a garbage-collected one would say goodbye on the parent's socket.
        self._inherited: list[dict[str, BaseBackend]] = []
        os.register_at_fork(after_in_child=self._forked)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of LITTLEBRO>"

    def __getitem__(self, alias: str) -> BaseBackend:
        """Return the backend of `alias`; raises `ImproperlyConfigured` if it cannot be made."""
        if self._pid != os.getpid():
            self._forked()
        made = self._made.get(alias)
        if made is not None:
            return made
        with self._lock:
            if alias not in self._made:
                self._made[alias] = _build(alias)
            return self._made[alias]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all aliases, made or not."""
        return iter(conf.aliases())

    def reset(self) -> None:
        """Close all backends; each is made anew, under the settings of then, when it is next asked for."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            made, self._made = self._made, {}
        for backend in made.values():
            try:
                backend.close()
            except Exception:  # noqa: BLE001 - logged
                # One that cannot close must not keep the others open, nor the settings from changing.
                _log.exception("%r could not be closed", backend)

    def _forked(self) -> None:
        """Start empty in a child; also reached by the pid check, for forks that Python did not see."""
        self._lock = threading.RLock()
        self._inherited.append(self._made)
        self._made = {}
        self._pid = os.getpid()


def _build(alias: str) -> BaseBackend:
    config = conf.alias_config(alias)
    found = registry.find("backends", config.backend, alias)
    if not issubclass(found, BaseBackend):
        raise config.error(f"BACKEND {config.backend!r} is not derived from littlebro.storage.BaseBackend.")
    options = conf.check_options(alias, config.options, found.option_defaults, "OPTIONS")
    backend: BaseBackend = registry.made(
        "backends", config.backend, alias, lambda: found(alias, config.location, options)
    )
    return backend


backends = BackendHandler()
