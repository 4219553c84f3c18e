"""`simple` where MariaDB undoes a write in favour of another's: it writes once more, if the write was all there was."""

import datetime
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from littlebro.events.event import Event
from littlebro.models import StoredEvent
from littlebro_backends.simple import Backend

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "mariadb"])

NOW = datetime.datetime(2026, 3, 29, tzinfo=datetime.UTC)
PATIENCE = 40  # seconds; the server itself ends a wait after 50


def make(letter: str) -> Event:
    return Event(id=named(letter), name="n", timestamp=NOW, received_at=NOW, params={}, context={})


def row(letter: str) -> StoredEvent:
    fields = {"collection": "littlebro", "name": "n", "timestamp": NOW, "received_at": NOW}
    return StoredEvent(event_id=named(letter), params={}, context={}, **fields)


def named(letter: str) -> str:
    """Return an id that no test before had: where such a row was deleted lately, its neighbours are locked too."""
    return f"{Rival.mark}{letter}"


class Rival:
    """Another writer, whose transaction is large, so that the database takes its side."""

    def __init__(self) -> None:
        rows = StoredEvent.objects.using("mariadb")
        with transaction.atomic(using="mariadb"):
            rows.bulk_create([row(f"z{number:03d}") for number in range(200)])
            row("b").save(using="mariadb")
            self.begun.set()
            assert self.is_waited_for(), 'nobody waits for "b"'
            self.want()
        connections["mariadb"].close()

    @staticmethod
    def want() -> None:
        """Ask for what the other holds."""
        row("a").save(using="mariadb")

    @staticmethod
    def is_waited_for() -> bool:
        """Wait until the other holds "a", and waits for "b"; what waits elsewhere on the server does not count."""
        end = time.monotonic() + PATIENCE
        with connections["mariadb"].cursor() as cursor:
            while time.monotonic() < end:
                cursor.execute(
                    "SELECT count(*) FROM information_schema.innodb_lock_waits JOIN information_schema.innodb_trx"
                    " ON blocking_trx_id = trx_id WHERE trx_mysql_thread_id = CONNECTION_ID()"
                )
                if cursor.fetchone()[0]:
                    return True
                time.sleep(0.25)  # a look within a tenth of a second shows what the last one showed
        return False

    begun = threading.Event()
    mark = ""


@pytest.fixture(autouse=True)
def _rival() -> Iterator[None]:
    """Let the other writer hold "b" and want "a", while the test holds "a" and wants "b"."""
    Rival.begun.clear()
    Rival.mark = uuid.uuid4().hex
    thread = threading.Thread(target=Rival)
    thread.start()
    assert Rival.begun.wait(PATIENCE)
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_batch_is_written_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadlock is the database's to see, and nobody's else: the batch is stored, each event once."""
    backend = Backend("default", "mariadb", {})
    tries: list[int] = []
    write = Backend._write

    def counted(self: Backend, *given: Any) -> Any:
        tries.append(1)
        return write(self, *given)

    monkeypatch.setattr(Backend, "_write", counted)
    result = backend.save_many([make("b"), make("a"), make("c")])
    assert len(tries) == 2
    assert (result.stored, result.duplicates) == (1, 2)
    assert StoredEvent.objects.using("mariadb").count() == 203


def test_a_deletion_is_done_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an erasure, or a purge, would end half-way."""
    rows = StoredEvent.objects.using("mariadb")
    monkeypatch.setattr(Rival, "want", staticmethod(lambda: rows.filter(event_id=named("a")).update(v=1)))
    first = row("a")
    first.pk = -1  # before "b", which is not committed yet
    first.save(using="mariadb", force_insert=True)
    with connections["mariadb"].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        cursor.execute("SELECT id FROM littlebro_storedevent WHERE event_id = %s", [named("b")])
        (second,) = cursor.fetchone()
    assert Backend("default", "mariadb", {})._delete([second, -1]) == 2
    assert rows.count() == 200


def test_inside_the_callers_transaction_it_is_told() -> None:
    """There the database has undone the caller's own writes, too: that is not ours to hide."""
    backend = Backend("default", "mariadb", {})
    with pytest.raises(OperationalError, match="1213"), transaction.atomic(using="mariadb"):
        backend.save_many([make("a"), make("b")])
    connections["mariadb"].close()
