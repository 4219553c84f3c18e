"""The suite's own ground: each database that a test is given is the kind it is called, and really there."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, connections

from tests.services import SERVICES, Servers

ROOT = Path(__file__).parent.parent
CHILD = """
import django

django.setup()
from django.db import connection

connection.ensure_connection()
print(connection.vendor, connection.settings_dict["NAME"])
"""


@pytest.mark.django_db(transaction=True)
def test_database_alias(database_alias: str, database_url: str) -> None:
    """The alias leads to a server of that kind, in a database of this run alone; a child reaches the same."""
    vendor = {"default": "sqlite", "postgresql": "postgresql", "mariadb": "mysql"}[database_alias]
    link = connections[database_alias]
    assert link.vendor == vendor
    assert "test" in link.settings_dict["NAME"]
    assert "littlebro_storedevent" in link.introspection.table_names()
    given = {"LITTLEBRO_TEST_DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=os.environ | given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [vendor, str(link.settings_dict["NAME"])]


@pytest.mark.django_db
def test_default_is_a_sqlite_file() -> None:
    """The default database is a file in write-ahead mode, so that other processes can be let in."""
    assert connection.vendor == "sqlite"
    assert Path(connection.settings_dict["NAME"]).is_file()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_is_given_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL in the environment is taken as it is: nothing is started, nothing is stopped."""
    kind = SERVICES[name]
    monkeypatch.setenv(kind.variable(), "scheme://elsewhere")
    monkeypatch.setattr(kind, "launch", lambda self: pytest.fail("a server was started"))
    with Servers([name], install=False) as servers:
        assert servers.urls == {name: "scheme://elsewhere"}
        assert servers.environment() == {kind.variable(): "scheme://elsewhere"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not installed is reported with the package that brings it and the variable to set."""
    kind = SERVICES[name]
    monkeypatch.delenv(kind.variable(), raising=False)
    monkeypatch.delenv(kind.reason_variable(), raising=False)
    monkeypatch.setattr(kind, "find", lambda self: False)
    with Servers([name], install=False) as servers:
        assert kind.packages[0] in servers.missing[name]
        assert kind.variable() in servers.missing[name]


def test_run_gives_the_exit_code_of_its_command() -> None:
    """`services.py run` is transparent to whoever started it."""
    command = [sys.executable, str(ROOT / "tests/services.py"), "run", "--no-install", "--"]
    given = {kind.variable(): "scheme://elsewhere" for kind in SERVICES.values()}
    done = subprocess.run([*command, "sh", "-c", "exit 7"], env=os.environ | given, check=False)
    assert done.returncode == 7


def test_run_fails_in_ci_when_a_server_is_missing() -> None:
    """Under continuous integration a missing server is a failure, and the command is not run."""
    command = [sys.executable, str(ROOT / "tests/services.py"), "run", "--no-install", "--", "echo", "ran"]
    gone = {kind.reason_variable(): "none here" for kind in SERVICES.values()}
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_URL")}
    done = subprocess.run(
        command, env=environment | gone | {"CI": "true"}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "none here" in done.stdout
    assert "ran" not in done.stdout


def test_redis_and_rabbitmq_answer(redis_url: str, rabbitmq_url: str) -> None:
    """The URLs lead to brokers that let us in, with a password that nobody else knows."""
    from amqp.exceptions import AccessRefused
    from kombu import Connection
    from redis import Redis
    from redis.exceptions import AuthenticationError

    with Redis.from_url(redis_url) as client:
        assert client.ping()
    with Connection(rabbitmq_url, connect_timeout=5) as link:
        link.connect()
        assert link.connected
    wrong = {url: url.replace(str(urlsplit(url).password), "wrong") for url in (redis_url, rabbitmq_url)}
    with Redis.from_url(wrong[redis_url]) as client, pytest.raises(AuthenticationError):
        client.ping()
    with Connection(wrong[rabbitmq_url], connect_timeout=5) as link, pytest.raises(AccessRefused):
        link.connect()


def test_each_test_has_a_database_of_its_own(mongodb_url: str) -> None:
    """The server says that it speaks MongoDB's protocol, and the database is empty."""
    from pymongo import MongoClient

    with MongoClient[Any](mongodb_url) as client:
        assert client.admin.command("hello")["maxWireVersion"] >= 13
        assert client.get_default_database().list_collection_names() == []
        assert client.get_default_database().name.startswith(f"test_littlebro_{os.getpid()}_")


@pytest.mark.slow
def test_no_server_outlives_its_run(redis_url: str, mongodb_url: str) -> None:
    """Whatever ends a run, kill -9 included, its servers end as well; the next run clears up behind it."""
    runner = [sys.executable, str(ROOT / "tests/services.py"), "run", "--only", "redis", "--only", "mongodb"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LITTLEBRO_TEST_")}
    if cache := os.environ.get("LITTLEBRO_TEST_CACHE"):
        environment["LITTLEBRO_TEST_CACHE"] = cache
    command = ["sh", "-c", "echo $LITTLEBRO_TEST_REDIS_URL $LITTLEBRO_TEST_MONGODB_URL; exec sleep 60"]
    with subprocess.Popen(
        [*runner, "--", *command], env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        told = next(line for line in run.stdout if not line.startswith("services: "))
        ports = [urlsplit(url).port for url in told.split()]
        assert len(ports) == 2
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.kill()
    for child in children:
        if Path(f"/proc/{child}/comm").exists() and Path(f"/proc/{child}/comm").read_text() == "sleep\n":
            os.kill(int(child), signal.SIGKILL)
    for port in ports:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as link:
                if link.connect_ex(("127.0.0.1", port or 0)):
                    break
            time.sleep(0.05)
        else:
            pytest.fail(f"somebody still listens on {port}")
