"""What happens to a lake when things go wrong: reports are right afterwards, and never wrong meanwhile."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from littlebro import tracker
from littlebro.analysis import lake
from littlebro.analysis.engine import engine
from littlebro.analysis.lake.manifest import lake_of
from littlebro.analysis.reader import open_reader
from littlebro.analysis.scratch import Scratch
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import AnalysisError, AnalysisTimeout, LakeError
from littlebro.storage.handler import backends

pytestmark = pytest.mark.django_db(transaction=True)

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)

CHILD = """
import os, random, sys
import django
from django.conf import settings
django.setup()
settings.LITTLEBRO = {"default": {"BACKEND": "simple"}}
settings.LITTLEBRO_LAKE = sys.argv[1]
from tests.test_lake_faults import made
from littlebro.analysis.lake import sync as sync_lake
import littlebro.analysis.lake.sync, littlebro.analysis.lake.write
from littlebro.storage.handler import backends
sys.modules["littlebro.analysis.lake.sync"].CHUNK = 40
chance = random.Random()
first = int(sys.argv[2])
backends["default"].save_many([made(first)])
print("go", flush=True)
for number in range(first + 1, first + 1000):
    backends["default"].save_many([made(number * 1000 + n) for n in range(30)])
    sync_lake(wait=30, verify=chance.random() < 0.3)
"""


def made(number: int) -> Event:
    return Event(
        id=f"e{number}", name="seen", timestamp=T0 + timedelta(hours=number * 7 % 100), received_at=T0,
        params={"n": number}, context={}, user_id=str(number % 5) if number % 2 else None,
        anonymous_id=f"a{number % 9}",
    )  # fmt: skip


def ids() -> list[str]:
    with open_reader() as reader:
        return [row[0] for row in reader.rows("SELECT id FROM people ORDER BY ts, id")]


def stored() -> list[str]:
    return [event.id for event in backends["default"].scan(EventQuery())]


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.LITTLEBRO = {"default": {"BACKEND": "simple"}}
    settings.LITTLEBRO_LAKE = tmp_path / "lake"
    return tmp_path / "lake" / "default"


@pytest.fixture
def filled(folder: Path) -> Path:
    for part in range(3):
        backends["default"].save_many([made(100 * part + number) for number in range(100)])
        lake.sync()
    return folder


def live(folder: Path, kind: str) -> Path:
    """Return a file that reports read: of events, of links, or the manifest."""
    found = lake_of("default")
    manifest = found.load() if found else None
    assert manifest is not None
    names = [file.name for file in manifest.on_disk() if file.name.startswith(kind)]
    return folder / (min(names) if names else "manifest.json")


@pytest.mark.slow
@pytest.mark.parametrize("database_alias", ["sqlite"], indirect=True)
def test_killed_at_random(folder: Path, database_url: str) -> None:
    """Twenty syncs are killed, while reports are asked for: none is wrong, before, during or after."""
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "LITTLEBRO_TEST_DATABASE_URL": database_url,
    }  # fmt: skip
    chance = random.Random(5)
    for number in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder.parent), str(number * 1000)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        end = time.monotonic() + chance.uniform(0.05, 1.5)
        while time.monotonic() < end:
            before = set(stored())
            found = ids()
            assert len(set(found)) == len(found)
            assert before <= set(found) <= set(stored())
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert ids() == stored()
    lake.sync(wait=10)
    assert ids() == stored()
    assert lake.verify().mended == 0
    found_lake, manifest = lake_of("default"), lake_of("default").load()  # type: ignore[union-attr]
    assert found_lake is not None
    assert manifest is not None
    named = {file.name for file in manifest.on_disk()} | {entry.name for entry in manifest.removed}
    assert {path.name for path in folder.iterdir()} <= named | {"manifest.json", "lock"}


def test_two_syncs_at_once(folder: Path) -> None:
    """Of several syncs at once each event comes in once; one that does not wait says so."""
    backends["default"].save_many([made(number) for number in range(300)])

    def bring(_: int) -> int:
        try:
            return lake.sync(wait=30).added
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(bring, range(4))) == [0, 0, 0, 300]
    assert ids() == stored()
    found = lake_of("default")
    assert found is not None
    with found.writing(), pytest.raises(lake.Busy, match="another process"):
        lake.sync()
    assert ids() == stored()


def test_deleted_folder(filled: Path) -> None:
    """A lake that is deleted is rebuilt; until then the store itself is read."""
    shutil.rmtree(filled)
    assert ids() == stored()
    lake.sync()
    shutil.rmtree(filled.parent)
    assert ids() == stored()
    assert lake.sync().added == 300
    assert ids() == stored()


def test_full_disk(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Report and sync say so, and go on where there is room again."""

    def full(*_: Any) -> Path:
        path = tmp_path / "full"
        path.symlink_to("/dev/full")
        return path

    backends["default"].save_many([made(1000)])
    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "file", full)
        for ask in (ids, lake.sync):
            with pytest.raises(LakeError, match="No space left"):
                ask()
    assert ids() == stored()
    assert lake.sync().added == 1


