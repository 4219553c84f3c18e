"""What every test may ask for: a database of each kind, a journal folder, a fresh littlebro.

Servers are started only if a collected test needs them, so that a run of one file stays quick; what the
environment gives is used as it is (`make test` starts all of them first).
"""

import itertools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.core.cache import caches
from django.db import connections

from tests.services import SERVICES, Servers, demanded
from tests.settings import SERVERS, database

pytest_plugins = ["littlebro.testing.pytest_plugin"]

_COURIER_ENDS = 5.0  # seconds
DATABASE_ALIASES = {"sqlite": "default", "postgresql": "postgresql", "mariadb": "mariadb"}
# What the tests of an extra need, and which those are.
EXTRAS = {
    "pymongo": ("mongo", ("test_mongo*.py",)),
    "duckdb": (
        "analytics",
        (
            "test_analysis*.py",
            "test_command_reports.py",
            "test_demo_history.py",
            "test_lake*.py",
            "test_oracle*.py",
            "test_real_logs.py",
            "dashboard/*.py",
        ),
    ),
}
_HERE = Path(__file__).parent
_numbers = itertools.count(1)
_SERVERS = pytest.StashKey[Servers]()


@pytest.fixture(params=list(DATABASE_ALIASES))
def database_alias(request: pytest.FixtureRequest) -> str:
    """Run the test once on SQLite, PostgreSQL and MariaDB each; give the alias in DATABASES.

    The test needs `pytest.mark.django_db` (`transaction=True` where other threads or processes look); the
    alias is added to the mark's `databases`.
    """
    return DATABASE_ALIASES[request.param]


@pytest.fixture
def database_url(database_alias: str) -> str:
    """Give the URL of the test's database, for a child's `LITTLEBRO_TEST_DATABASE_URL`."""
    given = connections[database_alias].settings_dict
    if connections[database_alias].vendor == "sqlite":
        return f"sqlite://{quote(given['NAME'])}"
    scheme = "postgresql" if database_alias == "postgresql" else "mysql"
    account = f"{quote(given['USER'], safe='')}:{quote(given['PASSWORD'], safe='')}"
    return f"{scheme}://{account}@{given['HOST']}:{given['PORT']}/{quote(given['NAME'])}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Put the SQLite test databases into files of this run: other processes may be let in."""
    folder = tmp_path_factory.mktemp("databases")
    for link in connections.all():
        if link.vendor == "sqlite":
            link.settings_dict["TEST"]["NAME"] = str(folder / f"{link.alias}.sqlite3")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Give the path of a journal folder for this test alone; it does not exist yet."""
    return tmp_path / "journal"


@pytest.fixture
def with_lake(tmp_path: Path, settings: Any) -> Any:
    """Give Django's settings, with a lake of this test alone in them."""
    settings.LITTLEBRO_LAKE = tmp_path / "lake"
    return settings


