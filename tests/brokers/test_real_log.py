"""A real log, imported on a machine that reaches the broker alone, and stored in MongoDB by a worker; and once more."""

from typing import Any

import pytest
from pymongo import MongoClient

from tests.brokers.conftest import Maker
from tests.faults.harness import wait_until
from tests.test_importing import ACCESS_LOG, needs_data


def is_idle(log: str) -> bool:
    """Return whether the worker is done with all that it has received."""
    return 0 < log.count(" received") == log.count(" succeeded in ")


@needs_data
@pytest.mark.slow
def test_the_real_log_twice(make_site: Maker, broker: str, mongodb_url: str) -> None:
    """Exactly 10,000 events, 213 not found, addresses truncated; twice: still 10,000."""
    site = make_site(broker, backend={"BACKEND": "mongo", "LOCATION": mongodb_url})
    worker = site.worker(pool="prefork")
    words = ["import", "--format", "combined", "--by-tracker", str(ACCESS_LOG)]
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        stream = client.get_default_database()["littlebro"]
        for handed_on in (10_000, 20_000):
            said, _ = site.start("-m", "django", "littlebro", *words).communicate(timeout=120)
            assert "read 10000, handed on 10000, refused 0" in said, site.errors()
            wait_until(lambda: not site.waiting(), 60, "an empty queue")
            wait_until(lambda: stream.count_documents({}) == 10_000, 60, f"10,000 of {handed_on} events")
        site.stop(worker)
        assert site.waiting() == 0
        assert stream.count_documents({}) == 10_000
        assert stream.count_documents({"params.status": 404}) == 213
        assert len(stream.distinct("context.ip")) == 1474
    assert not site.stored()
    assert site.losses() == {}
