"""May this plugin be registered? Every way of writing a hook that would never run, or run wrongly, has a reason.

In: a plugin (a module or an object). Out: nothing, or a `PluginError` whose text names hook, signature and what is
at fault; and, for an implementation that passed, a function that takes all of the hook's arguments. pluggy checks
some of this itself, but lets a misspelt name, an `async def` and an unmarked function through in silence.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from littlebro.exceptions import PluginError
from littlebro.plugins import hookspecs
from littlebro.plugins.discovery import suggest

__all__ = ["SPECS", "Spec", "adapt", "check_api", "check_plugin"]

_IMPL: Final = f"{hookspecs.PROJECT}_impl"
_SPEC: Final = f"{hookspecs.PROJECT}_spec"
_NO_HOOK: Final = f"{hookspecs.PREFIX}api"

_Parameter = inspect.Parameter


class Spec(NamedTuple):
    """A hook by name, with the arguments it gives."""

    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"


SPECS: Final[Mapping[str, Spec]] = {
    name: Spec(name, tuple(inspect.signature(function).parameters))
    for name, function in vars(hookspecs).items()
    if name.startswith(hookspecs.PREFIX) and inspect.isfunction(function)
}


def check_api(part: object) -> None:
    """Refuse a part written for a newer plugin interface than this littlebro has.

    The version is `littlebro_api` on the part itself or in the module that defines it; none means the first.
    """
    module = part if inspect.ismodule(part) else sys.modules.get(_class_of(part).__module__)
    version = getattr(part, _NO_HOOK, getattr(module, _NO_HOOK, hookspecs.API))
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        message = f"littlebro_api must be a whole number from 1 on, not {version!r}"
        raise PluginError(message)
    if version > hookspecs.API:
        message = (
            f"it states littlebro_api = {version}, and this littlebro knows version {hookspecs.API}: "
            "upgrade django-littlebro, or install an older release of the plugin"
        )
        raise PluginError(message)


def check_plugin(plugin: object) -> tuple[str, ...]:
    """Return remarks on a plugin that may be registered; raise `PluginError` with the reason for one that may not."""
    check_api(plugin)
    remarks: list[str] = []
    found = False
    for name in dir(plugin):
        value = inspect.getattr_static(plugin, name, None)
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        options = _options(inner)
        ours = name.startswith(hookspecs.PREFIX) and name != _NO_HOOK
        # What starts like a hook and cannot be called is something else: an imported module, a setting.
        if options is None and not (ours and _callable(value)):
            continue
        if options is None and hasattr(inner, _SPEC):
            continue
        spec = _spec_of(name, options)
        if spec is None:
            found = True
            continue
        if options is None:
            message = f"{name} is not marked with @littlebro.hookimpl, so that it would never be called"
            if inner is not value and _options(value) is not None:
                message = f"{name} has its @hookimpl above @{type(value).__name__}; write it below"
            raise PluginError(message)
        _check_kind(plugin, name, inner, options)
        _check_arguments(spec, getattr(plugin, name), name)
        remarks += _remarks(spec, options)
        found = True
    if not found:
        message = f"it implements no hook; there are {', '.join(SPECS)}"
        raise PluginError(message)
    return tuple(remarks)


def _class_of(part: object) -> type:
    return part if isinstance(part, type) else type(part)


def _options(function: object) -> Mapping[str, Any] | None:
    """Return what @hookimpl left on a function; asks the object's own dictionary, which runs no foreign code."""
    options = inspect.getattr_static(function, _IMPL, None)
    return options if isinstance(options, dict) else None


def _callable(value: object) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


def _spec_of(name: str, options: Mapping[str, Any] | None) -> Spec | None:
    """Return the hook that `name` implements, None for an unknown one that its author calls optional."""
    hook = str((options or {}).get("specname") or name)
    if hook in SPECS:
        return SPECS[hook]
    if options and options.get("optionalhook"):
        return None
    message = f"there is no hook {hook!r}.{suggest(hook, SPECS)} Known: {', '.join(SPECS)}"
    raise PluginError(message)


def _check_kind(plugin: object, name: str, function: Any, options: Mapping[str, Any]) -> None:
    """Refuse what is no plain function: the core calls implementations one by one and awaits none."""
    if options.get("hookwrapper") or options.get("wrapper"):
        message = f"{name} is a wrapper (hookwrapper or wrapper in @hookimpl); littlebro calls no wrappers"
        raise PluginError(message)
    if not inspect.isroutine(function):
        message = (
            f"{name} is marked with @hookimpl, but is a {type(function).__name__} and no function or method"
        )
        raise PluginError(message)
    called = inspect.unwrap(getattr(plugin, name))
    for candidate in (function, called):
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            message = (
                f"{name}{_signature(candidate)} is async; hooks are called in the flow of an event, use def"
            )
            raise PluginError(message)
        if inspect.isgeneratorfunction(candidate):
            message = f"{name}{_signature(candidate)} yields; a hook returns its result"
            raise PluginError(message)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    if sys.version_info >= (
        3,
        14,
    ):  # pragma: no cover - there, annotations for type checkers alone fail if evaluated
        from annotationlib import Format  # noqa: PLC0415 - not to be had before

        return inspect.signature(function, annotation_format=Format.FORWARDREF).parameters
    return inspect.signature(function).parameters


def _signature(function: Callable[..., Any]) -> str:
    bare = [item.replace(annotation=_Parameter.empty) for item in _parameters(function).values()]
    return str(inspect.Signature(bare))


def _check_arguments(spec: Spec, function: Callable[..., Any], name: str) -> None:
    written = f"{name}{_signature(function)}"
    for parameter in _parameters(function).values():
        if parameter.kind in (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD):
            continue
        # An argument with a default may belong to a later littlebro: arguments are only ever added.
        if parameter.name not in spec.arguments and parameter.default is _Parameter.empty:
            message = (
                f"{written}: argument {parameter.name!r} is not in the hook {spec}."
                f"{suggest(parameter.name, spec.arguments)}"
            )
            raise PluginError(message)


def _remarks(spec: Spec, options: Mapping[str, Any]) -> list[str]:
    return [
        f"{option} on {spec.name} has no effect: plugins run in the order of LITTLEBRO_PLUGINS, then by name"
        for option in ("tryfirst", "trylast")
        if options.get(option)
    ]


def adapt(spec: Spec, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that it takes all arguments of the hook by keyword and is given those it declares.

    Unlike pluggy, gives a declared argument that has a default as well, and all that remain to ``**kwargs``.
    """
    parameters = _parameters(function).values()
    by_place = [
        p.name for p in parameters if p.kind is _Parameter.POSITIONAL_ONLY and p.name in spec.arguments
    ]
    by_name = [
        p.name
        for p in parameters
        if p.kind in (_Parameter.POSITIONAL_OR_KEYWORD, _Parameter.KEYWORD_ONLY) and p.name in spec.arguments
    ]
    if any(p.kind is _Parameter.VAR_KEYWORD for p in parameters):
        by_name = [name for name in spec.arguments if name not in by_place]
    if set(by_name) == set(spec.arguments):
        return function

    @functools.wraps(function)
    def adapted(**given: Any) -> Any:
        return function(*[given[name] for name in by_place], **{name: given[name] for name in by_name})

    return adapted
