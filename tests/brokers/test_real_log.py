"""A real log, imported on a machine that reaches the broker alone, and stored in MongoDB by a worker; and once more."""

import time
from typing import Any

import pytest
from pymongo import MongoClient

from tests.brokers.conftest import Maker
from tests.brokers.harness import Site
from tests.faults.harness import wait_until
from tests.test_importing import ACCESS_LOG, needs_data


def is_idle(site: Site) -> bool:
    """Return whether no batch waits, and the worker is done with all that it has received."""
    if not site.is_quiet():
        return False
    log = site.log()
    return 0 < log.count(" received") == log.count(" succeeded in ")


def until_idle(site: Site) -> None:
    """Wait until the worker rests, and still does a moment later."""
    for _ in range(2):
        wait_until(lambda: is_idle(site), 60, "an empty queue and a worker at rest")
        time.sleep(0.5)  # a message between broker and worker is in nobody's count


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
            until_idle(site)
            assert stream.count_documents({}) == 10_000, f"of {handed_on} handed on"
        site.stop(worker)
        assert site.waiting() == 0
        assert stream.count_documents({"params.status": 404}) == 213
        assert len(stream.distinct("context.ip")) == 1474
    assert not site.stored()
    assert site.losses() == {}
