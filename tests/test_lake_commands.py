"""The lake from the terminal and from beat: `sync`, `lake`, the task, and what `forget` and `purge` say of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from littlebro.analysis.reader import open_reader
from littlebro.conf import beat_schedule, setting
from littlebro.events.event import Event
from littlebro.storage.handler import backends
from littlebro.testing.isolation import isolated
from tests.commanding import run

pytestmark = pytest.mark.django_db(transaction=True)

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(number: int, **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": f"e{number}", "name": "seen", "timestamp": T0 + timedelta(days=number), "received_at": T0,
        "params": {}, "context": {}, "user_id": f"user-{number % 3}", "anonymous_id": "device", **fields,
    }  # fmt: skip
    return Event(**given)


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.LITTLEBRO = {
        "default": {"BACKEND": "simple"},
        "audit": {"BACKEND": "simple", "COLLECTION": "audit"},
        "file": {"BACKEND": "log", "LOCATION": str(tmp_path / "events.jsonl")},
    }
    settings.LITTLEBRO_LAKE = tmp_path / "lake"
    return tmp_path / "lake"


def seen() -> int:
    with open_reader() as reader:
        return int(reader.rows("SELECT count(*) FROM events")[0][0])


def test_sync_and_lake(folder: Path, settings: Any) -> None:
    """`sync` fills one lake for aliases of one store; `lake` tells what is in it, as text and as JSON."""
    backends["default"].save_many([made(number) for number in range(5)] + [made(9, collection="audit")])
    assert run("lake")[::2] == (0, "default: there is no lake yet; `littlebro sync` makes it\n")
    assert run("sync")[:2] == (0, "default: 6 events added, 6 in all\n")
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["default"]
    code, out, _ = run("lake")
    assert code == 0
    assert "events       6 on 6 days, from 2026-03-01 12:00:00+00:00" in out
    told = json.loads(run("lake", "--json", "--alias", "audit")[1])
    assert told[0]["collections"] == {"littlebro": 5, "audit": 1}
    assert told[0]["links"] == 1
    next((folder / "default").glob("events*")).write_bytes(b"")
    assert run("sync")[:2] == (0, "default: 0 events added, 6 in all, 1 days mended\n")
    assert run("lake", "verify")[2] == "default: 0 events added, 0 days mended\n"
    assert run("lake", "rebuild")[2] == "default: 6 events added, 0 days mended\n"
    settings.LITTLEBRO_LAKE = None
    assert run("sync")[0] == run("lake")[0] == 2


def test_forget_and_purge(folder: Path, settings: Any) -> None:
    """Both reach the lake, and say so where there is one."""
    settings.LITTLEBRO = {"default": {"BACKEND": "simple", "RETENTION_DAYS": 365_000}}
    backends["default"].save_many([made(number) for number in range(6)])
    run("sync")
    out = run("forget", "--user", "user-1", "--no-input")[1]
    assert "default: backend: 2 deleted\n" in out
    assert "default: lake: 2 deleted\n" in out
    assert seen() == 4
    settings.LITTLEBRO = {"default": {"BACKEND": "simple", "RETENTION_DAYS": 1}}
    assert "4 events" in run("purge")[1]
    assert seen() == 0
    settings.LITTLEBRO_LAKE = None
    assert "lake" not in run("forget", "--user", "user-1", "--no-input")[1]


def test_beat(folder: Path, settings: Any) -> None:
    """Beat syncs once a minute; a store that is away is logged and keeps no other from its turn."""
    from littlebro.tasks import sync

    assert beat_schedule()["littlebro.sync"]["schedule"] == 60.0
    settings.LITTLEBRO = {"gone": {"BACKEND": "tests.commanding.Away"}, **settings.LITTLEBRO}
    backends["default"].save_many([made(1)])
    sync()
    assert json.loads(run("lake", "--json", "--alias", "default")[1])[0]["events"] == 1
    settings.LITTLEBRO_LAKE = None
    sync()
    assert seen() == 1


def test_without_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a report says which one is missing."""
    import sys

    from littlebro.analysis.engine import engine

    engine.reset()
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with (
        pytest.raises(
            ImproperlyConfigured,
            match=r'which is not installed: pip install "django-littlebro\[analytics\]"$',
        ),
        open_reader(),
    ):
        pass


@pytest.mark.parametrize(
    "name, value",
    [
        ("LITTLEBRO_LAKE", 7),
        ("LITTLEBRO_LAKE", ""),
        ("LITTLEBRO_LAKE", "lake"),  # each process would have one where it happens to start
        ("LITTLEBRO_ANALYSIS_SECONDS", 0),
        ("LITTLEBRO_ANALYSIS_SECONDS", "30"),
        ("LITTLEBRO_ANALYSIS_THREADS", 0),
        ("LITTLEBRO_ANALYSIS_TAIL_EVENTS", 0),
        ("LITTLEBRO_ANALYSIS_MEMORY", "plenty"),
    ],
)
def test_wrong_settings(folder: Path, settings: Any, name: str, value: Any) -> None:
    """A setting that cannot be meant is told by its name."""
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=f"{name} must be"):
        seen()


def test_a_test_run_has_a_lake_of_its_own(settings: Any, tmp_path: Path) -> None:
    """The lake in the settings is not filled from a test database."""
    settings.LITTLEBRO_LAKE = str(tmp_path / "real")
    with isolated(tmp_path / "own"):
        assert setting("LITTLEBRO_LAKE") == tmp_path / "own" / "lake"
        with isolated():
            assert setting("LITTLEBRO_LAKE") == tmp_path / "own" / "lake"
    assert setting("LITTLEBRO_LAKE") == str(tmp_path / "real")
