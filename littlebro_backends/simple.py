"""Events in one of Django's databases, in the model `StoredEvent`.

LOCATION is the alias of the database, ``"default"`` if unset; there are no options. Writes join the
caller's transaction, behind a savepoint; without one they commit by themselves. Connections are Django's,
one a thread: whoever owns the thread closes them. Knows PostgreSQL, SQLite, MariaDB and MySQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import msgspec
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError, connections, transaction

from littlebro.conf import nearest
from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.exceptions import EventRefused, InvalidQuery
from littlebro.models import StoredEvent
from littlebro.storage import BaseBackend, SaveResult
from littlebro_backends.simple_copying import copied, has_copy
from littlebro_backends.simple_faults import gave_way, refusal
from littlebro_backends.simple_leaving import copy_rows
from littlebro_backends.simple_order import rows_as_stored, rows_in_sight
from littlebro_backends.simple_reading import Table
from littlebro_backends.simple_writing import WRITERS, chunks, writing_cursor

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

__all__ = ["Backend"]

T = TypeVar("T")

_PAGES: Final = (128, 1_000)  # rows of the first chunk and of those that follow
_MERGED: Final = 8  # names that are read side by side; more are picked out of all events
_TRIES: Final = 3  # of a statement that the database undoes in favour of another's
_order: Final = attrgetter("collection", "id")
_UNENCODABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


class Backend(BaseBackend):
    """Stores events through Django's own connection to a database."""

    supports_delete: ClassVar[bool] = True
    supports_count: ClassVar[bool] = True
    supports_scan_stored: ClassVar[bool] = True
    set_up_by_migrate: ClassVar[bool] = True

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        """Take the database's alias from `location`; raises `ImproperlyConfigured` for one unknown."""
        super().__init__(alias, location, options)
        self.using = location or DEFAULT_DB_ALIAS
        if self.using not in connections.settings:
            hint = nearest(self.using, connections.settings)
            raise self.misconfigured(f"LOCATION names {self.using!r}, which is not in DATABASES.{hint}")
        self._name = StoredEvent._meta.db_table  # noqa: SLF001 - documented by Django

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """See BaseBackend.save_many(); on MySQL `stored` includes what was there already."""
        if not events:
            return SaveResult(stored=0)
        batch = sorted(events, key=_order)  # overlapping batches in different orders would deadlock
        try:
            return self._save(batch)
        except Error as error:
            reason = refusal(error)
            if reason is None:
                raise
            raise EventRefused(reason) from error

    def _save(self, batch: Sequence[Event]) -> SaveResult:
        return self._patiently(lambda connection: self._write(connection, batch))

    def _patiently(self, work: Callable[[BaseDatabaseWrapper], T]) -> T:
        """Do `work`; again where the database gave way to somebody else, unless that undid more than this work."""
        left = _TRIES
        while True:
            left -= 1
            alone = False
            try:
                with self._connection() as connection:
                    alone = _is_alone(connection)
                    return work(connection)
            except OperationalError as error:
                if not (alone and left and gave_way(error)):
                    raise

    def _write(self, connection: BaseDatabaseWrapper, batch: Sequence[Event]) -> SaveResult:
        if copied(connection, connection.ops.quote_name(self._name), batch):
            return SaveResult(stored=len(batch))
        parts = chunks(batch)
        one_statement = connection.vendor == "postgresql" and len(parts) == 1
        if one_statement and _is_alone(connection):
            return self._write_part(connection, batch)
        with transaction.atomic(using=self.using):
            results = [self._write_part(connection, part) for part in parts]
        known = [result.duplicates for result in results]
        duplicates = None if None in known else sum(number or 0 for number in known)
        return SaveResult(stored=sum(result.stored for result in results), duplicates=duplicates)

    def _write_part(self, connection: BaseDatabaseWrapper, part: Sequence[Event]) -> SaveResult:
        write = WRITERS[connection.vendor]
        with writing_cursor(connection) as cursor:
            try:
                stored, duplicates = write(cursor, connection.ops.quote_name(self._name), part)
            except _UNENCODABLE as error:
                raise EventRefused(f"cannot be encoded: {type(error).__name__}") from error
        if connection.queries_logged and connection.queries_log:
            # Under DEBUG Django keeps the text of 9,000 statements; a batch is a statement of a megabyte.
            connection.queries_log[-1]["sql"] = f"INSERT INTO {self._name} ({len(part)} events)"
        return SaveResult(stored=stored, duplicates=duplicates)

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        """See BaseBackend.scan()."""
        for _key, event in self._merged(query, after):
            yield event

    def _merged(self, query: EventQuery, after: Position | None) -> Iterator[tuple[int, Event]]:
        """Yield keys and events in order: a few names one by one, since each is a range of the names' index."""
        names = sorted(set(query.names or ()))
        if not 1 < len(names) <= _MERGED:
            return self._scan(query, after)
        streams = [self._scan(msgspec.structs.replace(query, names=(name,)), after) for name in names]
        return merge(*streams, key=lambda pair: pair[1].position, reverse=query.newest_first)

    def _scan(self, query: EventQuery, after: Position | None) -> Iterator[tuple[int, Event]]:
        size, later = _PAGES
        while True:
            with self._connection() as connection, connection.cursor() as cursor:
                table = Table(connection, self._name)
                rows = table.page(cursor, query, after, size)
            for row in rows:
                event = table.event(row)
                yield row[0], event
            if len(rows) < size:
                return
            after, size = event.position, later

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        """See BaseBackend.scan_stored()."""
        key = _key(after)
        with self._connection() as connection:
            table = Table(connection, self._name)
            in_transaction = not _is_alone(connection)
        for row in rows_as_stored(self._cursor, table, key, in_transaction):
            yield str(row[0]), table.event(row)

    def scan_visible(self, after: str | None = None) -> Iterator[tuple[str | None, Event]]:
        """See BaseBackend.scan_visible()."""
        key = _key(after)
        with self._connection() as connection:
            table = Table(connection, self._name)
            in_transaction = not _is_alone(connection)
        for in_order, row in rows_in_sight(self._cursor, table, key, in_transaction):
            yield str(row[0]) if in_order else None, table.event(row)

    @property
    def supports_copy_stored(self) -> bool:
        """See BaseBackend.supports_copy_stored: PostgreSQL can."""
        return has_copy(connections[self.using])

    def copy_stored(
        self, after: str | None, limit: int, recent: int, write: Callable[[bytes], object]
    ) -> Sequence[str]:
        """See BaseBackend.copy_stored()."""
        key = _key(after)
        with self._connection() as connection:
            table = Table(connection, self._name)
        return copy_rows(self._cursor, table, key, limit, recent, write)

    def count(self, query: EventQuery) -> int:
        """See BaseBackend.count()."""
        if query.where:
            return sum(1 for _ in self._matching(query))
        with self._connection() as connection, connection.cursor() as cursor:
            return Table(connection, self._name).count(cursor, query)

    def delete_many(self, query: EventQuery) -> int:
        """See BaseBackend.delete_many(); deletes some at a time, to keep locks short."""
        deleted = 0
        if query.where:
            keys: list[int] = []
            for key in self._matching(query):
                keys.append(key)
                if len(keys) >= _PAGES[1]:
                    deleted += self._delete(keys)
                    keys = []
            return deleted + self._delete(keys)
        with self._cursor() as cursor:
            last = Table(connections[self.using], self._name).last_key(cursor)
        while True:
            with self._connection() as connection, connection.cursor() as cursor:
                keys = Table(connection, self._name).keys(cursor, query, last, _PAGES[1])
            if not keys:
                return deleted
            gone = self._delete(keys)
            deleted += gone
            if not gone:  # somebody else deletes them: under REPEATABLE READ they would be seen for ever
                return deleted

    def _matching(self, query: EventQuery) -> Iterator[int]:
        return (key for key, event in self._merged(query, None) if query.matches(event))

    def _delete(self, keys: Sequence[int]) -> int:
        if not keys:
            return 0
        return self._patiently(lambda connection: self._delete_rows(connection, sorted(keys)))

    def _delete_rows(self, connection: BaseDatabaseWrapper, keys: Sequence[int]) -> int:
        with connection.cursor() as cursor:
            return Table(connection, self._name).delete(cursor, keys)

    def setup(self) -> None:
        """Migrate littlebro's tables in this database, as ``manage.py migrate littlebro`` does."""
        call_command("migrate", "littlebro", database=self.using, interactive=False, verbosity=0)

    def check(self) -> list[str]:
        """See BaseBackend.check()."""
        try:
            with self._connection() as connection, connection.cursor() as cursor:
                there = self._name in connection.introspection.table_names(cursor)
        except Error as error:
            return [f"The database {self.using!r} does not answer: {error}"]
        if there:
            return []
        problem = (
            f"The database {self.using!r} has no table {self._name!r}; run `manage.py migrate"
            f" --database={self.using}`, and look at DATABASE_ROUTERS if that makes none."
        )
        return [problem]

    def ping(self) -> None:
        """See BaseBackend.ping()."""
        with self._cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    @contextmanager
    def _connection(self) -> Iterator[BaseDatabaseWrapper]:
        """Give this thread's connection; one that turns out to be broken is let go, for the next call to work."""
        connection = connections[self.using]
        if connection.vendor not in WRITERS:
            raise self.misconfigured(
                f"'simple' knows PostgreSQL, SQLite, MariaDB and MySQL, and the database {self.using!r} is"
                f" {connection.display_name}."
            )
        try:
            yield connection
        except (OperationalError, InterfaceError):
            # In a transaction of the caller's it is his; with autocommit off there may be one. One that works stays
            # open even where it is due (CONN_MAX_AGE): the caller may have locks, cursors and settings there.
            his = connection.in_atomic_block or not connection.autocommit
            if connection.connection is not None and not his and not connection.is_usable():
                connection.close()
            raise

    @contextmanager
    def _cursor(self) -> Iterator[CursorWrapper]:
        with self._connection() as connection, connection.cursor() as cursor:
            yield cursor


def _key(position: str | None) -> int:
    """Return the key that a position of `scan_stored` stands for."""
    if position is None:
        return 0
    if not (position.isascii() and position.isdigit() and len(position) < 20):
        raise InvalidQuery("This is no position in the order of storing; start without one.")
    return int(position)


def _is_alone(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a statement is a transaction by itself, and no part of the caller's."""
    return not connection.in_atomic_block and connection.get_autocommit()
