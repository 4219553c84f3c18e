"""``manage.py littlebro``: what it says of itself, of its parts, and of what waits and was lost."""

import datetime
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from littlebro import trackers
from littlebro.commands import SUBCOMMANDS
from littlebro.commands.base import explain, printable, table
from littlebro.delivery import losses
from littlebro.management.commands.littlebro import Command
from littlebro.models import LossCount
from tests.commanding import AWAY, journaled, letter, run, site

Settings = Any  # the class of the fixture has one name in one version and another in the next


@pytest.fixture(autouse=True)
def _site(settings: Settings, db: None, journal: Path) -> None:
    site(settings, journal)


class TestCommand:
    """One command, and its manners."""

    def test_every_subcommand_has_help(self) -> None:
        """A sentence each, in the list and by itself."""
        help_text = Command().create_parser("manage.py", "littlebro").format_help()
        for name, module in SUBCOMMANDS.items():
            assert name in help_text
            assert module.HELP.endswith(".")

    @pytest.mark.parametrize("words", [["nope"], [], ["status", "--nope"], ["import", "x"]])
    def test_usage_errors_exit_with_2(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """As every program does."""
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "littlebro", *words])
        assert ended.value.code == 2
        assert "usage:" in capsys.readouterr().err

    def test_django_options_after_the_subcommand(self) -> None:
        """They are understood on either side."""
        parser = Command(stdout=io.StringIO()).create_parser("manage.py", "littlebro")
        assert vars(parser.parse_args(["status", "-v", "0", "--traceback"]))["verbosity"] == 0
        assert vars(parser.parse_args(["-v", "3", "status"]))["verbosity"] == 3

    def test_unknown_alias(self) -> None:
        """Names the nearest."""
        code, _, said = run("status", "--alias", "defult")
        assert (code, said) == (
            2,
            "LITTLEBRO has no alias 'defult'. Did you mean 'default'? Known: audit, default.",
        )

    def test_wrong_settings(self, settings: Settings) -> None:
        """A sentence that starts with the setting, no traceback."""
        settings.LITTLEBRO = {"default": {"BACKEND": "simpel"}}
        code, _, said = run("export")
        assert code == 2
        assert said.startswith("LITTLEBRO['default']: BACKEND 'simpel' is not installed.")

    def test_terminal_escapes_are_spelt_out(self) -> None:
        """What was sent in must not drive the terminal of whoever looks."""
        assert printable("a\x1b[2J\u202eé😀") == r"a\x1b[2J\u202eé😀"
        assert explain(ValueError("refused:\n'\x9b2J'")) == r"ValueError: refused: '\x9b2J'"
        assert [len(line) for line in table([["語", "x"], ["ab", "x"]])] == [4, 5]

    def test_a_reader_that_has_enough(self, tmp_path: Path) -> None:
        """`export | head` ends quietly with exit code 1."""
        script = (
            "import sys, django; django.setup()\n"
            "from django.core.management import execute_from_command_line\n"
            "from tests.commanding import event\n"
            "from littlebro.storage.handler import backends\n"
            "backends['default'].save_many([event(str(n), params={'x': 'y' * 900}) for n in range(2000)])\n"
            "execute_from_command_line(['manage.py', 'littlebro', 'export'])\n"
        )
        settings_file = tmp_path / "piped_settings.py"
        settings_file.write_text(
            "from tests.settings import *\nLITTLEBRO = {'default': {'BACKEND': 'memory'}}\n"
        )
        root = str(Path(__file__).parent.parent)
        env = {
            "PYTHONPATH": f"{root}:{tmp_path}",
            "DJANGO_SETTINGS_MODULE": "piped_settings",
            "PATH": "/usr/bin",
        }
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=root
        )
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.read(10)
        child.stdout.close()
        assert (child.wait(60), child.stderr.read()) == (1, b"")
        child.stderr.close()

    @pytest.mark.parametrize("words", ["export", "export --format csv", "status", "status --json"])
    @pytest.mark.parametrize("out, why", [(">/dev/full", "No space left on device"), (">&-", "it is closed")])
    def test_an_answer_that_cannot_be_written(self, tmp_path: Path, words: str, out: str, why: str) -> None:
        """A sentence and exit code 1, and no word of Python's own when it ends."""
        (tmp_path / "site_settings.py").write_text(
            "SECRET_KEY = 'x'\nINSTALLED_APPS = ['littlebro']\nUSE_TZ = True\n"
            f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {str(tmp_path / 'db')!r}}}}}\n"
        )
        root = str(Path(__file__).parent.parent)
        env = {
            "PYTHONPATH": f"{root}:{tmp_path}",
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PATH": "/usr/bin",
        }
        script = (
            "import django; django.setup()\n"
            "from django.core.management import call_command, execute_from_command_line\n"
            "call_command('migrate', verbosity=0)\n"
            "import littlebro; littlebro.tracker.track_event('x')\n"
            f"execute_from_command_line(['manage.py', 'littlebro', *{words.split()}])\n"
        )
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$0" -c "$1" {out}', sys.executable, script],
            capture_output=True, text=True, env=env, cwd=root, check=False,
        )  # fmt: skip
        said = f"CommandError: Standard output could not be written: {why}.\n"
        assert (done.returncode, done.stderr) == (1, said)


