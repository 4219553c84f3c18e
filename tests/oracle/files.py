"""The real logs, read without our importer: each line as the oracle's events."""

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from littlebro import Event

_LINE = re.compile(
    r'\S+ \S+ \S+ \[(?P<when>[^\]]+)\] "(?P<method>\S+) (?P<path>[^ ?#]*)[^"]*" (?P<status>\d+) (?P<bytes>\d+|-) .*'
)


def commits(file: Path) -> list[Event]:
    """Return the events of ``commits.jsonl.gz``."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [_commit(json.loads(line)) for line in lines]


def _commit(fields: dict[str, object]) -> Event:
    when = datetime.fromisoformat(str(fields["timestamp"]))
    return Event(
        id=str(fields["id"]), name=str(fields["name"]), timestamp=when, received_at=when, context={},
        params=fields["params"], user_id=str(fields["user_id"]), collection="littlebro",  # type: ignore[arg-type]
    )  # fmt: skip


def requests(file: Path) -> list[Event]:
    """Return those of ``access.log.gz``, which are nobody's, without their context."""
    with gzip.open(file, "rt", encoding="utf-8", errors="replace") as lines:
        return [_request(number, line) for number, line in enumerate(lines)]


def _request(number: int, line: str) -> Event:
    found = _LINE.fullmatch(line.rstrip("\n"))
    assert found, line
    when = datetime.strptime(found["when"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    size = 0 if found["bytes"] == "-" else int(found["bytes"])
    params = {
        "path": found["path"],
        "method": found["method"],
        "status": int(found["status"]),
        "bytes": size,
    }
    return Event(
        id=f"r{number:05}", name="page-accessed", timestamp=when, received_at=when, params=params, context={},
        collection="littlebro",
    )  # fmt: skip
