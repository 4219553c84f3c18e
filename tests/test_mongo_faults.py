"""Whose fault an error of MongoDB's is: told by numbers, from replies as real servers send them."""

from typing import Any

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from littlebro_backends.mongo_faults import Verdict, WriteFailed, judge, refusal

SECRET = "what must not leave the document"
MONGODB: dict[str, Any] = {
    "index": 0,
    "code": 11000,
    "keyPattern": {"_id": 1},
    "keyValue": {"_id": SECRET},
    "errmsg": f'E11000 duplicate key error collection: a.b index: _id_ dup key: {{ _id: "{SECRET}" }}',
}
FERRETDB: dict[str, Any] = {
    "index": 1,
    "code": 11000,
    "errmsg": "Duplicate key violation on the requested collection: Index '_id_'",
}
OLDER: dict[str, Any] = {"index": 2, "code": 11000, "errmsg": MONGODB["errmsg"]}
OTHER: dict[str, Any] = {**MONGODB, "keyPattern": {"params.order": 1}}
OTHER_OLDER: dict[str, Any] = {
    **OLDER,
    "errmsg": "E11000 duplicate key error collection: a.b index: params.order_1 dup key: { : 1 }",
}
INVALID: dict[str, Any] = {
    "index": 4,
    "code": 121,
    "errmsg": "Document failed validation",
    "errInfo": {"x": SECRET},
}


def bulk(*errors: dict[str, Any], concern: list[Any] | None = None) -> BulkWriteError:
    return BulkWriteError({"writeErrors": list(errors), "writeConcernErrors": concern or [], "nInserted": 0})


def test_duplicates_are_absorbed_and_refusals_named() -> None:
    """A duplicate id is what was stored before; what is refused stands by its index, in our words."""
    verdict = judge(bulk(MONGODB, FERRETDB, OLDER, INVALID))
    assert verdict == Verdict([0, 1, 2], {4: "121: the collection's own validator refuses it"})
    assert SECRET not in str(verdict)


@pytest.mark.parametrize("error", [
    bulk(MONGODB, concern=[{"code": 64, "errmsg": "waiting for replication timed out"}]),
    bulk(concern=[{"code": 91}]), bulk(OTHER), bulk(OTHER_OLDER), bulk(MONGODB, INVALID, OTHER),
    bulk({"index": 0, "code": 11600, "errmsg": "interrupted at shutdown"}), bulk({"index": 0, "code": 13}),
    bulk({"index": 0, "code": 112}),
], ids=str)  # fmt: skip
def test_anything_else_is_for_later(error: BulkWriteError) -> None:
    """No majority, a duplicate in an index of the user's own, a server in trouble: to be tried again."""
    with pytest.raises(WriteFailed) as caught:
        judge(error)
    assert SECRET in str(error) or not any("keyValue" in one for one in error.details["writeErrors"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "error, reason",
    [
        (OperationFailure(SECRET, 2), "2: a value that the server does not take"),
        (OperationFailure(SECRET, 10334), "10334: the document is larger than the server takes"),
        (DocumentTooLarge(SECRET), "cannot be encoded: DocumentTooLarge"),
        (InvalidDocument(SECRET), "cannot be encoded: InvalidDocument"),
        (OverflowError(SECRET), "cannot be encoded: OverflowError"),
        (OperationFailure("not authorized", 13), None),
        (OperationFailure("quota", 8000), None),
        (OperationFailure("no code"), None),
        (NotPrimaryError("stepped down"), None),
        (AutoReconnect("gone"), None),
        (ServerSelectionTimeoutError("nobody there"), None),
        (WriteConcernError("no majority", 64), None),
    ],
    ids=repr,
)
def test_of_a_whole_batch(error: Exception, reason: str | None) -> None:
    """Only what the data is to blame for is refused; servers away, stepping down or asking for a password are not."""
    assert refusal(error) == reason
