"""The hooks of all plugins, gathered once a process: found, loaded, checked one by one, laid out for the flow.

In: LITTLEBRO_PLUGINS, LITTLEBRO_PLUGINS_AUTOLOAD and the entry points of ``littlebro.plugins``. Out: `Hooks`, which
holds for each hook the implementations in calling order, and what failed and why. A plugin that fails is left out as
a whole and stops nobody. Calls no hook itself: merging, counting and copies are the pipeline's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, Final, NamedTuple

import pluggy
from django.core.exceptions import ImproperlyConfigured

from littlebro import conf
from littlebro.exceptions import PluginError
from littlebro.plugins import hookspecs
from littlebro.plugins.discovery import (
    Package,
    describe,
    entry_points,
    home_of,
    load_path,
    package_of,
    refusing,
    suggest,
    target,
)
from littlebro.plugins.validation import SPECS, adapt, check_plugin

__all__ = ["Failure", "HookImpl", "Hooks", "Loaded", "hooks", "reset"]

# How long a thread waits for another that is loading the plugins, in seconds. Only a plugin that waits, in its
# import, for a thread that tracks can use them up; an error is then better than two threads that wait for ever.
_PATIENCE: Final = 30.0


class HookImpl(NamedTuple):
    """One implementation of a hook. `function` takes all arguments of the hook, by keyword."""

    plugin_name: str
    function: Callable[..., Any]


class Failure(NamedTuple):
    """A plugin that is not used, its package ("" if it has none), the reason, and where it was looked for."""

    plugin: str
    package: str
    reason: str
    version: str = ""
    target: str = ""


class Loaded(NamedTuple):
    """A plugin in use: where it comes from, the hooks it implements, and remarks for whoever reads `check`."""

    name: str
    target: str
    package: str
    version: str
    hooks: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The implementations of each hook in calling order: plugins as listed, then by name. Empty costs nothing."""

    drop_event: tuple[HookImpl, ...] = ()
    enrich_event: tuple[HookImpl, ...] = ()
    redact_event: tuple[HookImpl, ...] = ()
    enrich_stored: tuple[HookImpl, ...] = ()
    events_stored: tuple[HookImpl, ...] = ()
    events_failed: tuple[HookImpl, ...] = ()
    dashboard_panels: tuple[HookImpl, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    failures: tuple[Failure, ...] = ()


class _Candidate(NamedTuple):
    """A plugin to be loaded: the name it goes by, the path it was listed under or its entry point."""

    name: str
    target: str
    point: EntryPoint | None
    package: Package
    problem: str = ""
    hint: str = ""


_hooks: Hooks | None = None
_lock = threading.RLock()
_loading = False


def hooks() -> Hooks:
    """Return the hooks of all plugins, loaded at the first call of the process and after each `reset`.

    Raises `ImproperlyConfigured` if LITTLEBRO_PLUGINS or LITTLEBRO_PLUGINS_AUTOLOAD has a wrong shape, and
    `PluginError` if called by what is being loaded (a plugin must not track events while it is imported).
    """
    global _hooks, _loading  # noqa: PLW0603 - one set of hooks a process
    ready = _hooks
    if ready is not None:
        return ready
    lock = _lock
    if not lock.acquire(timeout=_PATIENCE):
        message = f"The plugins are still being loaded by another thread after {_PATIENCE:.0f} s."
        raise PluginError(message)
    try:
        if _hooks is None:
            if _loading:
                message = "The plugins are being loaded: a plugin must not track events while it is imported."
                raise PluginError(message)
            _loading = True
            try:
                _hooks = _load()
            finally:
                _loading = False
        return _hooks
    finally:
        lock.release()


def reset() -> None:
    """Forget the hooks; the next call of `hooks` finds, loads and checks the plugins again."""
    global _hooks  # noqa: PLW0603 - as above
    with _lock:
        _hooks = None


def _after_fork() -> None:
    """Give the child a lock of its own: the thread that held the parent's does not exist here."""
    global _lock, _loading  # noqa: PLW0603 - as above
    _lock = threading.RLock()
    _loading = False


os.register_at_fork(after_in_child=_after_fork)


def _load() -> Hooks:
    table: dict[str, list[HookImpl]] = {name: [] for name in SPECS}
    loaded: list[Loaded] = []
    failures: list[Failure] = []
    seen: set[int] = set()
    for candidate in _candidates():
        name, path, point, (package, version) = candidate[:4]
        try:
            with refusing(partial(_reason, point=point)):  # looking at a plugin runs code of its own
                plugin = _plugin(candidate, seen)
                if plugin is None:
                    continue
                remarks = check_plugin(plugin)
                found = _implementations(name, plugin)
        except PluginError as error:
            failures.append(Failure(name, package, str(error), version, path))
            continue
        for hook, implementations in found.items():
            table[hook] += implementations
        loaded.append(Loaded(name, path, package, version, tuple(found), remarks))
    return Hooks(
        **{hook.removeprefix(hookspecs.PREFIX): tuple(found) for hook, found in table.items()},
        loaded=tuple(loaded),
        failures=tuple(failures),
    )


def _reason(error: BaseException, point: EntryPoint | None) -> str:
    return str(error) if isinstance(error, PluginError) else describe(error, point)


def _candidates() -> Iterator[_Candidate]:
    """Yield the plugins to load in calling order: those listed, then the installed ones that are switched on."""
    listed = _listed()
    autoload = _autoload()
    points = entry_points("plugins")
    targets = {target(path) for path in listed}
    names: list[str] = []
    for path in dict.fromkeys(listed):
        point = next((point for point in points if target(point.value) == target(path)), None)
        package = package_of(point or home_of(path))
        name = point.name if point is not None and point.name not in names else path
        if point is None and any(other.name == path for other in points):
            name = f"{path} (listed)"  # the bare name is the installed plugin's
        names.append(name)
        yield _Candidate(name, path, point, package, hint=_hint(path, points))
    rest = [point for point in points if target(point.value) not in targets]
    for point in rest:
        if autoload is True or (autoload is not False and point.name in autoload):
            yield _Candidate(point.name, point.value, point, package_of(point), _clash(point, rest, names))
    if not isinstance(autoload, bool):
        installed = [point.name for point in points]
        for name in dict.fromkeys(autoload):
            if name not in installed:
                text = (
                    f"LITTLEBRO_PLUGINS_AUTOLOAD names it, and no installed plugin bears the name."
                    f"{suggest(name, installed)} Installed: {', '.join(installed) or 'none'}"
                )
                yield _Candidate(name, name, None, Package("", ""), text)


def _hint(path: str, points: Sequence[EntryPoint]) -> str:
    if not any(point.name == path for point in points):
        return ""
    return f" ({path!r} is the name of an installed plugin: names go into LITTLEBRO_PLUGINS_AUTOLOAD)"


def _clash(point: EntryPoint, points: Sequence[EntryPoint], taken: Sequence[str]) -> str:
    """Return why a plugin's name is not its own, or "": counts and switches go by the name."""
    if point.name in taken:
        return f"the name {point.name!r} belongs to a plugin listed in LITTLEBRO_PLUGINS"
    same = [other for other in points if other.name == point.name]
    if len(same) == 1:
        return ""
    packages = " and ".join(str(package_of(other)) or other.value for other in same)
    return (
        f"the name {point.name!r} is given by {packages}; uninstall one, or list the path of the one you want in "
        "LITTLEBRO_PLUGINS"
    )


def _listed() -> list[str]:
    value = conf.setting("LITTLEBRO_PLUGINS")
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) and path for path in value):
        message = f"LITTLEBRO_PLUGINS must be a list of dotted paths, not {value!r}."
        raise ImproperlyConfigured(message)
    return list(value)


