"""A quorum queue of RabbitMQ deletes what was handed out too often: a batch that waits for its store is not."""

from pathlib import Path

import pytest

from tests.brokers.conftest import Maker
from tests.faults.harness import logged, wait_until


@pytest.mark.slow
def test_waiting_does_not_use_up_the_deliveries(make_site: Maker, rabbitmq: str, tmp_path: Path) -> None:
    """With a limit of two, batches go back five times and more, as fresh copies, and are there when the store is."""
    store = tmp_path / "store"
    fragile = {"BACKEND": "tests.faults.site.stores.Fragile", "LOCATION": str(store)}
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2}
    queues = {"littlebro": {"exchange": "littlebro", "queue_arguments": arguments}}
    site = make_site(rabbitmq, backend=fragile, celery={"CELERY_TASK_QUEUES": queues})
    (tmp_path / "store.down").touch()
    site.run("some", 700)
    worker = site.worker(pool="solo", CELERY_SITE_WAIT="0.1")
    wait_until(lambda: site.log().count("goes back to the queue: ConnectionError") >= 10, 60, "copies")
    assert not logged(store)
    (tmp_path / "store.down").unlink()
    wait_until(lambda: len(set(logged(store))) == 700, 40, "700 events in the store")
    wait_until(lambda: site.waiting() == 0, what="an empty queue")
    site.stop(worker)
    assert site.verdict(stored=logged(store)).lost == 0
    assert "no copy could be published" not in site.log()
    site.delete_queues()
