"""System checks: what is wrong with the settings, the plugins and the journal, said before the first event.

Ids are stable: ``littlebro.E…`` stops the start-up, ``littlebro.W…`` warns. Checks read settings and folders; only
those tagged ``database`` (``check --database``) touch a store.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from littlebro import conf
from littlebro.conf.defaults import GLOBAL_SETTINGS
from littlebro.delivery import filesystem
from littlebro.delivery.handler import trackers
from littlebro.plugins.manager import hooks
from littlebro.storage.handler import backends

__all__ = ["check_aliases", "check_journals", "check_plugins", "check_settings", "check_stores"]


@register("littlebro")
def check_settings(**_: Any) -> list[CheckMessage]:
    """W001: a LITTLEBRO_… setting that does not exist. E002: one whose value cannot be meant."""
    found: list[CheckMessage] = []
    for name in dir(settings):
        if name.startswith("LITTLEBRO_") and name not in GLOBAL_SETTINGS and not _is_plugins(name):
            found.append(
                Warning(
                    f"There is no setting {name}.{conf.nearest(name, GLOBAL_SETTINGS)}", id="littlebro.W001"
                )
            )
    if conf.setting("LITTLEBRO_IP") not in {"off", "truncated", "full"}:
        found.append(Error("LITTLEBRO_IP must be 'off', 'truncated' or 'full'.", id="littlebro.E002"))
    for name, option in GLOBAL_SETTINGS.items():
        if name.startswith("LITTLEBRO_MAX_") and not _is_count(conf.setting(name)):
            found.append(
                Error(
                    f"{name} must be a whole number above zero, for instance {option.default}.",
                    id="littlebro.E002",
                )
            )
    for name in (
        "LITTLEBRO_SENSITIVE_KEYS",
        "LITTLEBRO_RESPECT",
        "LITTLEBRO_MIDDLEWARE_IGNORE",
        "LITTLEBRO_PLUGINS",
    ):
        value = conf.setting(name)
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            found.append(Error(f"{name} must be a list of text.", id="littlebro.E002"))
    return found


def _is_plugins(name: str) -> bool:
    """Return whether a setting may belong to a plugin, ``LITTLEBRO_<PLUGIN>``: a dictionary, by convention."""
    return isinstance(getattr(settings, name), dict)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@register("littlebro")
def check_aliases(**_: Any) -> list[CheckMessage]:
    """E003: an alias whose tracker or backend cannot be built."""
    found: list[CheckMessage] = []
    try:
        names = conf.aliases()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="littlebro.E003")]
    for alias in names:
        for handler in (backends, trackers):
            try:
                handler[alias]
            except ImproperlyConfigured as error:
                found.append(Error(str(error), id="littlebro.E003"))
                break
    return found


@register("littlebro")
def check_plugins(**_: Any) -> list[CheckMessage]:
    """W004: a plugin that is not used, and why. W005: a remark on one that is."""
    try:
        known = hooks()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="littlebro.E002")]
    return [
        *(
            Warning(
                f"Plugin {failure.plugin} ({failure.package or 'no package'}) is not used: {failure.reason}",
                id="littlebro.W004",
            )
            for failure in known.failures
        ),
        *(
            Warning(f"Plugin {plugin.name}: {remark}", id="littlebro.W005")
            for plugin in known.loaded
            for remark in plugin.remarks
        ),
    ]


@register("littlebro")
def check_journals(**_: Any) -> list[CheckMessage]:
    """W006: a journal that a reboot or a new container wipes out. W007: SQLite that refuses a second writer."""
    found: list[CheckMessage] = []
    for alias, config in _configs():
        folder = config.tracker_options.get("JOURNAL")
        if isinstance(folder, str | Path):
            kind = filesystem.kind(Path(folder))
            if kind in filesystem.FLEETING:
                message = f"LITTLEBRO[{alias!r}]: the journal {folder} lies on {kind}, which does not outlive the machine or container."
                found.append(Warning(message, hint="Put it on a disk or a volume.", id="littlebro.W006"))
            database = settings.DATABASES.get(config.location or "default", {})
            mode = database.get("OPTIONS", {}).get("transaction_mode")
            if (
                config.backend == "simple"
                and database.get("ENGINE", "").endswith("sqlite3")
                and mode != "IMMEDIATE"
            ):
                message = f"LITTLEBRO[{alias!r}]: the background thread writes to SQLite beside your requests; transactions that begin deferred then fail at once."
                hint = "Set DATABASES[…]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'."
                found.append(Warning(message, hint=hint, id="littlebro.W007"))
    return found


def _configs() -> list[tuple[str, conf.AliasConfig]]:
    found: list[tuple[str, conf.AliasConfig]] = []
    try:
        for alias in conf.aliases():
            found.append((alias, conf.alias_config(alias)))
    except ImproperlyConfigured:  # told by check_aliases
        pass
    return found


@register("littlebro", Tags.database)
def check_stores(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W008: a store that does not answer, or is not set up."""
    if not databases:
        return []
    found: list[CheckMessage] = []
    for alias, _config in _configs():
        try:
            problems = backends[alias].check()
        except ImproperlyConfigured:
            continue
        except Exception as error:  # noqa: BLE001 - whatever a plugin's store raises is the finding
            problems = [f"the backend does not answer: {type(error).__name__}: {error}"]
        found += [Warning(f"LITTLEBRO[{alias!r}]: {problem}", id="littlebro.W008") for problem in problems]
    return found