def test_folder_that_cannot_be_written(filled: Path, settings: Any) -> None:
    """Report and sync name it; not even root makes a folder in /sys."""
    settings.LITTLEBRO_LAKE = "/sys/littlebro"
    for ask in (ids, lake.sync):
        with pytest.raises(LakeError, match="/sys/littlebro"):
            ask()


@pytest.mark.parametrize("kind", ["events", "links", "people", "manifest"])
@pytest.mark.parametrize("harm", ["truncated", "gone", "empty"])
def test_damaged_file(filled: Path, kind: str, harm: str) -> None:
    """A file that is cut short or missing is found out before a report reads it, and its days are read again."""
    path = live(filled, kind)
    if harm == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2 if harm == "truncated" else 0)
    assert ids() == stored()
    lake.sync()
    assert ids() == stored()
    assert lake.verify().mended == 0


def test_damaged_in_the_middle(filled: Path) -> None:
    """A byte that changed in a file of the same size is found by verifying."""
    path = live(filled, "events")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert lake.verify().mended
    assert ids() == stored()


@pytest.mark.parametrize("kind", ["events", "links", "people"])
def test_damaged_beyond_reading(filled: Path, kind: str) -> None:
    """What no longer is Parquet, of the same size, is an error that says what mends it; and that does."""
    path = live(filled, kind)
    path.write_bytes(path.read_bytes()[:-100] + b"\xff" * 92 + path.read_bytes()[-8:])
    backends["default"].save_many([made(1001)])
    engine.reset()  # it knows the ends of files that it has read
    for ask in (ids, lake.sync):
        with pytest.raises(LakeError, match="littlebro lake verify"):
            ask()
    lake.verify()
    assert ids() == stored()
    assert lake.verify().mended == 0


