"""The demo with a broker and with MongoDB: what it asks for, and runs whose accounts agree and that leave nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littlebro.__main__ import main
from littlebro.demo.parts import Parts, shown
from tests.demo_runs import Run, gone_within

for _name in ("gunicorn", "celery", "pymongo"):
    pytest.importorskip(_name, reason=f"{_name} is not installed")


def test_parts_travel_by_the_environment() -> None:
    """What one process was asked for, the others find; nothing asked for is the usual."""
    parts = Parts("celery", "mongo", "redis://r", "mongodb://m")
    assert Parts.of_environment(parts.environment()) == parts
    assert Parts.of_environment({}) == Parts("thread", "simple")


def test_a_url_is_shown_without_its_account() -> None:
    """The password stays where it is."""
    assert shown("amqp://me:p%40ss@host:5672//") == "amqp://host:5672//"
    assert shown("mongodb://host/shop") == "mongodb://host/shop"


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--tracker", "celery"], "the tracker 'celery' needs a server: name one by --broker"),
        (["--backend", "mongo"], "the backend 'mongo' needs a server: name one by --mongodb"),
    ],
)
def test_a_missing_server_is_asked_for(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, before anything is set up."""
    for name in ("BROKER", "MONGODB"):
        monkeypatch.delenv(f"LITTLEBRO_DEMO_{name}", raising=False)
    assert main(["demo", "--port", "0", *words]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("lacking, extras", [("celery", "celery,demo"), ("pymongo", "demo,mongo")])
def test_a_missing_package_names_its_extra(
    lacking: str, extras: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a package that is not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == lacking else object())
    assert main(["demo", "--port", "0", "--tracker", "celery", "--backend", "mongo"]) == 2
    assert f'which is not installed: pip install "django-littlebro[{extras}]"' in capsys.readouterr().err


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Any]:
    """Give a function that starts a demo; none outlives the test."""
    made: list[Run] = []

    def start(*words: str, **environment: str) -> Run:
        made.append(Run(tmp_path, *words, environment=environment))
        return made[-1]

    yield start
    for run in made:
        run.close()


@pytest.mark.parametrize("kind", ["--broker", "--mongodb"])
def test_a_server_that_is_away_is_told(runs: Any, kind: str) -> None:
    """Exit code 2, and the address without its password."""
    words = {
        "--broker": ("--tracker", "celery", "--broker", "amqp://me:secret@127.0.0.1:1//"),
        "--mongodb": ("--backend", "mongo", "--mongodb", "mongodb://127.0.0.1:1/shop"),
    }
    run = runs(*words[kind])
    assert run.end() == 2, run.said
    assert "127.0.0.1:1/" in run.said
    assert "does not answer" in run.said
    assert "secret" not in run.said
    assert "Traceback" not in run.said


def database_is_empty(url: str) -> bool:
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url) as client:
        return client.get_default_database().list_collection_names() == []


@pytest.fixture
def rabbitmq(rabbitmq_url: str) -> Iterator[str]:
    """Give the RabbitMQ, with no queue of ours before or after."""
    from kombu import Connection

    with Connection(rabbitmq_url) as link:
        link.default_channel.queue_delete("littlebro")
    yield rabbitmq_url
    with Connection(rabbitmq_url) as link:
        link.default_channel.queue_delete("littlebro")


@pytest.fixture
def redis(redis_url: str) -> Iterator[str]:
    """Give the Redis, empty before and after."""
    client = pytest.importorskip("redis").Redis.from_url(redis_url)
    client.flushdb()
    yield redis_url
    client.flushdb()
    client.close()


@pytest.mark.slow
def test_through_rabbitmq_into_mongo(runs: Any, rabbitmq: str, mongodb_url: str) -> None:
    """The shop's events go through broker and worker into the store; the accounts agree, and nothing is left."""
    run = runs(
        *("--tracker", "celery", "--backend", "mongo", "--for", "4"),
        LITTLEBRO_DEMO_BROKER=rabbitmq,
        LITTLEBRO_DEMO_MONGODB=mongodb_url,
    )
    run.until("The first event was stored")
    children = run.children
    assert len(children) == 3, "server, worker, beat"
    assert run.end() == 0, run.said
    assert "They agree" in run.said
    assert run.number("events tracked") == run.number("events stored") > run.number("requests made") > 10
    assert "by it" not in run.said
    assert all(gone_within(1, child) for child in children)
    assert list(run.temporary.iterdir()) == []
    assert database_is_empty(mongodb_url)
    again = runs("--backend", "mongo", "--for", "1", "--mongodb", mongodb_url)
    assert again.end() == 0, again.said
    assert database_is_empty(mongodb_url)


@pytest.mark.slow
def test_ctrl_c_and_a_kept_folder_with_redis(runs: Any, redis: str, tmp_path: Path) -> None:
    """SIGINT ends all in order; a worker that dies is told; a demo that is killed takes its worker with it."""
    words = ["--tracker", "celery", "--broker", redis, "--keep", str(tmp_path / "kept")]
    run = runs(*words)
    run.until("The first event was stored")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0, run.said
    assert "They agree" in run.said

    run = runs(*words)
    run.until("The first event was stored")
    os.kill(run.children[1], signal.SIGKILL)
    assert run.end() == 1, run.said
    assert "Trouble: the worker ended by itself: exit code -9" in run.said

    run = runs(*words)
    run.until("The first event was stored")
    children = run.children
    run.process.kill()
    assert all(gone_within(20, child) for child in children)


@pytest.mark.slow
def test_a_broker_of_somebody_elses_is_left_alone(runs: Any, redis: str) -> None:
    """Where batches of others wait, the demo does not begin: its worker would store them."""
    client = pytest.importorskip("redis").Redis.from_url(redis)
    client.lpush("littlebro", "{}")
    run = runs("--tracker", "celery", "--broker", redis)
    assert run.end() == 2, run.said
    assert "is in use (1 batches of others)" in run.said
    assert client.llen("littlebro") == 1
    client.close()
