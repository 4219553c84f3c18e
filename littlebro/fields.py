"""Two model fields whose columns behave alike on every database.

Ids and names must tell case and trailing space apart and sort by code point, so that a cursor means the
same on PostgreSQL, MariaDB, MySQL and SQLite; moments must come back to the microsecond whatever USE_TZ or
a database's TIME_ZONE says. Knows Django's fields and nothing else of littlebro.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    _CharField = models.CharField[Any, Any]
    _DateTimeField = models.DateTimeField[Any, Any]
else:
    _CharField = models.CharField
    _DateTimeField = models.DateTimeField

__all__ = ["ExactCharField", "UTCDateTimeField"]


def exact_collation(connection: BaseDatabaseWrapper) -> str | None:
    """Return the collation under which text equals only itself and sorts by code point.

    MariaDB's and MySQL's ``…_bin`` collations of old pad with spaces, so that ``"a"`` equals ``"a "``; the
    NOPAD ones do not, and each of the two names its own. PostgreSQL's default sorts as the locale does.
    """
    if connection.vendor == "postgresql":
        return "C"
    if connection.vendor == "mysql":
        return "utf8mb4_nopad_bin" if getattr(connection, "mysql_is_mariadb", False) else "utf8mb4_0900_bin"
    return None


class ExactCharField(_CharField):
    """Text that equals only itself, byte for byte, and sorts by code point.

    The collation is chosen when the column is made and is no part of the field's state: one migration serves
    every database, and ``makemigrations --check`` stays quiet.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Add the database's own exact collation to the column's definition."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        parameters["collation"] = self.db_collation or exact_collation(connection)
        return parameters


class UTCDateTimeField(_DateTimeField):
    """A moment kept in UTC, whatever USE_TZ and the database's TIME_ZONE are.

    A column without a time zone filled with local time would lose an hour each autumn and change the order
    of reading; this one always holds UTC and always gives aware datetimes back.
    """

    def get_prep_value(self, value: Any) -> Any:
        """Return an aware datetime; a naive one is read in the current time zone."""
        moment = self.to_python(value)
        if isinstance(moment, datetime.datetime) and timezone.is_naive(moment):
            return timezone.make_aware(moment)
        return moment

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """Hand over UTC: as Django's own text where the column knows no time zone."""
        moment = value if prepared else self.get_prep_value(value)
        if not isinstance(moment, datetime.datetime):
            return moment
        moment = moment.astimezone(datetime.UTC)
        if connection.vendor == "postgresql":
            return moment
        return str(moment.replace(tzinfo=None))

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """Read what the column holds as the UTC it is."""
        if not isinstance(value, datetime.datetime):
            return value
        if connection.vendor == "postgresql":
            return (value if timezone.is_aware(value) else timezone.make_aware(value)).astimezone(
                datetime.UTC
            )
        if timezone.is_aware(value):  # Django took the column for local time of the database's TIME_ZONE
            value = timezone.make_naive(value, connection.timezone)
        return value.replace(tzinfo=datetime.UTC)
