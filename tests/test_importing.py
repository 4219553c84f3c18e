"""Files become events: what each format makes of a line, stable ids, and what a run says became of every line."""

import datetime
import gzip
import io
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from littlebro import EventQuery, hookimpl, trackers
from littlebro.events.event import Event
from littlebro.exceptions import InvalidEvent
from littlebro.importing import BadLine, Importer, Record, SourceError, Summary, open_source
from littlebro.importing.access_log import read_combined, read_common
from littlebro.importing.csv_table import read_csv
from littlebro.importing.identity import Identities
from littlebro.importing.jsonl import read_jsonl
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


def numbered(*lines: str | bytes) -> Iterator[tuple[int, bytes]]:
    """Give lines as a source does."""
    return iter([(n, line.encode() if isinstance(line, str) else line) for n, line in enumerate(lines, 1)])


def one(item: Record | BadLine) -> Record:
    assert isinstance(item, Record), item
    return item


def combined(line: str | bytes, **options: bool) -> dict[str, Any]:
    return one(*read_combined(numbered(line), **options)).arguments


def reason(items: Iterator[Record | BadLine]) -> str:
    (bad,) = items
    assert isinstance(bad, BadLine)
    return str(bad)


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


class TestAccessLog:
    """An access-log line is a `page-accessed` under the privacy settings of a request."""

    def test_fields(self, settings: Settings) -> None:
        """Path and referrer come without query, the address shortened, numbers as numbers, time in UTC."""
        assert combined(LINE) == {
            "name": "page-accessed",
            "timestamp": datetime.datetime(2015, 5, 17, 8, 5, 3, tzinfo=datetime.UTC),
            "params": {"path": "/a", "method": "GET", "status": 200, "bytes": 203},
            "context": {"ip": "192.0.2.0", "user_agent": "Agent/1.0", "referrer": "http://example.org/b"},
        }
        settings.LITTLEBRO_IP = "full"
        assert combined(LINE)["context"]["ip"] == "192.0.2.77"
        settings.LITTLEBRO_IP = "off"
        assert "ip" not in combined(LINE)["context"]

    def test_common_has_neither_referrer_nor_agent(self) -> None:
        """The common format ends after the bytes; a dash there is none, and is 0."""
        (record,) = read_common(numbered(START + " 304 -"))
        assert one(record).arguments["params"]["bytes"] == 0
        assert one(record).arguments["context"] == {"ip": "192.0.2.0"}

    @pytest.mark.parametrize(
        "request_line, method, path",
        [
            ("GET /caf%C3%A9%20x HTTP/1.1", "GET", "/café x"),
            ("GET /%00x HTTP/1.1", "GET", "/%00x"),
            ("GET /%ff HTTP/1.1", "GET", "/%FF"),
            ("GET //evil.example/x HTTP/1.1", "GET", "//evil.example/x"),
            ("GET http://a:b@example.org/x?y HTTP/1.1", "GET", "/x"),
            ("GET http://example.org HTTP/1.1", "GET", "/"),
            ("CONNECT example.org:443 HTTP/1.1", "CONNECT", "example.org:443"),
            ("OPTIONS * HTTP/1.0", "OPTIONS", "*"),
            ("GET /a b HTTP/1.1", "GET", "/a b"),
            ("GET /old", "GET", "/old"),
            (r"GET /say\"hi\"\\ HTTP/1.1", "GET", '/say"hi"\\'),
            (r"GET /\x22\xe9 HTTP/1.1", "GET", (r"/" r'"\xe9')),
            ("-", None, None),
            ("", None, None),
            (r"\x16\x03\x01\x02", None, None),
        ],
    )
    def test_request_lines(self, request_line: str, method: str | None, path: str | None) -> None:
        """What is no request is kept, with neither method nor path; a path is what `request.path` says."""
        line = f'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{request_line}" 400 0 "-" "-"'
        params = combined(line)["params"]
        assert (params["method"], params["path"]) == (method, path)
        assert params["status"] == 400

    @pytest.mark.parametrize(
        "tail, agent",
        [
            (r'"-" "say \"hi\" \\o/"', r'say "hi" \o/'),
            ('"-" "cut off', "cut off"),
            ('"-" "more" "203.0.113.9" 0.004', "more"),
            ('"-" "-"', None),
            (b'"-" "\xff\xc3\xa9"', "\\xffé"),
        ],
    )
    def test_agents(self, tail: str | bytes, agent: str | None) -> None:
        """Escaped quotes, a missing last quote, further fields and bytes that are no UTF-8 are borne."""
        tail = tail.encode() if isinstance(tail, str) else tail
        assert combined(START.encode() + b" 200 1 " + tail)["context"].get("user_agent") == agent

    def test_user_is_left_out_unless_asked_for(self) -> None:
        """The log's user is a login name and no primary key."""
        line = LINE.replace("- - [", "- jane doe [")
        assert "user" not in combined(line)
        assert combined(line, user_from_log=True)["user"] == "jane doe"
        assert "user" not in combined(LINE, user_from_log=True)

    def test_a_host_name_is_no_address(self, settings: Settings) -> None:
        """HostnameLookups writes names, which the address policy cannot shorten."""
        settings.LITTLEBRO_IP = "full"
        assert "ip" not in combined(LINE.replace("192.0.2.77", "dialup.example.org"))["context"]

    @pytest.mark.parametrize("line", [b"\xef\xbb\xbf" + LINE.encode() + b"\r\n", LINE.encode()])
    def test_line_ends_and_byte_order_mark(self, line: bytes) -> None:
        """Neither belongs to the line."""
        assert combined(line)["context"]["ip"] == "192.0.2.0"

    @pytest.mark.parametrize(
        "line, said",
        [
            ("nonsense", "line 1: not the combined format"),
            (START + " 200 12", "it fits --format common"),
            (LINE.replace("17/May", "31/Feb"), "the time stamp is no time"),
            (LINE.replace("May", "Mai"), "the time stamp is no time"),
            (
                LINE.replace("17/May/2015", "01/Jan/0001").replace("+0200", "+1200"),
                "the time stamp is no time",
            ),
            (LINE.replace("+0200", "+9900"), "the time stamp is no time"),
        ],
    )
    def test_bad_lines(self, line: str, said: str) -> None:
        """What cannot be parsed at all is a bad line with its number and the reason."""
        assert said in reason(read_combined(numbered(line)))

    def test_the_other_format_is_named(self) -> None:
        """Combined lines read as common ones say so."""
        assert "it fits --format combined" in reason(read_common(numbered(LINE)))

    def test_a_hostile_line_takes_no_time(self) -> None:
        """No line makes the expressions go back and forth."""
        for line in ("1.2.3.4 - " + " [" * 200_000, START + ' 200 1 "' + "\\" * 200_001, "a" * 900_000):
            reason(read_combined(numbered(line)))


