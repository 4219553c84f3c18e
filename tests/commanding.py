"""What the tests of ``manage.py littlebro`` share: a site with two aliases, a way to run, a backend that is away."""

import datetime
import io
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.db import OperationalError

from littlebro import EventQuery, trackers
from littlebro.delivery import losses
from littlebro.events.event import Event, encode
from littlebro.models import DeadLetter
from littlebro.storage import SaveResult
from littlebro.storage.handler import backends
from littlebro.storage.reading import iterate
from littlebro_backends.memory import Backend as MemoryBackend

LINE = '192.0.2.77 - - [17/May/2015:10:05:03 +0200] "GET /a?t=1 HTTP/1.1" 200 203 "-" "Agent/1.0"'
DAY = datetime.timedelta(days=1)
AWAY = "tests.commanding.Away"


def site(settings: Any, journal: Path) -> None:
    """Set up a journal, and a second stream in the same table."""
    losses.drain("default")
    settings.LITTLEBRO = {
        "default": {**journaled(journal), "RETENTION_DAYS": 7},
        "audit": {"COLLECTION": "audit"},
    }


def journaled(journal: Path) -> dict[str, Any]:
    """Return an alias that travels by `journal`, and does not wait for what is away."""
    return {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal), "EXIT_SECONDS": 0.1}}


def in_memory(settings: Any, folder: Path) -> None:
    """Set up two aliases that need no table."""
    settings.LITTLEBRO = {
        name: {"BACKEND": "memory", "LOCATION": f"{folder}{name}"} for name in ("default", "copy")
    }


def run(*words: str, **options: Any) -> tuple[int, str, str]:
    """Run a subcommand; return its exit code and what it printed, errors included."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("littlebro", *words, stdout=out, stderr=err, **options)
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def event(event_id: str = "1", **fields: Any) -> Event:
    now = datetime.datetime.now(datetime.UTC)
    values = {"id": event_id, "name": "n", "timestamp": now, "received_at": now, "params": {}, "context": {}}
    return Event(**{**values, **fields})


def save(*events: Event, alias: str = "default") -> None:
    trackers[alias].deliver(events)


def kept(alias: str = "default") -> list[str]:
    return [found.id for found in iterate(backends[alias], EventQuery())]


def letter(
    event_id: str = "1", *, alias: str = "default", sink: str = "", user_id: str | None = None
) -> DeadLetter:
    body = encode(event(event_id, user_id=user_id))
    values = {"alias": alias, "sink": sink, "event_id": event_id, "user_id": user_id, "body": body}
    return DeadLetter.objects.create(collection="littlebro", name="n", reason="too \x1b[31mlong", **values)


class Away(MemoryBackend):
    """Is away."""

    def save_many(self, events: Any) -> SaveResult:
        raise OperationalError("server has gone away")

    def ping(self) -> None:
        raise OperationalError("server has gone away")

    def setup(self) -> None:
        raise OperationalError("server has gone away")
