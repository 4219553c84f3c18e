"""What `manage.py migrate` does for stores that no migration reaches: their `setup`, and never a failure."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from littlebro_backends.memory import Backend as MemoryBackend
from tests.installing import Settings

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parent.parent
HERE = "tests.test_after_migrate"
SIMPLE = {"BACKEND": "simple"}
calls: list[str] = []


class Counting(MemoryBackend):
    """Notes each setup."""

    def setup(self) -> None:
        calls.append(self.alias)


class Migrating(Counting):
    """Sets itself up by migrating, as a stranger's backend over Django's ORM may."""

    def setup(self) -> None:
        super().setup()
        call_command("migrate", verbosity=0, interactive=False)


class Away(Counting):
    """Does not answer."""

    def ping(self) -> None:
        raise ConnectionError("nobody\nthere " + "x" * 500)


@pytest.fixture(autouse=True)
def _no_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process look like any other: a test runner's is left in peace."""
    calls.clear()
    monkeypatch.delattr(mail, "outbox")


def alias(backend: str) -> dict[str, str]:
    return {"BACKEND": f"{HERE}.{backend}", "LOCATION": HERE}


def migrate(*words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("migrate", *words, interactive=False, stdout=out, **{"verbosity": 1, **options})
    return out.getvalue()


def test_each_store_is_set_up_once(settings: Settings) -> None:
    """The table of `simple` is the migrations' business; `memory` needs nothing; the others are set up, and told."""
    settings.LITTLEBRO = {
        "default": SIMPLE,
        "one": alias("Counting"),
        "two": alias("Counting"),
        "plain": {"BACKEND": "memory"},
    }
    said = migrate()
    assert calls == ["one", "two"]
    assert said.count("Set up the store of") == 2
    assert "LITTLEBRO['one']" in said
    assert "Set up" not in migrate(verbosity=0)


def test_a_setup_that_migrates_does_not_go_round(settings: Settings) -> None:
    """The signal of the migrate inside a setup sets nothing up."""
    settings.LITTLEBRO = {"default": alias("Migrating"), "other": alias("Counting")}
    migrate()
    assert calls == ["default", "other"]


def test_the_command_sets_up_what_it_was_asked_for(settings: Settings) -> None:
    """Neither does the migrate inside a setup reach other aliases, nor is a store set up twice."""
    settings.LITTLEBRO = {"default": alias("Migrating"), "simple": SIMPLE, "other": alias("Counting")}
    for name in ("default", "simple"):
        call_command("littlebro", "setup", alias=name, stdout=io.StringIO())
    assert calls == ["default"]
    call_command("littlebro", "setup", stdout=io.StringIO())
    assert calls == ["default", "default", "other"]


def test_a_store_that_is_away(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in a line, with what to do; migrate ends well, and the others are set up."""
    settings.LITTLEBRO = {"default": alias("Away"), "other": alias("Counting")}
    migrate(verbosity=0)
    assert calls == ["other"]
    first, advice = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "LITTLEBRO['default']: the store could not be set up: ConnectionError: nobody there xxx"
    )
    assert len(first) < 300
    assert advice.strip() == "Once it answers: manage.py littlebro setup --alias default"


def test_settings_that_are_wrong_are_left_to_the_checks(settings: Settings) -> None:
    """An alias that cannot be built keeps nobody from migrating."""
    settings.LITTLEBRO = {"default": {"BACKEND": "nonesuch"}, "other": alias("Counting")}
    migrate(skip_checks=True)
    assert calls == ["other"]
    settings.LITTLEBRO = "wrong"
    migrate(skip_checks=True)


def test_when_nothing_is_set_up(settings: Settings) -> None:
    """Not after `flush`, nor where migrations are undone, nor in a run of tests."""
    settings.LITTLEBRO = {"default": alias("Counting")}
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=False)
    call_command("migrate", "littlebro", "zero", verbosity=0, interactive=False)
    assert calls == []
    migrate()
    assert calls == ["default"]
    mail.outbox = []
    migrate()
    assert calls == ["default"]


SITE = """
from tests.settings import *
INSTALLED_APPS = ["littlebro"]
MIDDLEWARE = []
ROOT_URLCONF = "mongo_site"
urlpatterns = []
LITTLEBRO = {{"default": {{"BACKEND": "mongo", "LOCATION": {url!r}, "OPTIONS": {{"TIMEOUT": 2}}}}}}
"""


def manage(folder: Path, url: str) -> "subprocess.CompletedProcess[str]":
    """Run `migrate` as an administrator does, in a project whose events go to MongoDB at `url`."""
    (folder / "mongo_site.py").write_text(SITE.format(url=url))
    database = f"sqlite://{folder}/site.sqlite3"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "mongo_site",
        "LITTLEBRO_TEST_DATABASE_URL": database,
    }
    command = [sys.executable, "-m", "django", "migrate"]
    return subprocess.run(
        command, check=False, env=environment, cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_mongo_has_its_indexes_after_migrate(tmp_path: Path, mongodb_url: str) -> None:
    """A stranger's order of things: settings, migrate, done. A second time is as good."""
    from pymongo import MongoClient

    for _ in range(2):
        done = manage(tmp_path, mongodb_url)
        assert done.returncode == 0, done.stderr
        assert "Set up the store of LITTLEBRO['default']" in done.stdout
        assert done.stderr == ""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        indexes = client.get_default_database()["littlebro"].index_information()
    assert {"littlebro_order", "littlebro_name"} <= indexes.keys()


def test_migrate_while_mongo_is_away(tmp_path: Path) -> None:
    """The tables are made, the exit code is 0, and the store is named."""
    pytest.importorskip("pymongo")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        done = manage(tmp_path, f"mongodb://127.0.0.1:{silent.getsockname()[1]}/shop")
    assert done.returncode == 0, done.stderr
    assert "Applying littlebro.0001" in done.stdout
    assert "LITTLEBRO['default']: the store could not be set up:" in done.stderr
    assert "littlebro setup --alias default" in done.stderr
