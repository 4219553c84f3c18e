"""From a name or a dotted path to a class: the trackers and backends that are installed, and what they are.

In: what LITTLEBRO[alias] says in TRACKER or BACKEND. Out: the class, which the handlers instantiate, or an
`ImproperlyConfigured` that says what would be right. stevedore loads the one class that was asked for; its cache of
entry points is passed by, being stale for minutes and ignorant of packages.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from stevedore.driver import DriverManager
from stevedore.exception import NoMatches

from littlebro.exceptions import LittlebroError, PluginError
from littlebro.plugins import discovery, manager
from littlebro.plugins.discovery import Kind, describe, entry_points, package_of, refusing, suggest
from littlebro.plugins.validation import check_api

__all__ = ["Part", "find", "installed", "made"]


class _Contract(NamedTuple):
    """What the core asks of a class: the option that names it, the base that has it all, the methods."""

    option: str
    base: str
    methods: tuple[str, ...]


def _names(names: str, *, twins: str = "") -> tuple[str, ...]:
    """Return method names, those in `twins` each with its async form."""
    return (*names.split(), *(prefix + name for name in twins.split() for prefix in ("", "a")))


_CONTRACTS: Final[Mapping[str, _Contract]] = {
    "trackers": _Contract(
        "TRACKER",
        "littlebro.delivery.BaseTracker",
        _names("send deliver close", twins="track_event track_events flush events"),
    ),
    "backends": _Contract(
        "BACKEND",
        "littlebro.storage.BaseBackend",
        _names("save_many scan delete_many count scan_stored setup check ping close"),
    ),
}


class Part(NamedTuple):
    """Something installed: its kind, name, target ("module:Class"), package and version, and why it is unusable.

    `needs` is the requirement ("package[extra]") that would make it usable, where that is all it lacks. `active`
    is False for a plugin that is installed and switched off; `hooks` are those a plugin implements.
    """

    kind: str
    name: str
    target: str
    package: str
    version: str
    error: str | None = None
    active: bool = True
    hooks: tuple[str, ...] = ()
    needs: str | None = None


class _Conflict(Exception):
    """Two packages give the same name."""


class _Finder(DriverManager[Any]):
    """stevedore's loader of one named class, given fresh entry points that keep their package."""

    def __init__(self, kind: Kind, name: str) -> None:
        self._kind = kind
        super().__init__(discovery.group(kind), name)

    def list_entry_points(self) -> list[EntryPoint]:
        """Return the entry points of that one name; refuse, before any is imported, to choose between packages.

        Where there is none, say so before stevedore does: it would log a warning of each dotted path.
        """
        mine = [point for point in entry_points(self._kind) if point.name in self._names]
        if len(mine) > 1:
            packages = " and ".join(f"{package_of(point)} ({point.value})" for point in mine)
            message = f"is given by {packages}; uninstall one, or write the path of the one you want instead."
            raise _Conflict(message)
        if not mine:
            raise NoMatches
        return mine

    def _load_one_plugin(self, ep: EntryPoint, *args: Any, **kwargs: Any) -> Any:
        with refusing(lambda error: f"of {package_of(ep)} cannot be imported: {describe(error, ep)}."):
            return super()._load_one_plugin(ep, *args, **kwargs)

    @property
    def found(self) -> object:
        """Return what the entry point names (stevedore's `driver` prefers an instance)."""
        return self.extensions[0].plugin


def find(kind: Kind, name_or_path: str, alias: str) -> type[Any]:
    """Return the class that LITTLEBRO[alias] names.

    `kind` is ``"trackers"`` or ``"backends"``, `name_or_path` the name of an entry point, or a dotted path
    (``"package.module.Class"`` or ``"package.module:Class"``). Raises `ImproperlyConfigured` starting with
    ``LITTLEBRO['alias']:`` for an unknown name (with the nearest one and what is installed), for a name that two
    packages give, for what cannot be imported (with the extra to install, if a library is missing), and for a class
    that lacks a method of the contract.
    """
    contract = _CONTRACTS[kind]
    where = f"LITTLEBRO[{alias!r}]: {contract.option} {name_or_path!r}"
    try:
        try:
            found = _Finder(kind, name_or_path).found
        except NoMatches:
            found = _by_path(kind, name_or_path)
        _check_class(kind, found)
    except (_Conflict, PluginError) as error:
        message = f"{where} {error}"
        raise ImproperlyConfigured(message) from (error.__cause__ or error)
    assert isinstance(found, type)  # noqa: S101 - _check_class has seen to it; this tells mypy
    return found