@pytest.fixture
def plug(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put plugins in use, in this order, each made of functions by the names of hooks."""
    from littlebro.plugins import hookimpl, manager

    def use(*plugins: Mapping[str, Any]) -> None:
        names = [f"plugin_{'abcdef'[number]}" for number in range(len(plugins))]
        for name, functions in zip(names, plugins, strict=True):
            module = ModuleType(name)
            for hook, function in functions.items():
                function.__name__ = hook
                setattr(module, hook, hookimpl(function))
            monkeypatch.setitem(sys.modules, name, module)
        settings.LITTLEBRO_PLUGINS = names
        assert not manager.hooks().failures

    return use


@pytest.fixture
def mongodb_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a database of this test's own on the server that speaks MongoDB's protocol."""
    from pymongo import MongoClient

    server = urlsplit(_url(request, "mongodb"))
    name = f"test_littlebro_{os.getpid()}_{next(_numbers)}"
    query = server.query
    if (
        server.username and "authsource=" not in query.lower()
    ):  # accounts are known in the database of the URL
        query = "&".join(filter(None, [query, f"authSource={server.path.lstrip('/') or 'admin'}"]))
    url = urlunsplit(server._replace(path=f"/{name}", query=query))
    yield url
    with MongoClient[dict[str, Any]](url) as client:
        client.drop_database(name)


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of Redis; all tests share it, one after the other, and empty what they fill."""
    return _url(request, "redis")


@pytest.fixture
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of RabbitMQ; all tests share it, one after the other, and delete the queues they make."""
    return _url(request, "rabbitmq")


def _url(request: pytest.FixtureRequest, name: str) -> str:
    return request.config.stash[_SERVERS].urls[name]


def _servers_needed(item: pytest.Item) -> Iterator[str]:
    """Yield the servers that a test may use: by its databases, by the kind it is run on, by the URLs it asks for."""
    marker = item.get_closest_marker("django_db")
    names = set((marker.kwargs.get("databases") or ()) if marker else ())
    callspec = getattr(item, "callspec", None)
    names |= {callspec.params.get("database_alias")} if callspec else set()
    names |= {name.removesuffix("_url") for name in getattr(item, "fixturenames", ())}
    yield from sorted(names & SERVICES.keys())


class _Lacking(pytest.Module):
    """A file of tests whose extra is not installed."""

    def collect(self) -> NoReturn:
        pytest.skip(_lacking(self.path), allow_module_level=True)


def _lacking(path: Path) -> str:
    """Return why the tests of a file cannot be loaded, empty where they can."""
    for library, (extra, patterns) in EXTRAS.items():
        if any(path.relative_to(_HERE).match(pattern) for pattern in patterns) and not find_spec(library):
            return f"the extra {extra} is not installed"
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip, with the reason, what cannot be imported without an extra."""
    if module_path.is_relative_to(_HERE) and _lacking(module_path):
        return _Lacking.from_parent(parent, path=module_path)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Widen the databases of each test to the one it runs on, before pytest-django sorts by them."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("database_alias") if callspec else None
        if name not in SERVERS:
            continue
        marker = item.get_closest_marker("django_db")
        options = dict(marker.kwargs) if marker else {}
        databases = {"default", *(options.pop("databases", None) or ()), name}
        item.add_marker(pytest.mark.django_db(**options, databases=sorted(databases)), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers that the selected tests need."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in _servers_needed(item)}
    servers = Servers(sorted(wanted), install=demanded())
    session.config.stash[_SERVERS] = servers.__enter__()
    for name, url in servers.urls.items():
        if name in SERVERS and name not in settings.DATABASES:
            connections.settings[name] = database(url)
    connections.configure_settings(connections.settings)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers, after the test databases are gone."""
    servers = config.stash.get(_SERVERS, None)
    if servers:
        servers.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server is not to be had, or fail it under continuous integration."""
    missing = item.config.stash[_SERVERS].missing
    for name in _servers_needed(item):
        if name in missing and demanded():
            pytest.fail(missing[name], pytrace=False)
        elif name in missing:
            pytest.skip(missing[name])


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Close what littlebro built for the test, while its settings, database and folder are still there."""
    for module, handler in (
        ("littlebro.delivery.handler", "trackers"),
        ("littlebro.storage.handler", "backends"),
        ("littlebro.plugins.manager", ""),
    ):
        home = sys.modules.get(module)  # what was never loaded has nothing to close
        if home is not None:
            (getattr(home, handler) if handler else home).reset()
    # What a process keeps for itself, each test has for itself.
    for module, kept in (("littlebro_backends.memory", "_stores"), ("littlebro.delivery.losses", "_counts")):
        if module in sys.modules:
            getattr(sys.modules[module], kept).clear()
    for cache in caches.all(initialized_only=True):
        cache.clear()
    yield
    # A courier that goes on would take the counts of the next test, and deliver into its database.
    couriers = [thread for thread in threading.enumerate() if thread.name.startswith("littlebro-")]
    for courier in couriers:
        courier.join(_COURIER_ENDS)
    if any(courier.is_alive() for courier in couriers):
        pytest.fail(f"{len(couriers)} trackers of this test were not closed", pytrace=False)
