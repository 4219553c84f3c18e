"""Whose fault an error of MongoDB's is: the data's (never to be stored) or anything else's (to be tried again).

Goes by the server's numbers. The reasons hold no part of the data, which the server's own messages do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bson.errors import BSONError
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure

from littlebro.exceptions import LittlebroError

__all__ = ["Verdict", "WriteFailed", "judge", "refusal"]

DUPLICATE: Final = 11000

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_DATA: Final[Mapping[int, str]] = {
    2: "a value that the server does not take",
    15: "nested too deep for the server",
    22: "not valid BSON to the server",
    52: "a key that starts with $, which the server does not take (MongoDB 5.0 and later do)",
    53: "an id that the server does not take",
    55: "a mapping with $ref or $id that the server does not take",
    56: "an empty key, which the server does not take",
    57: "a key with a dot, which the server does not take (MongoDB 5.0 and later do)",
    121: "the collection's own validator refuses it",
    171: "two arrays in one index of the collection's",
    10334: "the document is larger than the server takes",
    17280: "a value is too long for an index",
    17419: "the document is larger than the server takes",
    17420: "the document is larger than the server takes",
}
_INDEX: Final = re.compile(r"index: ?'?([^\s']+)|Index '([^']+)'")
_ENCODING: Final = (BSONError, DocumentTooLarge, OverflowError, UnicodeError, RecursionError)


class WriteFailed(LittlebroError):
    """Raised where a batch is to be tried again; pymongo's own error quotes the documents, which no log may."""


class Verdict(NamedTuple):
    """What became of a batch, by the index of each document: there already, or refused with a reason."""

    known: list[int]
    refused: dict[int, str]


def judge(error: BulkWriteError) -> Verdict:
    """Return what a bulk error says of each document; raises `WriteFailed` where it says more than that."""
    details: Mapping[str, Any] = error.details or {}
    if concerns := details.get("writeConcernErrors"):  # what was written may be lost again, duplicates or not
        code, text = concerns[0].get("code"), concerns[0].get("errmsg", "")
        raise WriteFailed(f"not acknowledged by a majority: {code} {text}".strip()) from None
    verdict = Verdict([], {})
    for problem in details.get("writeErrors", ()):
        code, index = problem.get("code"), problem["index"]
        if code == DUPLICATE and _of_our_id(problem):
            verdict.known.append(index)
        elif code in _DATA:
            verdict.refused[index] = f"{code}: {_DATA[code]}"
        else:
            failed = len(details["writeErrors"])
            name = "duplicate in another index than _id" if code == DUPLICATE else problem.get("codeName", "")
            raise WriteFailed(
                f"{failed} documents were not written, one with code {code} {name}".strip()
            ) from None
    return verdict


def refusal(error: Exception) -> str | None:
    """Return why a batch as a whole can never be stored, or None if the data is not at fault."""
    if isinstance(error, OperationFailure) and not isinstance(error, BulkWriteError):
        words = _DATA.get(error.code or 0)
        return words and f"{error.code}: {words}"
    if isinstance(error, _ENCODING):
        return f"cannot be encoded: {type(error).__name__}"
    return None


def _of_our_id(problem: Mapping[str, Any]) -> bool:
    """Return whether a duplicate is one of ids; with a unique index of the user's own nothing is stored yet."""
    pattern = problem.get("keyPattern")
    if pattern is not None:
        return list(pattern) == ["_id"]
    named = _INDEX.search(problem.get("errmsg", ""))
    return named is None or (named[1] or named[2]) == "_id_"
