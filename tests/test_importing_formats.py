"""What each format of a file makes of a line."""

import datetime
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from littlebro.importing import BadLine, Record, SourceError
from littlebro.importing.access_log import read_combined, read_common, read_vhost_combined
from littlebro.importing.csv_table import read_csv
from littlebro.importing.jsonl import read_jsonl
from littlebro.importing.source import MAX_LINE

Settings = Any  # the class of the fixture has one name in one version and another in the next
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
            (LINE.replace(" 203 ", f" {'9' * 5000} "), "not the combined format"),
            (f"example.org:443 {LINE}", "not the combined format; it fits --format vhost_combined"),
            (
                f"[2001:db8::1]:8080 {LINE.replace('- - [', '- jane [')}",
                "not the combined format; it fits --format vhost_combined",
            ),
        ],
    )
    def test_bad_lines(self, line: str, said: str) -> None:
        """What cannot be parsed at all is a bad line with its number and the reason."""
        assert said in reason(read_combined(numbered(line)))

    def test_the_other_format_is_named(self) -> None:
        """Combined lines read as common ones say so."""
        assert "it fits --format combined" in reason(read_common(numbered(LINE)))

    @pytest.mark.parametrize("host", ["example.org:443", "203.0.113.5:80", "[2001:db8::1]:8080", "x:1"])
    def test_the_virtual_host_before_it(self, host: str) -> None:
        """Apache's vhost_combined is the combined format behind it."""
        line = f"{host} {LINE.replace('- - [', '- jane [')}"
        (record,) = read_vhost_combined(numbered(line), user_from_log=True)
        assert one(record).arguments == {**combined(LINE), "user": "jane"}
        assert "it fits --format combined" in reason(read_vhost_combined(numbered(LINE)))

    @pytest.mark.parametrize(
        "start", ["2001:db8::1 - jane doe", "192.0.2.77:51234 - jane doe", "2001:db8::1 - -"]
    )
    def test_colons_that_are_no_virtual_host(self, start: str) -> None:
        """An address may hold colons, and a user spaces."""
        assert combined(LINE.replace("192.0.2.77 - -", start))["params"]["path"] == "/a"

    def test_a_hostile_line_takes_no_time(self) -> None:
        """No line makes the expressions go back and forth."""
        for line in ("1.2.3.4 - " + " [" * 200_000, START + ' 200 1 "' + "\\" * 200_001, "a" * 900_000):
            reason(read_combined(numbered(line)))


class TestJsonLines:
    """One object a line, with the keys of our own export."""

    def test_all_keys(self) -> None:
        """A line is what `track_event` takes; null is as good as absent."""
        (without,) = read_jsonl(numbered('{"name":"n","timestamp":"2026-01-02","v":null}'))
        assert set(one(without).arguments) == {"name", "timestamp"}
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
            *(
                (f'{{"name":"n","timestamp":"2026-01-01","v":{v}}}', "v: must be a whole number")
                for v in ("true", '"1"', "0", "1.0", "-1", "[]")
            ),
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
            ("name,timestamp,params.", "unknown key 'params.'"),
            ("name,timestamp,context.", "unknown key 'context.'"),
            ('name,"timestamp', "The first line is no header of ours: not CSV"),
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

    @pytest.mark.parametrize(
        "bad, said",
        [
            ('bad,2026-01-01,"{', "line 4: not CSV"),
            # The next quote closes it, so that the rows between are part of one that is CSV.
            ('bad,2026-01-01,"', "line 4: params: not JSON"),
            ('"bad,2026-01-01,', "line 4: 3 cells under 3 columns"),
        ],
    )
    @pytest.mark.parametrize("closed", [True, False])
    def test_a_quote_left_open(self, bad: str, said: str, closed: bool) -> None:
        """The rows after it are read, whether another quote comes or none."""
        rows = [f"ok{n},2026-01-01,\n" for n in range(2000)]
        rows[2] = f"{bad}\n"
        if closed:
            rows[1500] = bad.replace("bad", "worse") + "\n"
        items = list(read_csv(numbered("name,timestamp,params\n", *rows)))
        names = [item.arguments["name"] for item in items if isinstance(item, Record)]
        assert names == [row.split(",")[0] for row in rows if row.startswith("ok")]
        assert [item.line for item in items if isinstance(item, BadLine)] == [4, 1502][: 1 + closed]
        assert [one(item).line for item in items if isinstance(item, Record)][-1] == 2001

    def test_a_quote_left_open_before_a_line_too_long(self) -> None:
        """Both are bad, and what stands between them is read."""
        lines: list[tuple[int, bytes | BadLine]] = [
            (1, b"name,timestamp\n"), (2, b'"n,2026-01-01\n'), (3, b"n,2026-01-01\n"), (4, BadLine("too long", 4)),
            (5, b"n,2026-01-01\n"),
        ]  # fmt: skip
        items = list(read_csv(iter(lines)))
        assert [item.line for item in items] == [2, 3, 4, 5]
        assert [str(item) for item in items if isinstance(item, BadLine)] == [
            "line 2: not CSV: a quote is left open",
            "line 4: too long",
        ]

    def test_a_quote_left_open_takes_no_memory(self) -> None:
        """However long the file is: a row is no longer than a line may be."""
        row = b"n,2026-01-01," + b"1" * 1000 + b"\n"
        lines = [b"name,timestamp,params.n\n", b'n,2026-01-01,"\n']
        feed = ((n, lines[n - 1] if n < 3 else row) for n in range(1, 20_000))
        tracemalloc.start()
        try:
            counts = Counter(type(item) for item in read_csv(feed))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert counts == {Record: 19_997, BadLine: 1}
        assert peak < 8 * MAX_LINE

    def test_a_hostile_file_takes_no_time(self) -> None:
        """Every line leaves a quote open for all the others: each is one bad row, and is not read for ever."""
        items = list(read_csv(numbered("name,timestamp,params\n", *['x",y,"\n'] * 50_000)))
        assert [item.line for item in items] == list(range(2, 50_002))
        assert all(isinstance(item, BadLine) for item in items)
