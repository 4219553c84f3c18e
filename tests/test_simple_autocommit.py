"""`simple` on a connection that the caller works with himself.

In a transaction of his that is no `atomic()`, since autocommit is off and he commits or rolls back himself; with
settings and locks that last as long as the connection.
"""

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction

from littlebro.events.query import EventQuery
from littlebro.models import StoredEvent
from littlebro.testing.contracts import make_event as make
from littlebro_backends.simple import Backend

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backend(database_alias: str) -> Iterator[Backend]:
    transaction.set_autocommit(False, using=database_alias)
    # On SQLite a savepoint begins no transaction, and a write does.
    StoredEvent.objects.using(database_alias).update(v=1)
    yield Backend("default", database_alias, {})
    transaction.rollback(using=database_alias)
    transaction.set_autocommit(True, using=database_alias)


def test_an_error_leaves_the_transaction_to_the_caller(backend: Backend) -> None:
    """His connection is not closed: what he did would be gone, and what he does next committed."""
    backend.save_many([make(id="before")])
    backend._name, name = "missing", backend._name
    with pytest.raises(DatabaseError):
        backend.save_many([make(id="not stored")])
    backend._name = name
    assert not transaction.get_autocommit(using=backend.using)
    backend.save_many([make(id="after")])
    assert {event.id for event in backend.scan(EventQuery())} == {"before", "after"}
    transaction.rollback(using=backend.using)
    assert backend.count(EventQuery()) == 0


def test_the_order_of_storing(backend: Backend) -> None:
    """MariaDB sets no isolation level in the middle of a transaction."""
    backend.save_many([make(id="a"), make(id="b")])
    assert [event.id for _, event in backend.scan_stored()] == ["a", "b"]
    assert [event.id for _, event in backend.scan_visible()] == ["a", "b"]


@pytest.mark.django_db(transaction=True, databases=["default", "postgresql"])
def test_a_connection_that_works_is_not_closed_after_an_error() -> None:
    """Django would take it for obsolete as soon as it is open: CONN_MAX_AGE is 0."""
    link, rival = connections["postgresql"], connections["postgresql"].copy()
    backend = Backend("default", "postgresql", {})
    with link.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        cursor.execute("SELECT pg_advisory_lock(7)")
    rival.set_autocommit(False)
    with rival.cursor() as cursor:
        cursor.execute("LOCK TABLE littlebro_storedevent IN EXCLUSIVE MODE")
    with pytest.raises(OperationalError, match="lock timeout"):
        backend.save_many([make()])
    rival.rollback()
    rival.close()
    with link.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(7)")
        assert cursor.fetchone() == (True,)
    link.close()
