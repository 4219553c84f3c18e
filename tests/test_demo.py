"""`python -m littlebro demo`: its command line, and whole runs that reckon up and leave nothing behind."""

import argparse
import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littlebro.__main__ import main
from littlebro.__version__ import __version__
from littlebro.demo import runner
from littlebro.demo.browser import Address, Browser
from littlebro.demo.ledger import Ledger
from tests.demo_runs import REPOSITORY, Run, gone_within

pytest.importorskip("gunicorn", reason="the demo is served by gunicorn, the extra `demo`")

pytestmark = pytest.mark.slow

PASSWORD = re.compile(r"^Log in as +admin +password +(\S+)$", re.MULTILINE)
DASHBOARD = re.compile(r"^Dashboard +http://[\d.]+:\d+(/\S+)$", re.MULTILINE)
ADDRESS = re.compile(r"^The shop +http://([\d.]+):(\d+)/$", re.MULTILINE)


# The command line.


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--for", "0"], "must be a number above 0"),
        (["--for", "soon"], "invalid"),
        (["--rate", "1e-320"], "must be a number from 0.01 up"),
        (["--rate", "nan"], "must be a number from 0.01 up"),
        (["--port", "70000"], "must be from 0 to 65535"),
        (["--visitors", "33"], "must be from 1 to 32"),
    ],
)
def test_a_wrong_option_is_named(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse's exit code 2, and what would be right."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", *words])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_package_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m littlebro --version`."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out.strip()) == (0, f"django-littlebro {__version__}")


def test_a_missing_server_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without gunicorn the demo says what to install, and does nothing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert 'which is not installed: pip install "django-littlebro[demo]"' in capsys.readouterr().err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo says so before it sets anything up, and how to get another."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"port {port}: Address already in use" in message
    assert "--port 0" in message


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--keep refuses what is neither empty nor a demo's, and what cannot be a folder."""
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", "--port", "0", "--keep", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert main(["demo", "--port", "0", "--keep", str(tmp_path / "thesis.txt")]) == 2
    assert "cannot be made" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_into_is_named(tmp_path: Path) -> None:
    """--keep says so at once; root, who may write anywhere, gives up that power for the test."""
    tmp_path.chmod(0o500)
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if as_others and not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and setpriv is not installed")
    words = [*as_others, sys.executable, "-m", "littlebro", "demo", "--port", "0", "--keep", str(tmp_path)]
    done = subprocess.run(words, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"littlebro demo: {tmp_path} cannot be written into: Permission denied\n"


def test_what_a_terminal_cannot_show_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a locale without an ellipsis the demo says the rest."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    monkeypatch.setattr(runner, "_run", lambda *_: print("Setting up the shop …"))
    runner.main(["--port", "0"])
    assert shown.getvalue() == b"Setting up the shop ?\n"


def test_the_first_signal_asks_and_the_second_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Ctrl-C ends in order, two at once (exit code 130); afterwards the signals are what they were."""
    before = signal.getsignal(signal.SIGINT)
    asked = []

    def run(_options: argparse.Namespace, stop: threading.Event, *_: object) -> int:
        signal.raise_signal(signal.SIGINT)
        asked.append(stop.wait(5))
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the second signal did not interrupt")

    monkeypatch.setattr(runner, "_run", run)
    assert runner.main(["--port", "0"]) == 130
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_finds_the_event_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come at any moment, that at which the demo begins to wait for it too."""

    def late(_number: int, _frame: object) -> None:
        raise AssertionError("the handler waits for what it interrupted")

    def run(_options: argparse.Namespace, stop: threading.Event, *_: object) -> int:
        with stop._cond:  # type: ignore[attr-defined]  # Event.wait holds it for a moment
            signal.raise_signal(signal.SIGTERM)
        return 0 if stop.wait(5) else 1

    monkeypatch.setattr(runner, "_run", run)
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        assert runner.main(["--port", "0"]) == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Whole runs.


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Give a function that starts a demo; none outlives the test."""
    runs: list[Run] = []

    def started(*words: str, stderr: int = subprocess.STDOUT) -> Run:
        runs.append(Run(tmp_path, *words, stderr=stderr))
        return runs[-1]

    yield started
    for run in runs:
        run.close()


def test_a_run_ends_by_itself_and_its_accounts_agree(start: Any) -> None:
    """`--for` ends with a summary in which requests, events tracked and events stored agree; nothing is left."""
    run = start("--for", "3")
    assert run.end() == 0, run.said
    assert "They agree" in run.said
    assert run.number("requests made") == run.number("page-accessed") > 10
    assert run.number("events tracked") == run.number("events stored") > run.number("requests made")
    assert list(run.temporary.iterdir()) == []


def test_the_admin_shows_the_events_and_ctrl_c_ends_in_order(start: Any) -> None:
    """The printed account opens the admin, where the visitors' events are listed; Ctrl-C brings the summary."""
    run = start()
    run.until("The first event was stored")
    address, password = ADDRESS.search(run.said), PASSWORD.search(run.said)
    assert address
    assert password
    host, port = address.groups()
    me = Browser(Address(host, int(port)), "Firefox", Ledger())
    token = me.get("/admin/login/").token
    fields = {"username": "admin", "password": password.group(1), "next": "/admin/littlebro/storedevent/"}
    answer = me.post("/admin/login/", token, fields)
    assert (answer.status, answer.location) == (302, "/admin/littlebro/storedevent/")
    assert "page-accessed" in me.get(answer.location).page
    dashboard = DASHBOARD.search(run.said)
    assert dashboard
    page = me.get(dashboard.group(1))
    assert page.status == 200
    figures = re.search(r"/admin/littlebro/dashboard/panel/figures/[^\"\s]*", page.page)
    assert figures
    events = re.search(r"Events\D*([\d,]{6,})", me.get(figures[0].replace("&amp;", "&")).page)
    assert events, "weeks of history are in it"
    assert me.get("/static/shop/shop.css").status == 200
    assert me.get("/basket/").status == 200

    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0, run.said
    assert "Besides, 1 event of other people" in run.said
    assert "They agree" in run.said
    assert list(run.temporary.iterdir()) == []


def test_a_kept_folder_stays_and_is_used_again(start: Any, tmp_path: Path) -> None:
    """SIGTERM ends in order too; a second run goes on in the same folder and still reckons right."""
    kept = str(tmp_path / "kept")
    first = start("--keep", kept)
    first.until("The first event was stored")
    first.process.terminate()
    assert first.end() == 0, first.said
    second = start("--keep", kept, "--for", "1")
    assert second.end() == 0, second.said
    assert f"Besides, {first.number('events stored')} events" in second.said
    assert {path.name for path in Path(kept).iterdir()} >= {"demo.sqlite3", "journal", "secret-key"}


def test_the_end_of_the_terminal_ends_it_in_order(start: Any) -> None:
    """Whoever closes the window leaves no folder behind."""
    run = start()
    run.until("Ctrl-C ends")
    run.process.send_signal(signal.SIGHUP)
    assert run.end() == 0, run.said
    assert list(run.temporary.iterdir()) == []


def test_a_reader_who_has_enough_ends_it_without_complaint(start: Any) -> None:
    """As `| head` does: exit code 1, no traceback, nothing left."""
    run = start(stderr=subprocess.PIPE)
    run.until("Ctrl-C ends")
    run.process.stdout.close()
    assert run.process.stderr.read() == ""
    assert run.process.wait(60) == 1
    assert list(run.temporary.iterdir()) == []


def test_a_server_that_dies_is_told_and_fails_the_run(start: Any) -> None:
    """The demo ends by itself with exit code 1, and says what happened."""
    run = start()
    run.until("The first event was stored")
    os.kill(run.server, signal.SIGKILL)
    assert run.end() == 1, run.said
    assert "Trouble: the server ended by itself: exit code -9" in run.said
    assert list(run.temporary.iterdir()) == []


def test_the_server_does_not_outlive_a_killed_demo(start: Any) -> None:
    """A demo that dies without a word takes its server with it."""
    run = start()
    run.until("The first event was stored")
    server = run.server
    run.process.kill()
    assert gone_within(20, server)
