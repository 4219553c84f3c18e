"""Whose fault a database's error is: the data's (never to be stored) or anything else's (to be tried again).

Goes by SQLSTATE and by the servers' own numbers, not by Django's exception classes: an over-long index key
is an OperationalError there, a missing table a ProgrammingError. The reasons hold no part of the data.
"""

from __future__ import annotations

import re
from typing import Final

from django.db import Error

__all__ = ["gave_way", "refusal"]

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_DATA: Final = ("22", "23")  # data exception; integrity constraint violation
_PG_LIMIT: Final = {"54000", "54001", "54011"}  # index row too large; nested too deep; too many columns
_PG_GAVE_WAY: Final = {"40001", "40P01"}  # serialization failure; deadlock
_PG_UNIQUE: Final = "23505"  # another unique index than ours: nothing about the event is wrong in itself

# https://mariadb.com/kb/en/mariadb-error-code-reference/
_MYSQL_DATA: Final = {
    1048: "a column cannot be null",
    1118: "the row is too large",
    1153: "the event is larger than max_allowed_packet",
    1264: "a number is out of range",
    1265: "a value would be cut",
    1292: "a value is not of its column's type",
    1300: "a text is not valid UTF-8",
    1301: "a value is larger than max_allowed_packet",
    1366: "a text cannot be kept in its column's character set",
    1406: "a value is too long for its column",
    1690: "a number is out of range",
    3140: "JSON that the server does not take",
    3157: "JSON nested too deep for the server",
    3819: "a CHECK constraint is violated",
    4025: "a CHECK constraint is violated (JSON nested too deep, among others)",
}

# https://www.sqlite.org/rescode.html; the low byte is the primary code, the rest narrows it down
_SQLITE_DATA: Final = {18, 19, 20}  # TOOBIG, CONSTRAINT, MISMATCH
_SQLITE_UNIQUE: Final = {1555, 2067}  # CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE


_MYSQL_GAVE_WAY: Final = 1213  # deadlock: gaps of an index are locked, too, in whatever order the rows come


def gave_way(error: Error) -> bool:
    """Return whether the database undid the statement in favour of another's, so that it will do a moment later."""
    if getattr(error.__cause__, "sqlstate", None) in _PG_GAVE_WAY:
        return True
    return bool(error.args) and error.args[0] == _MYSQL_GAVE_WAY


def refusal(error: Error) -> str | None:
    """Return why the data can never be stored, or None if the data is not at fault."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if isinstance(state, str):
        return _postgresql(state, type(cause).__name__)
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        at_fault = code & 0xFF in _SQLITE_DATA and code not in _SQLITE_UNIQUE
        return f"{getattr(cause, 'sqlite_errorname', code)}: {cause}" if at_fault else None
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number in _MYSQL_DATA:
        return f"{number}: {_MYSQL_DATA[number]}"
    return None


def _postgresql(state: str, name: str) -> str | None:
    if state == _PG_UNIQUE or not (state.startswith(_PG_DATA) or state in _PG_LIMIT):
        return None
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return f"{state}: {words}"
