"""What the broker's trials share: Redis and RabbitMQ, started once if they are not given, and a maker of sites."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from littlebro.delivery import losses
from littlebro.delivery.handler import trackers
from tests.brokers.harness import Site
from tests.faults.harness import empty_database
from tests.services import Servers, demanded

Maker = Callable[..., Site]
AppMaker = Callable[..., Any]

if find_spec("celery") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a migrated SQLite database."""
    return empty_database(tmp_path_factory.mktemp("template") / "empty.sqlite3")


@pytest.fixture(scope="session")
def brokers() -> Iterator[Servers]:
    """Give the brokers of this run."""
    with Servers(["redis", "rabbitmq"], install=demanded()) as servers:
        yield servers


def url_of(brokers: Servers, name: str) -> str:
    """Return where a broker is; without it, skip the test, or fail it under continuous integration."""
    if name in brokers.urls:
        return brokers.urls[name]
    if demanded():
        pytest.fail(brokers.missing[name], pytrace=False)
    pytest.skip(brokers.missing[name])


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, brokers: Servers) -> str:
    """Run the test over Redis and over RabbitMQ; give the broker's URL."""
    return url_of(brokers, request.param)


@pytest.fixture
def redis(brokers: Servers) -> str:
    """Give the URL of the Redis."""
    return url_of(brokers, "redis")


@pytest.fixture
def rabbitmq(brokers: Servers) -> str:
    """Give the URL of the RabbitMQ."""
    return url_of(brokers, "rabbitmq")


@pytest.fixture
def make_site(tmp_path: Path, template: Path) -> Iterator[Maker]:
    """Give a function that makes a site with a broker, on SQLite unless told otherwise."""
    made: list[Site] = []

    def make(broker: str, database: str | Path = template, **more: Any) -> Site:
        made.append(Site(tmp_path / f"site-{len(made)}", database, broker, **more))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def make_app(settings: Any, tmp_path: Path) -> Iterator[AppMaker]:
    """Give a function that makes the project's Celery app in this very process, with the settings given.

    The default alias then travels by the tracker ``celery``.
    """
    from celery import Celery, _state

    options = {"JOURNAL": str(tmp_path / "journal")}
    settings.LITTLEBRO = {"default": {"TRACKER": "celery", "TRACKER_OPTIONS": options}}
    losses.drain("default")  # what earlier tests of this process counted
    made: list[Celery] = []
    before = _state._tls.current_app, _state.default_app

    def make(**conf: Any) -> Celery:
        app = Celery("suite")
        app.set_default()  # the courier is another thread
        app.conf.update(conf)
        made.append(app)
        return app

    yield make
    trackers.reset()
    for app in made:
        app.close()
    _state._tls.current_app, _state.default_app = before
