"""The values to choose from in a filter, read by skipping from one value to the next in an index.

A DISTINCT would read all of a million rows; here each value costs one look into the index, whose first column
it must be. In: a queryset and a column. Out: sorted values, a bounded number of them. Kept in Django's cache for
some seconds, since each page of a list asks.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from django.core.cache import cache
from django.db import connections
from django.db.models import QuerySet

__all__ = ["MOST", "cached_values", "values"]

MOST: Final = 200  # values; a list to choose from that is longer than this is none
_SECONDS: Final = 30

_log: Final = logging.getLogger("littlebro.admin")

# One step a value: the next one behind the last. MariaDB and MySQL would stop at 1,000 steps by themselves.
_SKIP: Final = """
WITH RECURSIVE skipped (value, number) AS (
  SELECT min({column}), 1 FROM {table}
  UNION ALL
  SELECT (SELECT min({column}) FROM {table} WHERE {column} > skipped.value), skipped.number + 1
  FROM skipped WHERE skipped.value IS NOT NULL AND skipped.number < %s
) SELECT value FROM skipped WHERE value IS NOT NULL"""


def values(rows: QuerySet[Any], column: str, most: int = MOST) -> list[str]:
    """Return the smallest values of `column` in the whole table behind `rows`: at most `most`."""
    connection = connections[rows.db]
    field = rows.model._meta.get_field(column)  # noqa: SLF001 - documented by Django
    names = {
        "table": connection.ops.quote_name(rows.model._meta.db_table),  # noqa: SLF001 - as above
        "column": connection.ops.quote_name(field.column),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SKIP.format(**names), [most])
        return sorted(row[0] for row in cursor.fetchall())


def cached_values(rows: QuerySet[Any], column: str) -> list[str]:
    """Return what `values` does, some seconds old at most; a cache that is away costs the look and no more."""
    key = f"littlebro.admin.{rows.db}.{rows.model._meta.model_name}.{column}"  # noqa: SLF001 - as above
    try:
        known = cache.get(key)
    except Exception as error:  # noqa: BLE001 - whatever a cache's client raises, the page needs no cache
        _log.warning("The cache does not answer: %s", error)
        return values(rows, column)
    if isinstance(known, list):
        return known
    found = values(rows, column)
    try:
        cache.set(key, found, _SECONDS)
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("The cache does not answer: %s", error)
    return found
