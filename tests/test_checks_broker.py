"""System checks of Celery's settings and of the broker: each finds what would lose events, on real brokers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from tests.installing import Settings

pytest.importorskip("celery", reason="the extra celery is not installed")

from celery import Celery

from littlebro import checks_celery


@pytest.fixture(autouse=True)
def _celery_tracker(settings: Settings, journal: Path) -> None:
    """Let the alias travel through a broker."""
    options = {"JOURNAL": str(journal)}
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "celery",
            "TRACKER_OPTIONS": options,
            "BACKEND": "memory",
            "LOCATION": __name__,
        }
    }


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Give the project's app, of which the rest of the suite knows nothing."""
    made = Celery("shop", set_as_current=False, broker="amqp://guest@127.0.0.1:1//")
    monkeypatch.setattr(checks_celery, "project_app", lambda: made)
    yield made
    made.close()


def found(databases: list[str] | None = None) -> dict[str, str]:
    """Return the messages of the checks of Celery, by id."""
    messages: list[CheckMessage] = run_checks(tags=["littlebro"], databases=databases or [])
    return {
        str(message.id): f"{message.msg} {message.hint}"
        for message in messages
        if str(message.id) > "littlebro.E008" and str(message.id) not in {"littlebro.W006", "littlebro.W007"}
    }


def test_a_sound_app_is_left_in_peace(app: Celery) -> None:
    """Celery's own defaults and a broker that confirms give no message, and nothing is connected to."""
    assert found() == {}


def test_an_app_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """E009: without an app of the project's own nobody would read."""
    monkeypatch.setattr("littlebro.publishing._is_made_up", lambda _app: True)
    assert list(found()) == ["littlebro.E009"]


def test_eager_tasks_need_no_broker(app: Celery) -> None:
    """Where tasks run in the caller there is nothing to look at."""
    app.conf.update(task_always_eager=True, accept_content=["yaml"])
    assert found(["default"]) == {}


@pytest.mark.parametrize(
    "check, changes",
    [
        ("littlebro.E010", {"accept_content": ["yaml"]}),
        ("littlebro.W011", {"broker_url": None}),
        ("littlebro.W011", {"broker_url": "carrier-pigeon://127.0.0.1"}),
        ("littlebro.W013", {"accept_content": ["json", "pickle"]}),
        ("littlebro.W014", {"broker_url": "memory://"}),
        (
            "littlebro.W012",
            {"broker_url": "redis://127.0.0.1:1/0", "broker_transport_options": {"visibility_timeout": 60}},
        ),
        ("littlebro.W012", {"broker_url": "redis://127.0.0.1:1/0", "worker_prefetch_multiplier": 0}),
        ("littlebro.W012", {"broker_url": "redis://127.0.0.1:1/0", "worker_prefetch_multiplier": "1"}),
        *(
            (
                "littlebro.W012",
                {
                    "broker_url": "redis://127.0.0.1:1/0",
                    "broker_transport_options": {"visibility_timeout": odd},
                },
            )
            for odd in (None, "3600")
        ),
    ],
)
def test_a_setting_that_would_lose_events(app: Celery, check: str, changes: dict[str, Any]) -> None:
    """E010 to W014 are told from the settings alone, each by itself."""
    app.conf.update(changes)
    assert list(found()) == [check]


def test_a_broker_that_cannot_be_used(app: Celery) -> None:
    """W011 is told once, however deep the checks look, and the others are told as well."""
    app.conf.broker_url = "carrier-pigeon://127.0.0.1"
    assert list(found(["default"])) == ["littlebro.W011"]


def test_a_broker_that_does_not_answer(app: Celery) -> None:
    """W018 is looked for only where databases are checked; the password of the URL is not shown."""
    app.conf.broker_url = "amqp://guest:hidden@127.0.0.1:1//"
    assert found() == {}
    messages = found(["default"])
    assert list(messages) == ["littlebro.W018"]
    assert "hidden" not in messages["littlebro.W018"]


def test_a_redis_that_forgets(app: Celery, redis_url: str) -> None:
    """W015 and W016: what the server may throw away, and what a restart loses; both go when it is mended."""
    redis = pytest.importorskip("redis")
    app.conf.broker_url = redis_url
    with redis.Redis.from_url(redis_url) as server:
        before = {
            name: server.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy", "appendonly")
        }
        try:
            for name, value in (
                ("maxmemory", "64mb"),
                ("maxmemory-policy", "allkeys-lru"),
                ("appendonly", "no"),
            ):
                server.config_set(name, value)
            assert {"littlebro.W015", "littlebro.W016"} <= set(found(["default"]))
            for name, value in (("maxmemory-policy", "noeviction"), ("appendonly", "yes")):
                server.config_set(name, value)
            assert not {"littlebro.W015", "littlebro.W016"} & set(found(["default"]))
        finally:
            for name, value in before.items():
                server.config_set(name, value)


def test_a_queue_that_nobody_reads(app: Celery, rabbitmq_url: str) -> None:
    """W017: without a worker, batches wait in the broker for ever."""
    app.conf.broker_url = rabbitmq_url
    assert list(found(["default"])) == ["littlebro.W017"]