def test_damaged_and_the_store_away(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged lake whose store does not answer is an error, not a wrong number."""
    live(filled, "events").unlink()

    def away(*_: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(type(backends["default"]), "scan", away)
    with pytest.raises(OSError, match="no route"):
        ids()


def test_fresh(filled: Path) -> None:
    """An event is in the answer as soon as it is stored, whether it is in the lake or not."""
    for number in range(5):
        start = time.monotonic()
        tracker.track_event("just-now", {"n": number}, event_id=f"now-{number}")
        assert f"now-{number}" in ids()
        assert time.monotonic() - start < 3
        if number == 2:
            lake.sync()


def test_long_tail_is_synced_first(filled: Path, settings: Any) -> None:
    """A tail that is longer than it may be goes into the lake before the report; without a lake the report says so."""
    settings.LITTLEBRO_ANALYSIS_TAIL_EVENTS = 20
    backends["default"].save_many([made(1000 + number) for number in range(30)])
    assert ids() == stored()
    report = lake.contents()
    assert report is not None
    assert report.events == 330
    settings.LITTLEBRO_LAKE = None
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="LITTLEBRO_LAKE"):
        ids()
    with pytest.raises(LakeError, match="not set"):
        lake.sync()


def test_threads(filled: Path) -> None:
    """Many threads ask while events are stored and synced: each answer is whole."""
    stop = threading.Event()

    def ask(_: int) -> int:
        n = 0
        try:
            while not stop.is_set():
                before = set(stored())
                found = ids()
                assert len(found) == len(set(found))
                assert before <= set(found)
                n += 1
        finally:
            connections.close_all()
        return n

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        for part in range(8):
            backends["default"].save_many([made(5000 + 50 * part + number) for number in range(50)])
            lake.sync()
        stop.set()
        assert all(future.result() for future in asking)
    assert ids() == stored()


def _answer(pipe: Any) -> None:
    connections.close_all()
    pipe.send(len(ids()))
    pipe.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_after_use(filled: Path) -> None:
    """A child forked after reports were asked for, and one forked while one is, asks for its own and ends."""
    expected = len(ids())
    context = multiprocessing.get_context("fork")

    def in_child() -> None:
        connections.close_all()
        here, there = context.Pipe()
        child = context.Process(target=_answer, args=(there,))
        child.start()
        assert here.poll(30)
        assert here.recv() == expected
        child.join(30)
        assert child.exitcode == 0

    for _ in range(3):
        in_child()
        assert len(ids()) == expected
    with open_reader() as reader:
        in_child()
        assert reader.rows("SELECT count(*) FROM events") == [(expected,)]
    assert len(ids()) == expected


def test_deadline_and_memory(filled: Path, settings: Any) -> None:
    """A question past its time is cut off, and one that needs too much memory; the error names the setting."""
    settings.LITTLEBRO_ANALYSIS_SECONDS = 0.5
    start = time.monotonic()
    with pytest.raises(AnalysisTimeout, match="LITTLEBRO_ANALYSIS_SECONDS"), open_reader() as reader:
        reader.rows(
            "SELECT count(*) FROM range(1000000000) a, range(100000) b WHERE a.range * b.range % 7 = 3"
        )
    assert time.monotonic() - start < 5
    settings.LITTLEBRO_ANALYSIS_SECONDS = 30.0
    settings.LITTLEBRO_ANALYSIS_MEMORY = "100MB"
    settings.LITTLEBRO_ANALYSIS_THREADS = 1
    with pytest.raises(AnalysisError, match="LITTLEBRO_ANALYSIS_MEMORY"), open_reader() as reader:
        reader.rows("SELECT list(a.range) FROM range(100000000) a")
    assert ids() == stored()


def test_sandbox(filled: Path, tmp_path: Path) -> None:
    """What SQL of ours reaches is the lake and a folder of its own; nobody can widen that."""
    import duckdb

    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        "SET enable_external_access = true",
        "SET memory_limit = '10GB'",
        "INSTALL httpfs",
    ):
        with pytest.raises((duckdb.Error, AnalysisError)), open_reader() as reader:
            reader.rows(sql)
    outside = [1]  # noqa: F841 - a variable that SQL must not see
    with pytest.raises(duckdb.Error), open_reader() as reader:
        reader.rows("SELECT * FROM outside")


def test_scratch_of_the_killed(filled: Path) -> None:
    """What a killed process left in its scratch folder is removed by the next one."""
    ids()
    with engine.session(None) as session:
        root = session.instance.scratch.path.parent
    orphan = root / "0123456789abcdef"
    orphan.mkdir()
    (orphan / "lock").touch()
    (orphan / "x.rows").write_text("personal")
    engine.reset()
    assert ids() == stored()
    assert not orphan.exists()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    engine.reset()
