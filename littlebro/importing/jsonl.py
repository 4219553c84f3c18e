"""JSON lines: one event a line, with the keys of our own export.

`name` and `timestamp` must be there; `id`, `received_at`, `params`, `context`, `user_id`, `anonymous_id`, `collection`
and `v` may be. A line that carries its `id` keeps it. Values are judged by the validator later; here only that the
line is an object with known keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from littlebro.conf import nearest
from littlebro.events.event import FORMAT
from littlebro.importing.records import BadLine, Record

__all__ = ["arguments_of", "check_keys", "read_jsonl"]

_KEYS: Final[Mapping[str, str]] = {
    "id": "event_id",
    "name": "name",
    "timestamp": "timestamp",
    "received_at": "received_at",
    "params": "params",
    "context": "context",
    "user_id": "user",
    "anonymous_id": "anonymous_id",
    "collection": "collection",
}
_BOM: Final = b"\xef\xbb\xbf"


def read_jsonl(lines: Iterable[tuple[int, bytes | BadLine]]) -> Iterator[Record | BadLine]:
    """Read JSON lines; a blank one is skipped."""
    for number, line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        content = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if not content:
            continue
        try:
            fields = msgspec.json.decode(content)
            if not isinstance(fields, dict):
                raise BadLine("not a JSON object")
            check_keys(fields)
            yield Record(number, content, arguments_of(fields))
        except BadLine as error:
            yield BadLine(error.reason, number)
        except (msgspec.MsgspecError, UnicodeError) as error:
            yield BadLine(f"not JSON: {error}", number)
        except RecursionError:
            yield BadLine("not JSON that can be read: nested too deep", number)


def check_keys(keys: Iterable[str]) -> None:
    """Refuse a key, or a column, that no event has, naming the nearest one that it has."""
    known = [*_KEYS, "v"]
    for key in keys:
        if key not in known:
            raise BadLine(f"unknown key {key[:80]!r}.{nearest(key, known)} Own values belong into params")


def arguments_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `track_event` that an exported event stands for."""
    version = FORMAT if fields.get("v") is None else fields["v"]
    if type(version) is not int or version < 1:
        raise BadLine("v: must be a whole number from 1 on")
    if version > FORMAT:
        raise BadLine(f"v: the event is of a newer format; this littlebro reads up to {FORMAT}")
    arguments = {
        _KEYS[key]: value
        for key, value in fields.items()
        if key != "v" and (value is not None or key == "name")
    }
    for key in ("name", "timestamp"):
        if key not in arguments:
            raise BadLine(f"{key}: missing")
    for key in ("timestamp", "received_at"):
        if key in arguments:
            arguments[key] = _moment(key, arguments[key])
    return arguments


def _moment(key: str, value: object) -> datetime:
    if not isinstance(value, str):
        raise BadLine(f"{key}: must be text in ISO 8601, for instance 2026-05-17T10:05:03Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise BadLine(f"{key}: not ISO 8601, as 2026-05-17T10:05:03Z would be") from error
