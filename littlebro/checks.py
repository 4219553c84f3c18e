"""System checks: what is wrong with the settings, the plugins and the journal, said before the first event.

Ids are stable: ``littlebro.E…`` stops the start-up, ``littlebro.W…`` warns. Checks read settings and folders; only
those tagged ``database`` (``check --database``) touch a store.
"""

import contextlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from littlebro import conf, privacy
from littlebro.conf.defaults import GLOBAL_SETTINGS
from littlebro.dashboard.plugins import added
from littlebro.delivery import filesystem
from littlebro.delivery.handler import trackers
from littlebro.plugins import registry
from littlebro.plugins.manager import hooks
from littlebro.storage.handler import backends

__all__ = [
    "check_aliases",
    "check_broker",
    "check_celery",
    "check_journals",
    "check_plugins",
    "check_settings",
    "check_stores",
]

_NO_NAME = re.compile(r"\W")  # what a name in Python cannot hold

# What `littlebro.checks_celery` finds, by its kind.
_CELERY = {
    "no-app": "littlebro.E009",
    "no-json": "littlebro.E010",
    "no-broker": "littlebro.W011",
    "visibility": "littlebro.W012",
    "pickle": "littlebro.W013",
    "no-confirms": "littlebro.W014",
    "eviction": "littlebro.W015",
    "forgetful": "littlebro.W016",
    "unread": "littlebro.W017",
    "no-answer": "littlebro.W018",
    "overruled": "littlebro.W019",
}


@register("littlebro")
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: a LITTLEBRO_… setting that does not exist. E002: one whose value cannot be meant."""
    messages = [
        Error(f"There is no setting {name}.{conf.nearest(name, GLOBAL_SETTINGS)}", id="littlebro.E001")
        for name in dir(settings)
        if name.startswith("LITTLEBRO_") and name not in GLOBAL_SETTINGS and not _is_a_plugins(name)
    ]
    wrong: dict[str, None] = {}  # two readers of one setting may say the same
    for read in _readers():
        try:
            read()
        except ImproperlyConfigured as error:
            wrong[str(error)] = None
    return [*messages, *(Error(problem, id="littlebro.E002") for problem in wrong)]


def _is_a_plugins(name: str) -> bool:
    """Return whether a setting belongs to a plugin, in use or not: ``LITTLEBRO_<PLUGIN>_…``."""
    try:
        plugins = registry.installed("plugins")
    except ImproperlyConfigured:
        return False
    return any(name.startswith(f"LITTLEBRO_{_NO_NAME.sub('_', plugin.name).upper()}_") for plugin in plugins)


def _readers() -> Iterator[Callable[[], object]]:
    """Yield, for each global setting, a call of what reads it and would complain."""
    visit = HttpRequest()
    visit.META = {"REMOTE_ADDR": "192.0.2.1"}
    yield from (partial(conf.setting, name) for name in GLOBAL_SETTINGS if name != "LITTLEBRO")
    yield partial(privacy.client_ip, visit)


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
            checks.Warning(
                f"Plugin {failure.plugin} ({failure.package or 'no package'}) is not used: {failure.reason}",
                id="littlebro.W004",
            )
            for failure in known.failures
        ),
        *(
            checks.Warning(f"Plugin {plugin.name}: {remark}", id="littlebro.W005")
            for plugin in known.loaded
            for remark in plugin.remarks
        ),
        *(checks.Warning(problem, id="littlebro.W005") for problem in added().problems),
    ]


@register("littlebro")
def check_journals(**_: Any) -> list[CheckMessage]:
    """W006: a journal that a reboot or a new container wipes out. W007: SQLite that refuses a second writer."""
    found: list[CheckMessage] = []
    for alias, config in _configs():
        folder = config.tracker_options.get("JOURNAL")
        if not isinstance(folder, str | Path):
            continue
        kind = filesystem.kind(Path(folder))
        if kind in filesystem.FLEETING:
            message = f"LITTLEBRO[{alias!r}]: the journal {folder} lies on {kind}, gone with the machine."
            found.append(checks.Warning(message, hint="Put it on a disk or a volume.", id="littlebro.W006"))
        for name in sorted(set(map(_deferred, (alias, *config.sinks))) - {""}):
            message = (
                f"LITTLEBRO[{alias!r}]: the background thread writes to the SQLite database {name!r} beside your "
                "requests; transactions that begin deferred then fail at once."
            )
            hint = f"Set DATABASES[{name!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE', 'timeout': 20}}."
            found.append(checks.Warning(message, hint=hint, id="littlebro.W007"))
    return found


def _deferred(alias: str) -> str:
    """Return the database that an alias writes to, if that is SQLite and its transactions begin deferred, or ""."""
    try:
        name = str(getattr(backends[alias], "using", ""))  # as `simple` has it: one of Django's databases
    except ImproperlyConfigured:  # told by check_aliases
        return ""
    database = settings.DATABASES.get(name, {})
    mode = str(database.get("OPTIONS", {}).get("transaction_mode")).upper()
    sqlite = database.get("ENGINE", "").endswith("sqlite3")
    return name if sqlite and mode not in {"IMMEDIATE", "EXCLUSIVE"} else ""


def _configs() -> list[tuple[str, conf.AliasConfig]]:
    found: list[tuple[str, conf.AliasConfig]] = []
    with contextlib.suppress(ImproperlyConfigured):  # told by check_aliases
        found.extend((alias, conf.alias_config(alias)) for alias in conf.aliases())
    return found


@register("littlebro", Tags.database)
def check_stores(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W008: a store that does not answer, or is not set up."""
    if not databases or sys.argv[1:2] == [
        "migrate"
    ]:  # which checks the databases whose tables it is about to make
        return []
    found: list[CheckMessage] = []
    for alias, _config in _configs():
        try:
            problems = backends[alias].check()
        except ImproperlyConfigured:
            continue
        except Exception as error:  # noqa: BLE001 - whatever a plugin's store raises is the finding
            problems = [f"the backend does not answer: {type(error).__name__}: {error}"]
        found += [
            checks.Warning(f"LITTLEBRO[{alias!r}]: {problem}", id="littlebro.W008") for problem in problems
        ]
    return found