class TestJsonLines:
    """One object a line, with the keys of our own export."""

    def test_all_keys(self) -> None:
        """A line is what `track_event` takes; null is as good as absent."""
        (record,) = read_jsonl(
            numbered(
                b'\xef\xbb\xbf{"id":"a","name":"n","timestamp":"2026-01-02T03:04:05.000006Z","params":{"x":9007199254740993},'
                b'"context":{"y":1},"user_id":7,"anonymous_id":null,"collection":"c","v":1}'
            )
        )
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
        assert one(record).arguments == {
            "event_id": "a", "name": "n", "timestamp": moment, "params": {"x": 9007199254740993},
            "context": {"y": 1}, "user": 7, "collection": "c",
        }  # fmt: skip

    @pytest.mark.parametrize(
        "line, said",
        [
            ("[1]", "not a JSON object"),
            ("{", "not JSON"),
            ("[" * 100_000, "nested too deep"),
            (b'{"name":"\xff"}', "not JSON"),
            ('{"name":"n"}', "timestamp: missing"),
            ('{"timestamp":"2026-01-01"}', "name: missing"),
            ('{"name":"n","timestamp":12}', "timestamp: must be text in ISO 8601"),
            ('{"name":"n","timestamp":"yesterday"}', "timestamp: not ISO 8601"),
            (
                '{"name":"n","timestamp":"2026-01-01","prams":{}}',
                "unknown key 'prams'. Did you mean 'params'?",
            ),
            ('{"name":"n","timestamp":"2026-01-01","v":2}', "newer format"),
            ('{"name":"n","timestamp":"2026-01-01","v":true}', "newer format"),
        ],
    )
    def test_bad_lines(self, line: str | bytes, said: str) -> None:
        """Each has its reason."""
        assert said in reason(read_jsonl(numbered(line)))


class TestCsv:
    """A header with our columns, and rows."""

    def test_single_columns(self) -> None:
        """`params.x` cells are numbers, true, false, null or text; an apostrophe says text."""
        header = "name,timestamp,params,params.n,params.t,params.e,params.f,context.a.b\n"
        (record,) = read_csv(numbered(header, 'n,2026-01-01T00:00:00Z,"{""o"":1}",-1.5,true,,\'=1+1,007\n'))
        arguments = one(record).arguments
        assert arguments["params"] == {"o": 1, "n": -1.5, "t": True, "f": "=1+1"}
        assert arguments["context"] == {"a.b": "007"}

    def test_rows_over_several_lines(self) -> None:
        """A quoted cell may hold line ends; numbers are those of the row's first line."""
        items = list(
            read_csv(
                numbered(
                    "\ufeffname,timestamp,params.x\n", '"n",2026-01-01,"a\r\n', 'b"\n', "\n", "n,2026-01-01\n"
                )
            )
        )
        assert one(items[0]).line == 2
        assert one(items[0]).arguments["params"] == {"x": "a\r\nb"}
        assert str(items[1]) == "line 5: 2 cells under 3 columns"

    @pytest.mark.parametrize(
        "cells, said",
        [
            ('n,2026-01-01,"x"y', "not CSV"),
            ("n,2026-01-01,{", "params: not JSON"),
            ("n,2026-01-01,[1]", "params: not a JSON object"),
            ("n,2026-13-01,", "timestamp: not ISO 8601"),
            (",2026-01-01,", "name: missing"),
        ],
    )
    def test_bad_rows(self, cells: str, said: str) -> None:
        """A bad row is one row; those after it are read."""
        items = list(read_csv(numbered("name,timestamp,params\n", cells + "\n", "n,2026-01-01,{}\n")))
        assert said in str(items[0])
        assert one(items[1]).arguments["name"] == "n"

    @pytest.mark.parametrize(
        "header, said",
        [
            ("name;timestamp", "separated by commas"),
            ("name,timestamp,parms", "Did you mean 'params'?"),
            ("name,timestamp,name", "names name twice"),
            ("name,params", "no column 'timestamp'"),
        ],
    )
    def test_bad_headers(self, header: str, said: str) -> None:
        """A wrong header is the file's fault, not each line's."""
        with pytest.raises(SourceError, match=said):
            list(read_csv(numbered(header + "\n")))

    def test_lines_too_long(self) -> None:
        """A line that the source cut short is a bad row."""
        lines: Iterator[tuple[int, bytes | BadLine]]
        lines = iter([(1, b"name,timestamp\n"), (2, BadLine("too long", 2)), (3, b"n,2026-01-01\n")])
        bad, good = read_csv(lines)
        assert str(bad) == "line 2: too long"
        assert one(good).line == 3


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
