"""Files become events: stable ids, sources of every kind, and what a run says became of every line."""

import datetime
import gzip
import io
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from littlebro import EventQuery, hookimpl, trackers
from littlebro.events.event import Event
from littlebro.exceptions import InvalidEvent
from littlebro.importing import BadLine, Importer, SourceError, Summary, open_source
from littlebro.importing.identity import Identities
from littlebro.importing.source import MAX_LINE
from littlebro.models import DeadLetter
from littlebro.storage import SaveResult
from littlebro_backends.memory import Backend as MemoryBackend

Settings = Any  # the class of the fixture has one name in one version and another in the next
DATA = Path(__file__).parent.parent.parent / "shared" / "data"
ACCESS_LOG = DATA / "access.log.gz"
COMMITS = DATA / "commits.jsonl.gz"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real log is not part of the repository")

START = '192.0.2.77 - - [17/May/2015:10:05:03 +0200] "GET /a?token=1 HTTP/1.1"'
LINE = START + ' 200 203 "http://u:p@example.org/b?q=1#c" "Agent/1.0"'


def run(path: Path | str, file_format: str, alias: str = "default", **options: Any) -> Summary:
    with open_source(str(path)) as source:
        return Importer(file_format, alias, **options).run(source)


def stored(alias: str = "default", **query: Any) -> list[Event]:
    return trackers[alias].events(EventQuery(**query), limit=10_000).events


@pytest.fixture
def memory(settings: Settings, db: None, location: str) -> None:
    """An alias that keeps events in memory."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": location}}


@pytest.fixture
def location(tmp_path: Path) -> str:
    """Name a store in memory of this test alone."""
    return str(tmp_path)


class TestIdentity:
    """Ids are made from content and occurrence."""

    def test_same_file_same_ids(self) -> None:
        """Equal lines are told apart, and a second pass makes the same ids."""
        passes = []
        for _ in range(2):
            identities = Identities("combined")
            passes.append([identities.of(line) for line in (b"a", b"b", b"a", b"a")])
        assert passes[0] == passes[1]
        assert len(set(passes[0])) == 4
        assert Identities("common").of(b"a") != passes[0][0]

    def test_memory_a_line(self) -> None:
        """A hundred thousand different lines cost about 100 bytes each."""
        identities = Identities("combined")
        tracemalloc.start()
        try:
            for n in range(100_000):
                identities.of(b"%d" % n)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert used < 12_000_000


class TestSource:
    """Plain and gzip files and pipes, with flat memory."""

    @pytest.mark.parametrize("packed", [False, True])
    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
        """Gzip is told by its first bytes also where they come one at a time."""
        content = b"a\nb\n"
        content = gzip.compress(content) if packed else content
        reader, writer = os.pipe()

        def write() -> None:
            with os.fdopen(writer, "wb", buffering=0) as stream:
                for byte in content:
                    stream.write(bytes([byte]))

        thread = threading.Thread(target=write)
        thread.start()
        with os.fdopen(reader, "rb") as pipe:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(pipe))
            with open_source("-") as source:
                assert [line for _, line in source.lines()] == [b"a\n", b"b\n"]
                assert (source.size, source.position) == (None, len(content))
        thread.join()

    def test_several_gzip_members(self, tmp_path: Path) -> None:
        """Logs packed piece by piece are read as one."""
        path = tmp_path / "log"
        path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b"))
        with open_source(str(path)) as source:
            assert [line for _, line in source.lines()] == [b"a\n", b"b"]

    def test_a_line_without_end(self, tmp_path: Path) -> None:
        """A line over the limit is one bad line, skipped with flat memory; those after it are read."""
        path = tmp_path / "log.gz"
        path.write_bytes(gzip.compress(b"x" * 50 * MAX_LINE + b"\nlast\n"))
        tracemalloc.start()
        try:
            with open_source(str(path)) as source:
                (_, bad), (number, line) = source.lines()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(bad, BadLine)
        assert (number, line) == (2, b"last\n")
        assert peak < 8 * MAX_LINE

    def test_cut_off(self, tmp_path: Path) -> None:
        """A gzip file without its end says so, with the line where it breaks."""
        path = tmp_path / "log.gz"
        path.write_bytes(gzip.compress(os.urandom(20_000).hex().encode() + b"\n" * 5)[:-9000])
        with open_source(str(path)) as source, pytest.raises(SourceError, match="breaks off in line 1"):
            list(source.lines())

    def test_damaged(self, tmp_path: Path) -> None:
        """A gzip file whose bytes were changed says so."""
        path = tmp_path / "log.gz"
        content = bytearray(gzip.compress(b"a\n" * 1000))
        content[-6] ^= 255
        path.write_bytes(content)
        with open_source(str(path)) as source, pytest.raises(SourceError, match="cannot be read beyond line"):
            list(source.lines())

    def test_other_compressions(self, tmp_path: Path) -> None:
        """They are named, with the tool that unpacks them."""
        path = tmp_path / "log"
        path.write_bytes(b"\x28\xb5\x2f\xfd....")
        with (
            pytest.raises(SourceError, match="zstd-compressed; unpack it first: zstdcat"),
            open_source(str(path)),
        ):
            pass

    def test_what_cannot_be_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder, a missing file, no standard input."""
        for path, said in ((tmp_path, "directory"), (tmp_path / "no", "No such file")):
            with pytest.raises(SourceError, match=said), open_source(str(path)):
                pass
        monkeypatch.setattr("sys.stdin", None)
        with pytest.raises(SourceError, match="no standard input"), open_source("-"):
            pass