def made(kind: Kind, name_or_path: str, alias: str, make: Callable[[], Any]) -> Any:
    """Return what `make` makes of the class that `find` found; whatever else it raises is an `ImproperlyConfigured`."""
    try:
        return make()
    except (ImproperlyConfigured, LittlebroError):
        raise
    except Exception as error:
        option = _CONTRACTS[kind].option
        message = f"LITTLEBRO[{alias!r}]: {option} {name_or_path!r} cannot be made: {describe(error)}."
        raise ImproperlyConfigured(message) from error


def _by_path(kind: Kind, path: str) -> object:
    if "." not in path and ":" not in path:
        points = entry_points(kind)
        near = suggest(path, [point.name for point in points])
        listing = ", ".join(f"{point.name} ({package_of(point)})" for point in points) or "none"
        message = f"is not installed.{near} Installed {kind}: {listing}. A dotted path works as well."
        raise PluginError(message)

    def say(error: BaseException) -> str:
        near = suggest(path, [point.name for point in entry_points(kind)])
        return f"cannot be imported: {describe(error, discovery.home_of(path))}.{near}"

    with refusing(say):
        return discovery.load_path(path)


def _check_class(kind: str, found: object) -> None:
    """Refuse what the core could not use; any class with the methods of the contract will do."""
    contract = _CONTRACTS[kind]
    if not isinstance(found, type):
        message = f"is a {type(found).__name__}, and a class is needed: a subclass of {contract.base}."
        raise PluginError(message)
    missing = [name for name in contract.methods if not callable(getattr(found, name, None))]
    if missing:
        lacks = ", ".join(f"{name}()" for name in missing)
        message = f"has no {lacks}; a subclass of {contract.base} has what is common."
        raise PluginError(message)
    if inspect.isabstract(found):
        lacks = ", ".join(f"{name}()" for name in sorted(vars(found)["__abstractmethods__"]))
        message = f"does not implement {lacks}."
        raise PluginError(message)
    try:
        check_api(found)
    except PluginError as error:
        message = f"cannot be used: {error}."
        raise PluginError(message) from error


def installed(kind: Kind) -> list[Part]:
    """Return each installed part of a kind, with its package and version and, if it is unusable, the reason.

    Imports trackers and backends to find out; plugins only as far as the settings switch them on. Never raises for
    a part that fails, only `ImproperlyConfigured` where the settings of plugins have a wrong shape.
    """
    return _plugins() if kind == "plugins" else [_part(kind, point) for point in entry_points(kind)]


def _part(kind: Kind, point: EntryPoint) -> Part:
    package = package_of(point)
    error: str | None = None
    needs: str | None = None
    try:
        _check_class(kind, _Finder(kind, point.name).found)
    except (_Conflict, PluginError) as problem:
        error, needs = f"{point.name!r} {problem}", discovery.lacking(problem.__cause__, point)
    return Part(kind, point.name, point.value, package.name, package.version, error, needs=needs)


def _plugins() -> list[Part]:
    hooks = manager.hooks()
    parts = [
        Part("plugins", item.name, item.target, item.package, item.version, hooks=item.hooks)
        for item in hooks.loaded
    ]
    parts += [
        Part("plugins", item.plugin, item.target, item.package, item.version, item.reason)
        for item in hooks.failures
    ]
    known = {discovery.target(part.target) for part in parts}
    for point in entry_points("plugins"):
        if discovery.target(point.value) not in known:
            package = package_of(point)
            parts.append(
                Part("plugins", point.name, point.value, package.name, package.version, active=False)
            )
    return parts
