"""Our own backends keep the contract that we ask of a stranger's."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from django.db import connections

from littlebro.events.event import Event, decode
from littlebro.models import StoredEvent
from littlebro.storage import BaseBackend
from littlebro.testing.contracts import BackendContract, make_event
from littlebro_backends import log, memory, simple


class TestMemory(BackendContract):
    """The backend in the memory of a process."""

    shared_by_processes = False

    def make_backend(self) -> BaseBackend:
        return memory.Backend("default", "contract", {"MAX_EVENTS": None})


class TestLog(BackendContract):
    """The backend that appends to a file, and reads nothing."""

    def make_backend(self) -> BaseBackend:
        (self.folder / "there").mkdir(exist_ok=True)
        return log.Backend("archive", str(self.folder / "there" / "events.jsonl"), {})

    def read_back(self, backend: BaseBackend) -> Sequence[Event]:
        assert isinstance(backend.location, str)
        file = Path(backend.location)
        return [decode(line) for line in file.read_bytes().splitlines()] if file.exists() else []

    def break_backend(self, backend: BaseBackend) -> None:
        (self.folder / "there").rename(self.folder / "away")

    def heal_backend(self, backend: BaseBackend) -> None:
        (self.folder / "away").rename(self.folder / "there")


@pytest.mark.django_db(transaction=True, available_apps=["littlebro"])
class TestSimple(BackendContract):
    """The backend in a database of Django's, on each database."""

    @pytest.fixture(autouse=True)
    def _database(self, database_alias: str) -> None:
        self.using = database_alias

    def make_backend(self) -> BaseBackend:
        return simple.Backend("default", self.using, {})

    def break_backend(self, backend: BaseBackend) -> None:
        self._rename(StoredEvent._meta.db_table, "littlebro_away")

    def heal_backend(self, backend: BaseBackend) -> None:
        self._rename("littlebro_away", StoredEvent._meta.db_table)

    def _rename(self, old: str, new: str) -> None:
        with connections[self.using].schema_editor() as editor:
            editor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def unstorable_event(self) -> Event:
        if connections[self.using].vendor == "postgresql":
            return make_event(params={"text": "NUL: \0"})
        return make_event(params={"text": "half a character: \ud800"})