@register("littlebro")
def check_celery(**_: Any) -> list[CheckMessage]:
    """E009: the tracker celery without a Celery app of the project's own. E010: workers that refuse JSON, and so
    lose each batch. W011: no broker is named, or none that Celery can use. W012: Redis hands batches out again while
    they are worked on.
    W013: workers accept pickle. W014: a broker that does not confirm what it takes.
    W019: annotations of all tasks that overrule what keeps a batch.
    """
    if not _uses_celery():
        return []
    from littlebro import checks_celery  # noqa: PLC0415 - needs the extra

    return _told(checks_celery.of_settings())


@register("littlebro", Tags.database)
def check_broker(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W015: a Redis that evicts what waits. W016: a Redis that forgets its queues at a restart. W017: a queue that
    no worker reads. W018: a broker that does not answer.
    """
    if not databases or not _uses_celery():
        return []
    from littlebro import checks_celery  # noqa: PLC0415 - needs the extra

    return _told(checks_celery.of_broker())


def _uses_celery() -> bool:
    """Return whether an alias travels through a broker: its tracker says so."""
    for alias, _config in _configs():
        with contextlib.suppress(ImproperlyConfigured):  # told by check_aliases
            if getattr(trackers[alias], "broker", None) == "celery":
                return True
    return False


def _told(findings: Iterable[Any]) -> list[CheckMessage]:
    kinds = {"E": Error, "W": checks.Warning}
    return [
        kinds[_CELERY[kind].rpartition(".")[2][0]](message, hint=hint, id=_CELERY[kind])
        for kind, message, hint in findings
    ]
