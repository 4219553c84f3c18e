"""The one reader of Django's settings: options in, checked values out.

Knows names and defaults of options (`littlebro.conf.defaults`) and their shapes (`littlebro.conf.shapes`); knows
nothing of what they are used for. Every complaint is an `ImproperlyConfigured` that starts with the setting at fault.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from littlebro.conf.defaults import ALIAS_OPTIONS, GLOBAL_SETTINGS
from littlebro.conf.shapes import SHAPES

__all__ = [
    "AliasConfig",
    "alias_config",
    "aliases",
    "beat_schedule",
    "check_options",
    "is_ours",
    "nearest",
    "setting",
    "strict",
]

_values: dict[str, Any] = {}
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_DAYS: Final = 365_000  # so that "now" less that many is still a date
COLLECTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AliasConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `LITTLEBRO[alias]` says, defaults filled in. See `littlebro.conf.defaults.ALIAS_OPTIONS`."""

    alias: str
    tracker: str
    backend: str
    location: str | None
    options: Mapping[str, Any]
    tracker_options: Mapping[str, Any]
    sinks: tuple[str, ...]
    collection: str
    on_commit: bool | str
    retention_days: float | None

    def error(self, message: str) -> ImproperlyConfigured:
        """Return, to be raised, a configuration error that names this alias."""
        return ImproperlyConfigured(f"LITTLEBRO[{self.alias!r}]: {message}")


def is_ours(name: str) -> bool:
    """Return whether the setting `name` is one that littlebro reads."""
    return name in GLOBAL_SETTINGS


def setting(name: str) -> Any:
    """Return the global setting `name`, or its default where the project does not set it; a list or a set as a tuple.

    Raises `ImproperlyConfigured` for a value of the wrong shape.
    """
    values = _values  # of now: what is read while a setting changes is not kept for afterwards
    try:
        return values[name]
    except KeyError:
        # Django looks a missing setting up anew each time, at 2 µs; a request asks for five of them.
        value = getattr(settings, name, GLOBAL_SETTINGS[name].default)
        if name in SHAPES:
            fits, words = SHAPES[name]
            if not fits(value):
                raise ImproperlyConfigured(f"{name} must be {words}, not {value!r:.80}.") from None
            value = tuple(value) if isinstance(value, list | set | frozenset) else value
        values[name] = value
        return value


def _forget_value(*, setting: str, **_: Any) -> None:
    global _values  # noqa: PLW0603 - see setting()
    _values = {name: value for name, value in _values.copy().items() if name != setting}


setting_changed.connect(_forget_value, dispatch_uid="littlebro.conf")


def strict() -> bool:
    """Return whether bad input raises: `LITTLEBRO_STRICT`, by default `DEBUG`."""
    value = setting("LITTLEBRO_STRICT")
    return bool(settings.DEBUG if value is None else value)


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return the entries for Celery's ``beat_schedule`` that littlebro wants: upkeep, sync and purge.

    Times are in seconds. A chore that was not begun before the next is due expires, so that a late beat, or two of
    them, does not pile them up. Small steps: a daily interval would never come where beat restarts each day.
    """
    return {
        task: {"task": task, "schedule": every, "options": {"queue": "littlebro", "expires": every - 1}}
        for task, every in (("littlebro.upkeep", 60.0), ("littlebro.sync", 60.0), ("littlebro.purge", 3600.0))
    }


def aliases() -> list[str]:
    """Return the names of all aliases, in the order of the setting."""
    table = setting("LITTLEBRO")
    if not isinstance(table, Mapping):
        message = f"LITTLEBRO must be a dictionary of aliases, as CACHES is, not {type(table).__name__}."
        raise ImproperlyConfigured(message)
    for name in table:
        if not isinstance(name, str):
            message = f"LITTLEBRO[{name!r}]: the name of an alias must be text, not {type(name).__name__}."
            raise ImproperlyConfigured(message)
    return [*table, *(name for name in ("default",) if name not in table)]


def nearest(name: object, known: Mapping[str, Any] | list[str]) -> str:
    """Return what to say after an unknown name: the nearest of the `known` ones, and all of them."""
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1, cutoff=0.5)
    if not close:
        close = [item for item in known if item.lower() == str(name).lower()]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}."


def check_options(alias: str, given: object, known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the defaults in `known` overlaid by `given`; refuse an option that is not known.

    `where` names the option group in the message, for instance ``OPTIONS``.
    """
    if not isinstance(given, Mapping):
        message = f"LITTLEBRO[{alias!r}]: {where} must be a dictionary, not {type(given).__name__}."
        raise ImproperlyConfigured(message)
    for name in given:
        if name not in known:
            message = f"LITTLEBRO[{alias!r}]: {where} has no option {name!r}.{nearest(name, known)}"
            raise ImproperlyConfigured(message)
    return {**known, **given}


