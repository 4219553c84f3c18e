"""The example packages: installed by pip beside a running site, found and named at the next start, gone when removed.

And each keeps the contract of its kind.
"""

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littlebro.events.event import Event
from littlebro.plugins import registry
from littlebro.storage import BaseBackend
from littlebro.testing.contracts import BackendContract, TrackerContract, make_event
from tests import redis_server
from tests.services import demanded

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PARTS = {
    "littlebro-redis": ("backends", "redis", "1.0", 60),
    "littlebro-user-agent": ("plugins", "user-agent", "1.1", 30),
    "littlebro-pool": ("trackers", "pool", "0.3", 60),
}
CHROME = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Mobile Safari/537.36"
)


def lines_of_code(file: Path) -> int:
    """Count the lines of a module that hold neither a docstring nor a comment alone, nor nothing."""
    text = file.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    empty = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in empty:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - documented)


@pytest.mark.parametrize("name", list(PARTS))
def test_an_example_is_short(name: str) -> None:
    """An example is one module of few lines, and its pyproject.toml."""
    files = [file.relative_to(EXAMPLES / name) for file in (EXAMPLES / name).rglob("*") if file.is_file()]
    sources = [file for file in files if file.suffix == ".py"]
    assert len(sources) == 1
    assert lines_of_code(EXAMPLES / name / sources[0]) <= PARTS[name][3]


def pip(*arguments: str) -> None:
    """Run pip offline, with what this environment has to build with."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr


INSTALL = ("install", "--no-deps", "--no-build-isolation", "--no-index")

# Where the site runs


class Host:
    """A Python environment of its own that sees everything of this one, and a site in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120
        )
        self.python = folder / "venv/bin/python"
        packages = next((folder / "venv/lib").glob("python*/site-packages"))
        ours = [path for path in sys.path if path.endswith("site-packages")]
        lines = [f"import site; site.addsitedir({path!r})" for path in ours]
        (packages / "shared.pth").write_text("\n".join(lines))
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))},
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(ROOT),
            "LITTLEBRO_TEST_FOLDER": str(folder),
        }

    def plugins(self) -> list[dict[str, Any]]:
        """Return what `manage.py littlebro plugins` says of a site that starts now."""
        done = subprocess.run(
            [self.python, ROOT / "tests/manage.py", "littlebro", "plugins", "--json"],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode in {0, 1}, done.stderr
        parts: list[dict[str, Any]] = json.loads(done.stdout)
        return parts

    def start(self) -> subprocess.Popen[str]:
        """Start a site that tracks an event a line it reads, and says so."""
        code = (
            "import sys, django; django.setup(); from django.test import override_settings\n"
            "from littlebro import tracker\n"
            "with override_settings(LITTLEBRO={'default': {'BACKEND': 'memory'}}):\n"
            "    for line in sys.stdin: print(tracker.track_event(line.strip()).context, flush=True)\n"
        )
        return subprocess.Popen(
            [self.python, "-W", "ignore", "-c", code], env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip


def ask(site: subprocess.Popen[str], name: str) -> str:
    assert site.stdin is not None
    assert site.stdout is not None
    site.stdin.write(f"{name}\n")
    site.stdin.flush()
    return site.stdout.readline().strip()


@pytest.mark.slow
def test_found_when_installed_and_gone_when_removed(tmp_path: Path) -> None:
    """Beside a running site each package is installed, named with its version at the next start, and removed."""
    for library in ("redis", "ua_parser"):
        pytest.importorskip(library)  # the packages are installed without what they need
    host = Host(tmp_path)
    names = {part[1] for part in PARTS.values()}
    with host.start() as site:
        assert ask(site, "before") == "{}"
        assert not names & {part["name"] for part in host.plugins()}
        pip("--python", str(host.python), *INSTALL, *(str(EXAMPLES / name) for name in PARTS))
        found = {part["name"]: part for part in host.plugins()}
        for package, (kind, name, version, _) in PARTS.items():
            assert (found[name]["kind"], found[name]["package"], found[name]["version"]) == (
                kind,
                package,
                version,
            )
            assert not found[name]["error"]
        assert ask(site, "while it is installed") == "{}"
        pip("--python", str(host.python), "uninstall", "--yes", *PARTS)
        assert not names & {part["name"] for part in host.plugins()}
        assert ask(site, "after") == "{}"
        assert site.stdin is not None
        site.stdin.close()
        assert site.wait(20) == 0


# What they promise


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the examples into a folder on the path of this process."""
    folder = tmp_path_factory.mktemp("examples")
    pip(*INSTALL, "--target", str(folder), *(str(EXAMPLES / name) for name in PARTS))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in ("littlebro_redis", "littlebro_user_agent", "littlebro_pool"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    pytest.importorskip("redis")
    if redis_server.find() is None:
        (pytest.fail if demanded() else pytest.skip)("redis-server is not installed (Debian: redis-server)")
    made = redis_server.RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.stop()


@pytest.mark.usefixtures("installed")
class TestRedis(BackendContract):
    """The backend in Redis."""

    @pytest.fixture(autouse=True)
    def _server(self, server: redis_server.RedisServer, installed: Path) -> None:
        self.server = server
        server.client().flushall()

    def make_backend(self) -> BaseBackend:
        found = registry.find("backends", "redis", "default")
        made: BaseBackend = found("default", self.server.url, dict(found.option_defaults))
        return made

    def break_backend(self, backend: BaseBackend) -> None:
        self.server.stop()

    def heal_backend(self, backend: BaseBackend) -> None:
        self.server.start()

    def unstorable_event(self) -> Event:
        return make_event(params={"text": "half a character: \ud800"})


@pytest.mark.usefixtures("installed")
class TestPool(TrackerContract):
    """The tracker with a pool of threads."""

    tracker = "pool"


@pytest.mark.django_db
def test_the_enricher_tells_browser_system_and_device(installed: Path, settings: Any, rf: Any) -> None:
    """The user agent of a request becomes facts of the event; one that says nothing adds nothing."""
    pytest.importorskip("ua_parser")
    from littlebro import tracker, trackers

    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": "examples"}}
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = ["user-agent"]
    trackers.reset()
    tracker.track_event("seen", request=rf.get("/", headers={"user-agent": CHROME}))
    tracker.track_event("unseen", request=rf.get("/", headers={"user-agent": "-"}))
    tracker.track_event("nobody")
    first, *others = tracker.events().events
    assert {name: first.context[name] for name in ("browser", "browser_version", "os", "device")} == {
        "browser": "Chrome Mobile", "browser_version": "126", "os": "Android", "device": "Pixel 8",
    }  # fmt: skip
    assert not any("browser" in event.context for event in others)
