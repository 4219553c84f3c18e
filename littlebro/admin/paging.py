"""One page of a list, newest first, found by the key of its neighbour and never by OFFSET.

In: querysets that together make up the list (each of them quick to read in order), the order, a cursor. Out:
rows, the cursors before and behind them, and how many rows there are as far as that can be told at once: exact up to
a bound, above it "more than", or PostgreSQL's own estimate.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F, Func, Model, Q, QuerySet, aggregates

__all__ = ["BOUND", "WITHIN", "Count", "Page", "Unindexed", "count", "count_all", "count_within", "read_page"]

BOUND: Final = 10_000  # rows that are counted one by one, in an index
WITHIN: Final = 2_000  # rows that are looked up in the table for it
_LONGEST: Final = 2_000  # characters of a cursor


class Unindexed(Func):
    """A column, hidden from the planner of SQLite, MariaDB and MySQL: they will not look for an index of it.

    They would take the index of any column that is compared for equality, and then sort all its rows to show
    the first page. PostgreSQL knows how many there are and chooses by itself.
    """

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the column with the sign that SQLite documents for this."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the same text as an expression."""
        return self.as_sql(compiler, connection, template="CONCAT(%(expressions)s, '')", **context)


class Count:
    """How many rows there are: `number`, and unless that is exact, in which way it is not ("more than")."""

    def __init__(self, number: int, way: str = "") -> None:
        self.number = number
        self.exact = not way
        self._way = way

    def __str__(self) -> str:
        return f"{self._way} {self.number:,}".strip()


def count(rows: QuerySet[Any]) -> Count:
    """Return how many rows there are, counting no further than the bound."""
    number = rows.order_by().values("pk")[: BOUND + 1].count()
    return Count(BOUND, "more than") if number > BOUND else Count(number)


def count_within(rows: QuerySet[Any], condition: Q) -> Count:
    """Return how many of the `rows` fulfil a condition that no index helps with, looking at a bounded number."""
    found = rows.order_by()[: WITHIN + 1].aggregate(
        looked_at=aggregates.Count("pk"), number=aggregates.Count("pk", filter=condition)
    )
    return Count(found["number"], "at least" if found["looked_at"] > WITHIN else "")


def count_all(rows: QuerySet[Any]) -> Count:
    """Return how many rows the whole table has; PostgreSQL keeps an estimate, which must do for a large one."""
    connection = connections[rows.db]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(rows.model._meta.db_table)  # noqa: SLF001 - documented by Django
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
            estimate = int(cursor.fetchone()[0])
        if estimate > BOUND:
            digits = 10 ** (len(str(estimate)) - 3)
            return Count(round(estimate / digits) * digits, "about")
    return count(rows)


class Page:
    """Rows in the order of the list, and the cursors of the pages beside them, None where there is none."""

    def __init__(self, rows: list[Any], newer: str | None, older: str | None) -> None:
        self.rows = rows
        self.newer = newer
        self.older = older


def read_page(
    sources: Sequence[QuerySet[Any]],
    order: Sequence[str],
    size: int,
    *,
    before: str | None = None,
    after: str | None = None,
) -> Page:
    """Return a page of all rows in `sources`, descending by the fields of `order`, which no two rows share.

    `before` is the cursor of a row: the page holds those behind it (older ones); `after` likewise those in
    front of it. Raises `ValueError` for a cursor that is none of ours.
    """
    if after is not None:
        rows = _read(sources, order, size, _position(sources[0].model, order, after), newest_first=False)
        if len(rows) > size:
            rows = rows[size - 1 :: -1]
            return Page(rows, _cursor(rows[0], order), _cursor(rows[-1], order))
        before = None  # fewer than a page are newer: the first page it is
    place = None if before is None else _position(sources[0].model, order, before)
    rows = _read(sources, order, size, place, newest_first=True)
    older = _cursor(rows[size - 1], order) if len(rows) > size else None
    rows = rows[:size]
    newer = None if place is None else _cursor(rows[0], order) if rows else before
    return Page(rows, newer, older)


def _read(
    sources: Sequence[QuerySet[Any]],
    order: Sequence[str],
    size: int,
    place: Sequence[Any] | None,
    *,
    newest_first: bool,
) -> list[Any]:
    """Return up to one row more than a page behind `place`, each row once."""
    found: dict[Any, Any] = {}
    for source in sources:
        rows = (
            source if place is None else source.filter(_behind(order, place, "lt" if newest_first else "gt"))
        )
        ways = [F(name).desc() if newest_first else F(name).asc() for name in order]
        found.update((row.pk, row) for row in rows.order_by(*ways)[: size + 1])
    merged = list(found.values())
    if len(sources) > 1:
        merged.sort(key=attrgetter(*order), reverse=newest_first)
    return merged[: size + 1]


def _behind(order: Sequence[str], place: Sequence[Any], way: str) -> Q:
    """Return the condition for rows behind `place`.

    The first field is bounded by itself, since not every database finds a range of an index in a comparison
    of several fields; the rest decides among equals.
    """
    decided = Q()
    equal = Q()
    for name, value in zip(order, place, strict=True):
        decided |= equal & Q(**{f"{name}__{way}": value})
        equal &= Q(**{name: value})
    return Q(**{f"{order[0]}__{way}e": place[0]}) & decided


def _cursor(row: Model, order: Sequence[str]) -> str:
    values = [getattr(row, name) for name in order]
    plain = [value.isoformat() if isinstance(value, date) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).rstrip(b"=").decode()


def _position(model: type[Model], order: Sequence[str], cursor: str) -> list[Any]:
    """Return the values of the fields that a cursor holds."""
    if len(cursor) > _LONGEST:
        raise ValueError("longer than any cursor")
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise ValueError("no cursor") from error
    if not isinstance(values, list) or len(values) != len(order):
        raise ValueError("a cursor of another list")
    return [
        _value(model._meta.get_field(name), value)  # noqa: SLF001 - documented by Django
        for name, value in zip(order, values, strict=True)
    ]


def _value(field: Any, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value):
        raise ValueError("a value of no field")
    try:
        found = field.to_python(value)
        if isinstance(found, datetime) and found.tzinfo is not None:
            found = found.astimezone(UTC)  # raises where no database could
    except (ValidationError, TypeError, OverflowError) as error:
        raise ValueError("a value of another field") from error
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise ValueError("a key beyond any table")
    if isinstance(found, datetime) and found.tzinfo is None:
        raise ValueError("a moment without a time zone")
    if isinstance(found, str):
        found.encode()  # half a surrogate pair raises a ValueError here, and not in the driver
    return found
