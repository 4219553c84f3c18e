"""The tracker ``celery`` end to end: real producers, a real broker, a real worker, and nothing lost or doubled."""

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest
from kombu import Connection

from tests.brokers.conftest import Maker
from tests.brokers.harness import Site, children_of
from tests.faults.harness import logged, wait_until
from tests.faults.outages import locked_table

pytestmark = pytest.mark.slow

_POISONED = """CREATE TRIGGER poison BEFORE INSERT ON littlebro_storedevent WHEN NEW.name = 'poison'
BEGIN SELECT RAISE(ABORT, 'no poison in here'); END"""


def assert_all_stored(site: Site, n: int) -> None:
    site.until_stored(n)
    verdict = site.verdict()
    assert (verdict.accepted, verdict.stored, verdict.lost, verdict.duplicated) == (n, n, 0, 0), site.errors()


def test_end_to_end(make_site: Maker, broker: str, tmp_path: Path) -> None:
    """From call to row, sink, dead letter and count, through a worker that was told of no queue; many, repeated."""
    sink = tmp_path / "sink.jsonl"
    site = make_site(broker, sinks={"archive": {"BACKEND": "log", "LOCATION": str(sink)}})
    site.rows(_POISONED)
    site.program("mixed", 1200)
    site.program("repeat", 3, 50)
    assert not site.stored(), "a web process writes to the broker alone"
    worker = site.worker(pool="prefork")
    site.until_stored(1249)
    wait_until(lambda: len(logged(sink)) >= 1200, what="the sink's copy")
    wait_until(lambda: len(site.dead_letters()) >= 2, what="two dead letters")
    (poison,) = site.accepted("poison")
    letters = {event: reason for _, event, _, reason in site.dead_letters()}
    assert "no poison in here" in letters.pop(poison)
    assert "price" in letters.popitem()[1]
    site.stop(worker)
    site.upkeep()
    # For what the first one counted as it ended; a worker that is told to end takes nothing more.
    worker = site.worker()
    wait_until(lambda: site.losses() == {"dead-letter": 1, "invalid": 1}, what="the counts of what was lost")
    site.stop(worker)
    verdict = site.verdict()
    assert (verdict.accepted, verdict.stored, verdict.duplicated) == (1250, 1249, 0), verdict
    assert set(logged(sink)) == set(site.accepted()) - set(site.accepted("repeated"))
    assert site.losses() == {"dead-letter": 1, "invalid": 1}
    assert site.waiting() == 0


def test_the_queue_is_deleted(make_site: Maker, broker: str) -> None:
    """Somebody deletes the queue while the site runs: batches are routed again, to a worker that goes on."""
    site = make_site(broker)
    worker = site.worker()
    producer = site.start("wait_for", 300)
    site.hear(producer)
    site.until_stored(300)
    with Connection(broker) as link:
        if broker.startswith("redis"):
            link.default_channel.client.delete("littlebro", "_kombu.binding.littlebro")
        else:
            link.default_channel.queue_delete("littlebro")
    site.ask(producer)
    site.until_stored(600)
    site.ask(producer)
    site.result(producer)
    assert_all_stored(site, 900)
    site.stop(worker)


def in_the_middle(site: Site, worker: int) -> int:
    """Wait until a child of the worker is at a batch that the locked table keeps it from storing; return it."""
    wait_until(lambda: "received" in site.log(), what="a batch in the worker")
    time.sleep(0.5)
    return max(children_of(worker))


def test_the_child_of_a_worker_is_killed(make_site: Maker, broker: str) -> None:
    """`kill -9` to the pool's process in the middle of a batch: another one stores it, at once."""
    site = make_site(broker)
    worker = site.worker(pool="prefork")
    with locked_table(site):
        site.run("some", 700)
        os.kill(in_the_middle(site, worker.pid), signal.SIGKILL)
        wait_until(
            lambda: "WorkerLostError" in site.log() or site.log().count("received") > 2, what="the loss"
        )
    assert_all_stored(site, 700)
    site.stop(worker)


def test_the_whole_worker_is_killed(make_site: Maker, broker: str) -> None:
    """`kill -9` to all processes of a worker: RabbitMQ hands the batches on at once, Redis after its time-out."""
    site = make_site(broker, celery={"CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 2}})
    worker = site.worker(pool="prefork")
    with locked_table(site):
        site.run("some", 700)
        child = in_the_middle(site, worker.pid)
        os.kill(worker.pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        worker.wait()
    time.sleep(2.5)  # kombu looks for what is overdue when it starts, and then but every hundred seconds
    other = site.worker()
    assert_all_stored(site, 700)
    site.stop(other)


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_events_tracked_inside_tasks(make_site: Maker, redis: str, pool: str) -> None:
    """Each pool of Celery, shut down warmly right after its tasks tracked: not an event is lost."""
    site = make_site(redis)
    worker = site.worker(pool=pool)
    site.program("send", 5, 100)
    wait_until(lambda: len(site.accepted()) == 500, what="the project's tasks")
    site.stop(worker)
    left = [path for path in site.journal.rglob("*") if path.suffix in {".active", ".sealed", ".fanned"}]
    assert not left, "what tasks tracked went to the broker before the worker ended"
    other = site.worker()
    assert_all_stored(site, 500)
    site.stop(other)


def test_forks_share_no_connection(make_site: Maker, broker: str) -> None:
    """Children of a process that is connected to the broker publish by connections of their own, and end."""
    site = make_site(broker)
    site.program("forks", 3, 200)
    worker = site.worker()
    assert_all_stored(site, 1001)
    site.stop(worker)


def test_a_batch_fits_into_the_pipe_of_a_pool(make_site: Maker, redis: str) -> None:
    """A worker told to end while half a batch is in the pipe to its pool would wait for ever: there are no halves."""
    site = make_site(redis)
    worker = site.worker(pool="prefork")
    (child,) = children_of(worker.pid)
    sizes = []
    for path in Path(f"/proc/{child}/fd").iterdir():
        if str(path.readlink()).startswith("pipe:"):
            end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            sizes.append(fcntl.fcntl(end, fcntl.F_GETPIPE_SZ))
            os.close(end)
    assert max(sizes) >= 256 * 1024, sizes
    site.stop(worker)