def _autoload() -> bool | list[str]:
    value = conf.setting("LITTLEBRO_PLUGINS_AUTOLOAD")
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(name, str) for name in value
    ):
        message = f"LITTLEBRO_PLUGINS_AUTOLOAD must be True, False or a list of names, not {value!r}."
        raise ImproperlyConfigured(message)
    return list(value)


def _plugin(candidate: _Candidate, seen: set[int]) -> object | None:
    """Import a plugin, and make an object of a class; None if it is in use already under another name."""
    if candidate.problem:
        raise PluginError(candidate.problem)
    path, point = candidate.target, candidate.point

    def say(error: BaseException) -> str:
        return f"{path} cannot be imported: {describe(error, point or home_of(path))}{candidate.hint}"

    with refusing(say):
        found: object = point.load() if point is not None else load_path(path)
    if id(found) in seen:
        return None
    if found is None or isinstance(found, str | int | float | bytes | list | tuple | dict | set):
        message = f"{path} is of the type {type(found).__name__}; a plugin is a module, an object or a class"
        raise PluginError(message)
    seen.add(id(found))
    if not isinstance(found, type):
        return found
    with refusing(lambda error: f"{path} is a class, and {found.__name__}() fails: {describe(error, point)}"):
        made: object = found()
    return made


def _implementations(name: str, plugin: object) -> dict[str, list[HookImpl]]:
    """Return what a plugin that was checked implements, by hook.

    pluggy finds it, and is given each plugin alone: it would compare one with the others by their own ``__eq__``, and
    its order of calling (last registered first, tryfirst) plays no part.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name=name)
    found: dict[str, list[HookImpl]] = {}
    for hook, spec in SPECS.items():
        caller: pluggy.HookCaller = getattr(manager.hook, hook)
        implementations = [HookImpl(name, adapt(spec, impl.function)) for impl in caller.get_hookimpls()]
        if implementations:
            found[hook] = implementations
    return found
