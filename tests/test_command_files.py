"""``manage.py littlebro``: import and export."""

import csv
import datetime
import errno
import gzip
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from littlebro import EventQuery, trackers
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate
from tests.commanding import DAY, LINE, event, in_memory, run, save, site

Settings = Any  # the class of the fixture has one name in one version and another in the next


@pytest.fixture(autouse=True)
def _site(settings: Settings, db: None, journal: Path) -> None:
    site(settings, journal)


@pytest.fixture
def memory(settings: Settings, tmp_path: Path) -> None:
    """Backends that need no table."""
    in_memory(settings, tmp_path)


class TestImport:
    """The command around `littlebro.importing`."""

    def test_summary_and_bad_lines(self, tmp_path: Path) -> None:
        """The first bad lines are shown, all are counted, the good ones are stored; exit code 1."""
        path = tmp_path / "access.log"
        path.write_text(f"{LINE}\n{LINE}\n" + "bad\n" * 5)
        code, out, said = run("import", str(path), "--format", "combined", "--show", "2")
        assert code == 1
        assert out.startswith("read 7, stored 2, already there 0, refused 5; ")
        assert "  5 x not the combined format" in out
        assert "line 3: not the combined format\nline 4:" in said
        assert "line 5:" not in said
        assert said.endswith("5 bad lines were left out.")
        path.write_text(f"{LINE}\n{LINE}\n")
        code, out, said = run("import", str(path), "--format", "combined")
        assert (code, said) == (0, "")
        assert out.startswith("read 2, stored 0, already there 2, refused 0; ")

    def test_options(self, memory: None, tmp_path: Path) -> None:
        """Alias, collection and the log's user."""
        path = tmp_path / "access.log"
        path.write_text(LINE.replace("- - [", "- jane ["))
        words = ("import", str(path), "--format", "combined", "--alias", "copy", "--collection", "c")
        assert run(*words, "--user-from-log")[0] == 0
        (found,) = iterate(backends["copy"], EventQuery())
        assert (found.collection, found.user_id, found.name) == ("c", "jane", "page-accessed")

    @pytest.mark.parametrize(
        "words, said",
        [
            (["no-such-file", "--format", "csv"], "no-such-file cannot be opened: No such file"),
            (["-", "--format", "csv", "--collection", "a b"], "--collection 'a b' must be"),
            (["-", "--format", "csv", "--user-from-log"], "belongs to the access logs"),
        ],
    )
    def test_usage(self, words: list[str], said: str) -> None:
        """What makes no sense is refused before anything is stored."""
        code, _, told = run("import", *words)
        assert code == 2
        assert said in told

    def test_wrong_header(self, tmp_path: Path) -> None:
        """A CSV that is none of ours is a usage error."""
        path = tmp_path / "x.csv"
        path.write_text("a,b\n1,2\n")
        code, _, said = run("import", str(path), "--format", "csv")
        assert code == 2
        assert "The first line is no header of ours: unknown key 'a'" in said
        path.write_text("name,timestamp,params.\n1,2,3\n")
        code, _, said = run("import", str(path), "--format", "csv")
        assert code == 2
        assert "unknown key 'params.'" in said

    def test_refused_and_dropped(self, settings: Settings, tmp_path: Path) -> None:
        """Both are told, dead letters by where they are found."""
        settings.LITTLEBRO = {"default": {"BACKEND": "tests.test_importing.Picky", "LOCATION": str(tmp_path)}}
        settings.LITTLEBRO_PLUGINS = ["tests.test_importing.dropper"]
        path = tmp_path / "x.csv"
        path.write_text("name,timestamp\nno,2026-01-01\nyes,2026-01-01\ndrop,2026-01-01\n")
        code, out, said = run("import", str(path), "--format", "csv")
        assert code == 1
        assert "stored 1, already there 0, refused 1, dropped 1;" in out
        assert "1 events were refused by the backend (`littlebro deadletters list`)." in said

    @pytest.mark.parametrize("error", [OperationalError("gone away"), KeyboardInterrupt()])
    def test_ended_early(self, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The summary is shown, and what to do."""

        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(trackers["default"], "deliver", fail)
        path = tmp_path / "access.log"
        path.write_text(LINE)
        code, out, said = run("import", str(path), "--format", "combined")
        assert code == 1
        assert out.startswith("read 1, stored 0")
        assert "run the same command again, nothing is stored twice" in said

    def test_broken_file(self, tmp_path: Path) -> None:
        """What was read is stored, and the exit code tells of the rest."""
        path = tmp_path / "access.log.gz"
        path.write_bytes(gzip.compress(f"{LINE}\n".encode() * 3)[:-8])
        code, out, said = run("import", str(path), "--format", "combined")
        assert code == 1
        assert "stored 3" in out
        assert "breaks off in line 4" in said

    def test_at_least_once(self, settings: Settings, tmp_path: Path) -> None:
        """A backend that cannot tell old from new is not credited with it."""
        settings.LITTLEBRO = {"default": {"BACKEND": "log", "LOCATION": str(tmp_path / "out")}}
        path = tmp_path / "access.log"
        path.write_text(LINE)
        assert "at least once" in run("import", str(path), "--format", "combined")[2]

    def test_progress_on_a_terminal(
        self, memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line that counts, taken away at the end."""

        class Screen(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr("littlebro.commands.import_file._EVERY", -1)
        path = tmp_path / "access.log"
        path.write_text(f"{LINE}\nbad\n")
        screen = Screen()
        with pytest.raises(CommandError):
            call_command(
                "littlebro", "import", str(path), "--format", "combined", stdout=Screen(), stderr=screen
            )
        assert "100% 2 lines, " in screen.getvalue()
        assert screen.getvalue().endswith("\r\x1b[K")


class TestExport:
    """The command around `littlebro.exporting`."""

    @pytest.fixture(autouse=True)
    def _events(self, memory: None) -> None:
        at = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
        save(
            event("1", timestamp=at, name="a", user_id="7", params={"x": "=1"}),
            event("2", timestamp=at + DAY, name="b", anonymous_id="z"),
            event("3", timestamp=at + 2 * DAY, name="c", collection="audit"),
        )

    @pytest.mark.parametrize(
        "words, ids",
        [
            ([], ["1", "2"]),
            (["--all-collections"], ["1", "2", "3"]),
            (["--collection", "audit"], ["3"]),
            (["--name", "a", "--name", "c"], ["1"]),
            (["--user", "7"], ["1"]),
            (["--anonymous", "z"], ["2"]),
            (["--start", "2026-01-02"], ["2"]),
            # Days and times without a zone are those of the site: Nepal is 5:45 ahead.
            (["--start", "2026-01-01T17:45:00"], ["1", "2"]),
            (["--start", "2026-01-01T17:45:01"], ["2"]),
            (["--end", "2026-01-02T12:00:00Z"], ["1"]),
            (["--alias", "copy"], []),
        ],
    )
    def test_filters(self, words: list[str], ids: list[str]) -> None:
        """The alias's own collection unless told otherwise; the interval is half open."""
        code, out, _ = run("export", *words)
        assert code == 0
        assert [json.loads(line)["id"] for line in out.splitlines()] == ids

    def test_csv(self) -> None:
        """Columns as asked for; safe."""
        _, out, _ = run("export", "--format", "csv", "--columns", "id, params.x")
        assert list(csv.reader(io.StringIO(out, newline=""))) == [["id", "params.x"], ["1", "'=1"], ["2", ""]]

    @pytest.mark.parametrize(
        "words, said",
        [
            (["--start", "soon"], "--start 'soon' is no time"),
            (["--format", "csv", "--columns", "nme"], "There is no column 'nme'"),
            (["--columns", "id"], "--columns belongs to --format csv"),
            (["--output", "/no/such/folder/x"], "/no/such/folder/x cannot be written: No such file"),
            (["--output", "/"], "/ cannot be written: Is a directory."),
            (["--output", ""], "--output wants the name of a file"),
            (["--output", "a\0b"], "cannot be written"),
        ],
    )
    def test_usage(self, words: list[str], said: str) -> None:
        """With what would be right."""
        code, _, told = run("export", *words)
        assert code == 2
        assert said in told

    def test_times_given_in_code(self) -> None:
        """`call_command` may pass dates."""
        assert run("export", start=datetime.date(2026, 1, 2))[1].count("\n") == 1

    def test_output(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that appears whole, for its owner alone; after an error there is none, and the old one stays."""
        path = tmp_path / "events.jsonl"
        assert run("export", "--output", str(path))[0] == 0
        assert path.stat().st_mode & 0o777 == 0o600
        whole = path.read_bytes()

        def fail(*_: Any) -> Any:
            yield event()
            raise OperationalError("gone away")

        monkeypatch.setattr("littlebro.commands.export_events.iterate", fail)
        code, _, said = run("export", "--output", str(path))
        assert code == 1
        assert said.startswith(
            "Not all was exported: default could not be read: OperationalError: gone away."
        )
        assert path.read_bytes() == whole
        assert list(tmp_path.glob(".events*")) == []

    @pytest.mark.parametrize("error", [ConnectionError("Connection refused."), KeyError("at")])
    def test_a_store_that_is_away(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever a stranger's store raises: alias and reason, exit code 1; the pieces before stay written."""

        def scan(*_: Any) -> Any:
            yield from [event(str(number)) for number in range(300)]
            raise error

        monkeypatch.setattr("littlebro_backends.memory.Backend.scan", scan)
        code, out, said = run("export", "--alias", "copy")
        assert (code, out.count("\n")) == (1, 200)
        assert said.startswith(f"Not all was exported: copy could not be read: {type(error).__name__}: ")
        assert ". Is its store up, and was `manage.py littlebro setup` run?" in said
        assert ".." not in said

    def test_a_disk_that_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The sentence is about the file, not about the store; nothing of it is left."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(full))
        code, _, said = run("export", "--output", str(tmp_path / "events.jsonl"))
        assert (code, list(tmp_path.glob(".events*"))) == (1, [])
        assert said == f"{tmp_path}/events.jsonl could not be written: No space left on device."

    def test_what_a_killed_export_left_is_in_nobodys_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where both had the same pid, as in a container."""
        with monkeypatch.context() as killed:
            killed.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(SystemExit(9)))
            killed.setattr("pathlib.Path.unlink", lambda *_, **__: None)
            with pytest.raises(SystemExit):
                run("export", "--output", str(tmp_path / "events.jsonl"))
        assert list(tmp_path.glob(".events*")) != []
        assert run("export", "--output", str(tmp_path / "events.jsonl"))[0] == 0

    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        """What it points to is written, also where that is not there yet."""
        link, target = tmp_path / "link", tmp_path / "folder" / "target"
        target.parent.mkdir()
        link.symlink_to(target)
        for _ in range(2):
            assert run("export", "--output", str(link))[0] == 0
            assert link.is_symlink()
            assert target.read_bytes().count(b"\n") == 2
            assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        """A FIFO is written into, and stays one."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
        reader.start()
        assert run("export", "--output", str(fifo))[0] == 0
        assert fifo.is_fifo()
        reader.join()
        assert read[0].count(b"\n") == 2

    def test_a_device(self) -> None:
        """So is a device; a terminal of the test's own is one that no mistake can harm."""
        master, slave = os.openpty()
        try:
            assert run("person", "--user", "7", "--output", os.ttyname(slave)) == (0, "", "")
            assert b'"id":"1"' in os.read(master, 10_000)
        finally:
            os.close(master)
            os.close(slave)

    def test_standard_output_by_its_path(self) -> None:
        """It is no file to be replaced, whatever it was sent to."""
        assert run("export", "--output", "/dev/stdout") == run("export")

    @pytest.mark.parametrize("words", [("export",), ("person", "--user", "7")])
    def test_standard_output_is_utf_8(self, words: tuple[str, ...]) -> None:
        """Whatever the encoding of the terminal is."""
        save(event("4", user_id="7", params={"x": "Łódź ≥ 😀"}))
        beneath = io.BytesIO()
        stream = io.TextIOWrapper(beneath, encoding="latin-1")
        call_command("littlebro", *words, stdout=stream)
        written = beneath.getvalue()
        assert written.count(b"\n") == (3 if words == ("export",) else 2)
        assert "Łódź ≥ 😀".encode() in written
