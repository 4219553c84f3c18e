"""Access logs in the "common", "combined" and "vhost_combined" formats of Apache and nginx, as `page-accessed`.

Params are path, method, status and bytes; context is ip, user_agent and referrer, cut down by the same privacy
rules as those of a request: `LITTLEBRO_IP` holds, query strings go. The log's user field is a login name and no
primary key, so it is left out unless asked for. https://httpd.apache.org/docs/2.4/logs.html has the formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.utils.encoding import repercent_broken_unicode

from littlebro.importing.records import BadLine, Record
from littlebro.privacy import clean_path, clean_referrer, clean_user_agent, shorten_ip

__all__ = ["read_combined", "read_common", "read_vhost_combined"]

_Lines = Iterable[tuple[int, bytes | BadLine]]

_COMMON: Final = re.compile(
    r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.*?) "
    r"\[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<time>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) (?P<bytes>\d{1,19}|-)'
)
# The closing quote of the agent may be missing: servers cut a line that outgrows their buffer.
_COMBINED: Final = re.compile(
    _COMMON.pattern + r' "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)(?:"(?: .*)?)?', re.DOTALL
)
# Apache's vhost_combined puts the virtual host and its port before all else.
_VHOST: Final = re.compile(r"\S+:\d{1,5} " + _COMBINED.pattern, re.DOTALL)
_FORMATS: Final = {"vhost_combined": _VHOST, "combined": _COMBINED, "common": _COMMON}
_PORT: Final = re.compile(r".*:\d{1,5}")
_REQUEST: Final = re.compile(
    r"(?P<method>[A-Za-z0-9!#$%&'*+.^_`|~-]+) (?P<target>\S.*?)(?: HTTP/\d(?:\.\d)?)?", re.DOTALL
)
_ORIGIN: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^/@]*@)?(?P<host>[^/]*)")
_ESCAPE: Final = re.compile(r'\\(?:(["\\])|x([2-6][0-9A-Fa-f]|7[0-9A-Ea-e]))')
_MONTHS: Final = {
    name: number
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)  # noqa: SIM905 - shorter
}


def read_common(lines: _Lines, *, user_from_log: bool = False) -> Iterator[Record | BadLine]:
    """Read lines in the common format; a blank one is skipped."""
    yield from _read(lines, "common", user_from_log)


def read_combined(lines: _Lines, *, user_from_log: bool = False) -> Iterator[Record | BadLine]:
    """Read lines in the combined format, which adds referrer and user agent; further fields are ignored."""
    yield from _read(lines, "combined", user_from_log)


def read_vhost_combined(lines: _Lines, *, user_from_log: bool = False) -> Iterator[Record | BadLine]:
    """Read lines in the combined format with the virtual host and its port, which are left out, before it."""
    yield from _read(lines, "vhost_combined", user_from_log)


def _read(lines: _Lines, file_format: str, user_from_log: bool) -> Iterator[Record | BadLine]:
    pattern = _FORMATS[file_format]
    for number, line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        content = line.rstrip(b"\r\n")
        if not content.strip():
            continue
        # Bytes that are no UTF-8 are kept the way servers escape them, \xhh.
        text = content.decode("utf-8-sig" if number == 1 else "utf-8", "backslashreplace")
        found = pattern.fullmatch(text)
        if found is None or _is_shifted(found):
            yield BadLine(_why_not(text, file_format), number)
            continue
        try:
            yield Record(number, content, _arguments(found, user_from_log))
        except ValueError as error:
            yield BadLine(f"the time stamp is no time: {error}", number)


def _is_shifted(found: re.Match[str]) -> bool:
    """Return whether a virtual host was taken for the client, so that client and "-" became "-" and the user."""
    return found["ident"] != "-" and " " in found["user"] and _PORT.fullmatch(found["host"]) is not None


def _why_not(text: str, file_format: str) -> str:
    """Say that `text` is not in the format, and in which it is."""
    fitting = [name for name, pattern in _FORMATS.items() if name != file_format and pattern.fullmatch(text)]
    hint = f"; it fits --format {fitting[0]}" if fitting else ""
    return f"not the {file_format} format{hint}"


def _arguments(found: re.Match[str], user_from_log: bool) -> dict[str, Any]:
    fields = found.groupdict()
    method, path = _request(_unescape(fields["request"]))
    context = {
        # A host name (HostnameLookups) is no address and is left out.
        "ip": shorten_ip(fields["host"]),
        "user_agent": clean_user_agent(_known(fields.get("agent"))),
        "referrer": clean_referrer(_known(fields.get("referrer"))),
    }
    arguments: dict[str, Any] = {
        "name": "page-accessed",
        "timestamp": _moment(fields),
        "params": {
            "path": path,
            "method": method,
            "status": None if fields["status"] == "-" else int(fields["status"]),
            # Apache writes "-" rather than 0 where the answer had no body.
            "bytes": 0 if fields["bytes"] == "-" else int(fields["bytes"]),
        },
        "context": {name: value for name, value in context.items() if value},
    }
    if user_from_log and fields["user"] not in {"-", '""', ""}:
        arguments["user"] = _unescape(fields["user"])
    return arguments


def _moment(fields: dict[str, str]) -> datetime:
    """Return the time in UTC. Month names are English whatever the locale, so that `strptime` will not do."""
    month = _MONTHS.get(fields["month"])
    if month is None:
        raise ValueError("the month is unknown")
    hour, minute, second = map(int, fields["time"].split(":"))
    zone = fields["zone"]
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    place = timezone(-offset if zone[0] == "-" else offset)
    try:
        moment = datetime(int(fields["year"]), month, int(fields["day"]), hour, minute, second, tzinfo=place)
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _request(line: str) -> tuple[str | None, str | None]:
    """Return (method, path) of a request line, or nothing of one that is none: a time-out, TLS bytes, a probe."""
    found = _REQUEST.fullmatch(line)
    if found is None or line == "-":
        return None, None
    return found["method"], _path(found["target"])


def _path(target: str) -> str:
    """Return a request's target as `request.path` would say it: decoded, without host, query and fragment."""
    bare = re.split(r"[?#]", target, maxsplit=1)[0]
    origin = _ORIGIN.match(bare)
    if origin:
        bare = bare[origin.end() :] or "/"
    if "%" in bare:
        bare = repercent_broken_unicode(unquote_to_bytes(bare)).decode()
    return clean_path(bare)


def _known(field: str | None) -> str:
    """Return a quoted field without its escapes; a dash stands for none."""
    return "" if field is None or field == "-" else _unescape(field)


def _unescape(text: str) -> str:
    r"""Undo ``\"``, ``\\`` and ``\xhh`` of what can be printed; other escapes stay as the server wrote them."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: found[1] or chr(int(found[2], 16)), text)