class Picky(MemoryBackend):
    """Refuses events named "no"."""

    def save_many(self, events: Any) -> SaveResult:
        refused = {(event.collection, event.id): "not this one" for event in events if event.name == "no"}
        result = super().save_many([event for event in events if event.name != "no"])
        return SaveResult(result.stored, result.duplicates, refused)


class Away(MemoryBackend):
    """Is away."""

    def save_many(self, events: Any) -> SaveResult:
        raise OperationalError("server has gone away")


class Mute(MemoryBackend):
    """Cannot tell new from old, as MariaDB."""

    def save_many(self, events: Any) -> SaveResult:
        result = super().save_many(events)
        return SaveResult(result.stored + (result.duplicates or 0), None, result.refused)


class MuteAndBlind(Mute):
    """Cannot count either."""

    supports_count = False


class Dropper:
    """Drops what it is told to."""

    @hookimpl
    def littlebro_drop_event(self, event: Any) -> str | None:
        return "unwanted" if event.name == "drop" else None


dropper = Dropper()


class TestRun:
    """A run stores what is good and counts the rest."""

    @pytest.fixture(autouse=True)
    def _memory(self, memory: None) -> None:
        pass

    def test_twice(self, tmp_path: Path) -> None:
        """Two equal lines are two events, and a second run stores none, also when the log has grown."""
        path = tmp_path / "log"
        path.write_text(f"{LINE}\n\n{LINE}\nnonsense\n")
        bad: list[BadLine] = []
        first = run(path, "combined", on_bad=bad.append)
        assert (first.read, first.stored, first.present, first.bad) == (3, 2, 0, 1)
        assert [str(item) for item in bad] == ["line 4: not the combined format"]
        path.write_text(f"{LINE}\n{LINE}\n{LINE}\n")
        second = run(path, "combined")
        assert (second.stored, second.present) == (1, 2)
        assert len(stored()) == 3

    def test_own_ids_are_kept(self, tmp_path: Path) -> None:
        """A JSON line with an id keeps it."""
        path = tmp_path / "events.jsonl"
        path.write_text('{"id":"mine","name":"n","timestamp":"2026-01-01T00:00:00"}\n')
        run(path, "jsonl")
        (event,) = stored()
        assert event.id == "mine"
        # A naive time is read in the current zone, Nepal's.
        assert event.timestamp == datetime.datetime(2025, 12, 31, 18, 15, tzinfo=datetime.UTC)

    def test_the_pipeline_holds(self, tmp_path: Path, settings: Settings) -> None:
        """Records are validated, redacted and dropped as calls are; context given is kept."""
        settings.LITTLEBRO_PLUGINS = ["tests.test_importing.dropper"]
        path = tmp_path / "events.jsonl"
        path.write_text(
            '{"name":"n","timestamp":"2026-01-01","params":{"password":"x"},"context":{"plan":"pro"}}\n'
            '{"name":"n","timestamp":"2026-01-01","params":{"x":"\\u0000"}}\n'
            '{"name":"n","timestamp":"2026-01-01","params":[]}\n'
            '{"name":"n","timestamp":"2026-01-01","id":5}\n'
            '{"name":"drop","timestamp":"2026-01-01"}\n'
        )
        summary = run(path, "jsonl")
        assert (summary.read, summary.stored, summary.bad, summary.dropped) == (5, 1, 3, 1)
        assert sorted(reason.split(":")[0] for reason in summary.reasons) == ["id", "params", "params.x"]
        (event,) = stored()
        assert (event.params, event.context) == ({"password": "[redacted]"}, {"plan": "pro"})

    @pytest.mark.parametrize("strict", [False, True])
    def test_a_context_that_is_unfit(self, tmp_path: Path, settings: Settings, strict: bool) -> None:
        """It makes a bad line: nothing of a line is left out unseen."""
        settings.LITTLEBRO_STRICT = strict
        path = tmp_path / "events.jsonl"
        unfit = ["5", "[]", '[["a",1]]', '""', "false", '{"a":"\\u0000"}', '{"a":{"b":18446744073709551616}}']
        lines = [f'{{"name":"n","timestamp":"2026-01-01","context":{context}}}\n' for context in unfit]
        path.write_text("".join([*lines, '{"name":"n","timestamp":"2026-01-01","context":null}\n']))
        bad: list[BadLine] = []
        summary = run(path, "jsonl", on_bad=bad.append)
        assert (summary.stored, summary.bad) == (1, len(unfit))
        said = [f"line {n}: context: must be an object" for n in range(1, 6)]
        said += ["line 6: context.a: holds NUL", "line 7: context.a.b: an integer beyond"]
        assert [str(item)[: len(start)] for item, start in zip(bad, said, strict=True)] == said

    def test_what_the_backend_refuses(self, tmp_path: Path, settings: Settings, location: str) -> None:
        """It becomes a dead letter, shown with its line."""
        settings.LITTLEBRO = {"default": {"BACKEND": "tests.test_importing.Picky", "LOCATION": location}}
        path = tmp_path / "events.csv"
        path.write_text("name,timestamp\nyes,2026-01-01\nno,2026-01-01\n")
        bad: list[BadLine] = []
        summary = run(path, "csv", on_bad=bad.append)
        assert (summary.stored, summary.refused, summary.reasons["not this one"]) == (1, 1, 1)
        assert [str(item) for item in bad] == ["line 3: not this one"]
        assert DeadLetter.objects.get().name == "no"

    def test_the_backend_away(self, tmp_path: Path, settings: Settings, location: str) -> None:
        """The run ends with what the backend raised."""
        settings.LITTLEBRO = {"default": {"BACKEND": "tests.test_importing.Away", "LOCATION": location}}
        path = tmp_path / "log"
        path.write_text(LINE)
        with pytest.raises(OperationalError), open_source(str(path)) as source:
            Importer("combined").run(source)

    @pytest.mark.parametrize("backend, second", [("Mute", (0, 2)), ("MuteAndBlind", (None, None))])
    def test_a_backend_that_cannot_tell(
        self, tmp_path: Path, settings: Settings, location: str, backend: str, second: tuple[Any, Any]
    ) -> None:
        """What is new is counted before and after; where that cannot be, it is unknown and not a guess."""
        settings.LITTLEBRO = {"default": {"BACKEND": f"tests.test_importing.{backend}", "LOCATION": location}}
        path = tmp_path / "log"
        path.write_text(f"{LINE}\n{LINE}\n")
        run(path, "combined")
        summary = run(path, "combined")
        assert (summary.stored, summary.present) == second

    def test_what_was_read_before_a_break_is_stored(self, tmp_path: Path) -> None:
        """A truncated file is an error, its good part is not lost."""
        path = tmp_path / "log.gz"
        lines = "".join(LINE.replace("Agent", os.urandom(99).hex()) + "\n" for _ in range(2000))
        path.write_bytes(gzip.compress(lines.encode())[:-20_000])
        with open_source(str(path)) as source:
            importer = Importer("combined")
            with pytest.raises(SourceError):
                importer.run(source)
        assert importer.summary.stored == importer.summary.read == len(stored()) > 1000

    def test_reasons_are_bounded(self, tmp_path: Path) -> None:
        """A hostile file does not make the table of reasons grow for ever."""
        path = tmp_path / "events.jsonl"
        path.write_text("".join(f'{{"k{n}":1}}\n' for n in range(300)))
        summary = run(path, "jsonl")
        assert len(summary.reasons) == 101
        assert summary.reasons.total() == summary.bad == 300

    def test_collection(self, tmp_path: Path) -> None:
        """It holds for all lines; one that cannot be is refused before the file is read."""
        path = tmp_path / "events.jsonl"
        path.write_text('{"name":"n","timestamp":"2026-01-01","collection":"a"}\n')
        run(path, "jsonl")
        run(path, "jsonl", collection="b")
        assert [event.collection for event in stored(collections=("a", "b"))] == ["a", "b"]
        with pytest.raises(InvalidEvent, match="collection"):
            run(path, "jsonl", collection="no good")

    @needs_data
    def test_real_events(self) -> None:
        """The 4,789 commits arrive with their own ids."""
        assert run(COMMITS, "jsonl").stored == 4789
        assert run(COMMITS, "jsonl").present == 4789
        assert len({event.user_id for event in stored()}) == 132


@needs_data
@pytest.mark.django_db(transaction=True)
def test_the_real_log_twice(database_alias: str, settings: Settings) -> None:
    """10,000 events of 1,753 addresses, 213 not found; the second run stores none, on every database."""
    settings.LITTLEBRO_IP = "full"
    settings.LITTLEBRO = {"default": {"LOCATION": database_alias}}
    first = run(ACCESS_LOG, "combined")
    assert (first.read, first.stored, first.present, first.bad) == (10_000, 10_000, 0, 0)
    second = run(ACCESS_LOG, "combined")
    assert (second.stored, second.present) == (0, 10_000)
    events = stored()
    assert sum(event.params["status"] == 404 for event in events) == 213
    assert len({event.context["ip"] for event in events}) == 1753