def alias_config(alias: str) -> AliasConfig:
    """Return the checked configuration of `alias`.

    Raises `ImproperlyConfigured` for an unknown alias, an unknown option (naming the nearest one) or a value
    of the wrong shape.
    """
    known_aliases = aliases()
    if alias not in known_aliases:
        message = f"LITTLEBRO[{alias!r}]: there is no such alias.{nearest(alias, known_aliases)}"
        raise ImproperlyConfigured(message)
    if not _ALIAS.fullmatch(alias):
        message = (
            f"LITTLEBRO[{alias!r}]: an alias is 1-64 of A-Z a-z 0-9 _ - (it names a folder of the journal)."
        )
        raise ImproperlyConfigured(message)
    given = setting("LITTLEBRO").get(alias, {})
    if not isinstance(given, Mapping):
        message = f"LITTLEBRO[{alias!r}]: must be a dictionary of options, not {type(given).__name__}."
        raise ImproperlyConfigured(message)
    for name in given:
        if name not in ALIAS_OPTIONS:
            message = f"LITTLEBRO[{alias!r}]: unknown option {name!r}.{nearest(name, ALIAS_OPTIONS)}"
            raise ImproperlyConfigured(message)
    values = {name: given.get(name, option.default) for name, option in ALIAS_OPTIONS.items()}
    problem = _wrong_shape(values, alias, known_aliases)
    if problem:
        message = f"LITTLEBRO[{alias!r}]: {problem}"
        raise ImproperlyConfigured(message)
    values["SINKS"] = tuple(values["SINKS"])
    if values["LOCATION"] is not None:
        values["LOCATION"] = str(values["LOCATION"])
    return AliasConfig(alias=alias, **{name.lower(): value for name, value in values.items()})


def _wrong_shape(values: Mapping[str, Any], alias: str, known_aliases: list[str]) -> str | None:
    """Return what is wrong with the values of an alias, or None."""
    for name in ("TRACKER", "BACKEND"):
        if not isinstance(values[name], str) or not values[name]:
            return f"{name} must be an entry-point name or a dotted path, as text."
    for name in ("OPTIONS", "TRACKER_OPTIONS"):
        if not isinstance(values[name], Mapping):
            return f"{name} must be a dictionary, not {type(values[name]).__name__}."
    problem = _wrong_sinks(values["SINKS"], alias, known_aliases)
    if problem:
        return problem
    if not isinstance(values["COLLECTION"], str) or not COLLECTION.fullmatch(values["COLLECTION"]):
        return "COLLECTION must be 1-64 of A-Z a-z 0-9 _ -."
    if not isinstance(values["ON_COMMIT"], bool | str):
        return "ON_COMMIT must be True, False or the alias of a database."
    if isinstance(values["ON_COMMIT"], str) and values["ON_COMMIT"] not in settings.DATABASES:
        return f"ON_COMMIT names the database {values['ON_COMMIT']!r}, which is not in DATABASES."
    days = values["RETENTION_DAYS"]
    if days is not None and (
        isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= _MOST_DAYS
    ):
        return f"RETENTION_DAYS must be a number of days above zero, at most {_MOST_DAYS:,}, or None."
    return None


def _wrong_sinks(sinks: object, alias: str, known_aliases: list[str]) -> str | None:
    """Return what is wrong with the sinks of an alias, or None."""
    if not isinstance(sinks, list | tuple):
        return "SINKS must be a list of aliases."
    for sink in sinks:
        if sink not in known_aliases:
            return f"SINKS names {sink!r}, which is no alias.{nearest(sink, known_aliases)}"
        if sink == alias:
            return "SINKS names the alias itself; its own backend gets each batch already."
        if sinks.count(sink) > 1:
            return f"SINKS names {sink!r} more than once; it would get each batch as often."
    return None
