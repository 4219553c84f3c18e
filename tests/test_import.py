"""Importing littlebro costs nothing: no library that is not needed, no thread, no file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_PROBE = """
import json, os, sys, threading
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
opened = []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append((os.fsdecode(arguments[0]), str(arguments[1]), arguments[2]))
    elif event in {"socket.connect", "subprocess.Popen", "os.fork", "os.mkdir", "sqlite3.connect"}:
        opened.append((event, "", 0))
sys.addaudithook(hook)
STATEMENT
after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
print(json.dumps({
    "modules": sorted(sys.modules),
    "threads": threading.active_count(),
    "opened": opened,
    "left_open": len(after - before),
}))
"""
_EXTRAS = {"celery", "kombu", "pymongo", "duckdb"}


def probe(statement: str) -> dict[str, Any]:
    """Run a statement in a fresh interpreter, which keeps no bytecode; return what it loaded, started and opened."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", _PROBE.replace("STATEMENT", statement)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    return dict(json.loads(done.stdout))


def files(found: dict[str, Any]) -> list[str]:
    """Return what was opened besides the modules themselves."""
    code = (".py", ".pyc", ".so", ".pth", ".pyd")
    return [name for name, mode, _ in found["opened"] if "w" in mode or not name.endswith(code)]


def test_import_littlebro() -> None:
    """`import littlebro` loads no extra and no models, starts no thread and opens no file."""
    found = probe("import littlebro")
    loaded = set(found["modules"])
    assert "littlebro" in loaded
    assert not loaded & {*_EXTRAS, "django.db.models", "django.db", "littlebro.models"}
    assert found["threads"] == 1
    assert files(found) == []
    assert found["left_open"] == 0


@pytest.mark.parametrize(
    "name", ["tracker", "trackers", "track_event", "bind", "Event", "EventQuery", "hookimpl"]
)
def test_import_of_a_public_name(name: str) -> None:
    """Nor does a public name: a settings file, or a module loaded before the apps are ready, may import it."""
    found = probe(f"from littlebro import {name}")
    loaded = set(found["modules"])
    assert not loaded & {*_EXTRAS, "littlebro.models"}
    assert found["threads"] == 1
    assert found["left_open"] == 0
    assert [name for name in files(found) if "littlebro" in name] == []