class TestStatus:
    """What waits, what was lost, what is dead, what runs."""

    def test_text(self) -> None:
        """For a person, with the destinations by name."""
        LossCount.objects.create(
            alias="default", reason="journal-full", day=datetime.date(2026, 1, 1), source="a", n=2
        )
        LossCount.objects.create(
            alias="default", reason="journal-full", day=datetime.date(2026, 1, 1), source="b", n=3
        )
        letter()
        code, out, _ = run("status")
        assert code == 0
        assert out.startswith("littlebro ")
        assert "database SQLite 3." in out
        assert "default: tracker thread, backend simple" in out
        assert "for the backend:  0 segments" in out
        assert "journal-full:  5" in out
        assert "dead letters of the backend: 1" in out
        assert "audit: tracker dummy, backend simple\n  journal: none" in out

    def test_json(self) -> None:
        """For a machine: the same, with what this process counted itself."""
        losses.count("audit", "invalid", 4)
        letter(sink="audit")
        code, out, _ = run("status", "--json", "--alias", "audit")
        report = json.loads(out)
        assert code == 0
        assert set(report["aliases"]) == {"audit"}
        assert report["aliases"]["audit"]["losses"] == {"invalid": 4}
        assert set(report["versions"]) == {"littlebro", "django", "python", "database"}
        losses.drain("audit")
        _, out, _ = run("status", json=True)
        assert json.loads(out)["aliases"]["default"]["dead_letters"] == {"audit": 1}

    def test_what_waits_and_why(self, settings: Settings, journal: Path) -> None:
        """An outage shows as segments, and as the last error."""
        options = journaled(journal)
        settings.LITTLEBRO = {"default": {**options, "BACKEND": AWAY}}
        trackers["default"].track_event("n", on_commit=False)
        trackers["default"].flush(0.5)
        code, out, _ = run("status", "--json")
        state = json.loads(out)["aliases"]["default"]
        assert code == 0
        assert state["journal"]["destinations"][""]["segments"] == 1
        assert "server has gone away" in state["last_errors"][""]
        assert state["backend_trouble"] == ["does not answer: OperationalError: server has gone away"]
        _, out, _ = run("status")
        assert "last error of the backend: " in out
        assert "backend: does not answer" in out

    def test_a_journal_that_may_not_be_entered(self, journal: Path) -> None:
        """That of another account, for instance: the other aliases are shown, and this one is named."""
        (journal / "default").parent.mkdir(exist_ok=True)
        (journal / "default").symlink_to("default")  # which not even root gets into
        code, out, said = run("status")
        assert code == 1
        assert "audit: tracker" in out
        assert "Cannot be read: LITTLEBRO['default']: " in said
        assert str(journal / "default") in said

    def test_broken_alias(self, settings: Settings) -> None:
        """One wrong alias is shown beside the right ones; the exit code tells."""
        settings.LITTLEBRO = {"default": {}, "bad": {"BACKEND": "simpel"}}
        code, out, said = run("status")
        assert code == 1
        assert "default: tracker dummy" in out
        assert "LITTLEBRO['bad']: BACKEND 'simpel' is not installed." in said

    def test_database_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then the journal is shown all the same."""

        def fail(*_: Any) -> None:
            raise OperationalError("no route")

        monkeypatch.setattr("littlebro.commands.status._read_tables", fail)
        monkeypatch.setattr("django.db.backends.sqlite3.base.DatabaseWrapper.get_database_version", fail)
        code, out, said = run("status")
        assert code == 1
        assert "journal: /" in out
        assert "Cannot be read: losses and dead letters: OperationalError: no route" in said
        assert "Cannot be read: database 'default': OperationalError: no route" in said


class TestPlugins:
    """Which parts there are."""

    def test_parts_and_failures(self, settings: Settings) -> None:
        """Each with its package; a broken one with its reason, beside the good ones."""
        settings.LITTLEBRO_PLUGINS = ["tests.no_such_plugin", "tests.test_importing.dropper"]
        code, out, _ = run("plugins")
        assert code == 0
        assert "trackers  thread" in out
        assert "django-littlebro" in out
        assert "(tests.no_such_plugin) failed: " in out
        assert "works: littlebro_drop_event" in out
        _, out, _ = run("plugins", "--json")
        assert {part["kind"] for part in json.loads(out)} == {"trackers", "backends", "plugins"}

    def test_an_extra_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What lacks nothing but a library is no failure: the requirement to install stands in its line."""
        monkeypatch.setitem(sys.modules, "pymongo", None)
        monkeypatch.delitem(sys.modules, "littlebro_backends.mongo", raising=False)
        line = next(line for line in run("plugins")[1].splitlines() if "backends  mongo" in line)
        assert line.endswith('needs pip install "django-littlebro[mongo]"')
        assert "failed" not in run("plugins")[1]

    def test_nothing_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A checkout that was never installed says so."""
        monkeypatch.setattr("littlebro.commands.plugins.installed", lambda _kind: [])
        assert "Was the package installed?" in run("plugins")[1]
