"""The system checks of Celery's settings and of the broker: each says what would lose events, and what to do."""

import subprocess
import sys
from typing import Any

import pytest
from kombu import Connection

from littlebro.checks import check_broker, check_celery
from tests.brokers.conftest import AppMaker, Maker
from tests.brokers.test_inside import NOBODY
from tests.faults.harness import ROOT

GOOD = {"broker_url": NOBODY, "worker_prefetch_multiplier": 4}


def ids(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


def test_nothing_to_say(make_app: AppMaker, settings: Any) -> None:
    """A sound app, and a project whose aliases know no broker, hear nothing."""
    make_app(**GOOD)
    assert check_celery() == []
    assert check_broker() == [], "no connection without --database"
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy"}}
    make_app(broker_url=NOBODY, accept_content=["yaml"])
    assert check_celery() == []
    assert check_broker(databases=["default"]) == []


@pytest.mark.parametrize(
    "conf,found",
    [
        ({"broker_url": None}, ["littlebro.W011"]),
        ({"accept_content": ["yaml"]}, ["littlebro.E010"]),
        ({"accept_content": ["application/json", "pickle"]}, ["littlebro.W013"]),
        ({"broker_transport_options": {"visibility_timeout": 299}}, ["littlebro.W012"]),
        ({"broker_transport_options": {"visibility_timeout": 300}}, []),
        ({"broker_transport_options": {"visibility_timeout": 120}, "worker_prefetch_multiplier": 1}, []),
        ({"task_annotations": {"*": {"time_limit": 30}}}, ["littlebro.W019"]),
        ({"task_annotations": [{"shop.pay": {"acks_late": False}}]}, []),
        ({"task_annotations": [{"littlebro.deliver": {"acks_late": False}}]}, ["littlebro.W019"]),
        ({"task_annotations": {"*": {"time_limit": None, "rate_limit": "9/s", "acks_late": True}}}, []),
        (
            {
                "task_annotations": {
                    "*": {"soft_time_limit": 9},
                    "littlebro.deliver": {"soft_time_limit": 999},
                }
            },
            ["littlebro.W019"],
        ),
        ({"task_annotations": {"*": {"time_limit": None}}, "task_time_limit": 3}, ["littlebro.W019"]),
        ({"broker_url": "memory://"}, ["littlebro.W014"]),
        ({"broker_url": "amqp://guest:guest@127.0.0.1:9//"}, []),
        ({"broker_url": "memory://", "task_always_eager": True}, []),
    ],
)
def test_settings(make_app: AppMaker, conf: dict[str, Any], found: list[str]) -> None:
    """What is wrong with the settings of the project's app, without a connection."""
    make_app(**{**GOOD, **conf})
    messages = check_celery()
    assert ids(messages) == found
    assert all(message.hint for message in messages)


def test_no_app(make_site: Maker, redis: str) -> None:
    """A project without a Celery app does not start: Celery would talk to guest@localhost, and nobody would read."""
    site = make_site(redis)
    environment = {**site.environment(), "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings"}
    command = [sys.executable, "-m", "django", "check"]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "littlebro.E009" in done.stderr
    assert "First steps with Django" in done.stderr


def test_a_broker_that_does_not_answer(make_app: AppMaker) -> None:
    """The check says so, without a password, and within a moment."""
    make_app(broker_url="redis://:secret@127.0.0.1:9/0")
    (message,) = check_broker(databases=["default"])
    assert ids([message]) == ["littlebro.W018"]
    assert "secret" not in message.msg


def test_a_redis(make_app: AppMaker, redis: str) -> None:
    """One that evicts, forgets, and is not read is told of, each by itself."""
    make_app(broker_url=redis)
    with Connection(redis) as link:
        client = link.default_channel.client
        limit, policy = client.config_get("maxmemory"), client.config_get("maxmemory-policy")
        try:
            client.config_set("maxmemory", 10**9)
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert ids(check_broker(databases=["default"])) == [
                "littlebro.W015",
                "littlebro.W016",
                "littlebro.W017",
            ]
        finally:
            client.config_set("maxmemory", limit["maxmemory"])
            client.config_set("maxmemory-policy", policy["maxmemory-policy"])
    assert ids(check_broker(databases=["default"])) == ["littlebro.W016", "littlebro.W017"]
    make_app(broker_url=redis, worker_enable_remote_control=False)
    assert ids(check_broker(databases=["default"])) == ["littlebro.W016"], "no worker would answer"


def test_a_queue_that_somebody_reads(make_site: Maker, make_app: AppMaker, broker: str) -> None:
    """With a worker there is nobody to miss; the worker itself says what its Redis will forget."""
    site = make_site(broker)
    make_app(broker_url=broker)
    assert "littlebro.W017" in ids(check_broker(databases=["default"]))
    worker = site.worker()
    assert "littlebro.W017" not in ids(check_broker(databases=["default"]))
    site.stop(worker)
    assert ("Redis keeps no append-only file" in site.log()) is broker.startswith("redis")
