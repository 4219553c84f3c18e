"""Outages that need more than one part: killed workers, an old worker, dead connections, everything at once."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.brokers.harness import Site, children_of
from tests.faults.brokers import Broker
from tests.faults.harness import World, wait_until
from tests.faults.outages import Database

__all__ = ["everything", "kill_one", "repeated_kills", "rolling_deploy", "swallowing", "worker_cut_off"]

_MID_BATCH = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def _site(world: World) -> Site:
    assert isinstance(world, Site)
    return world


def kill_one(database: Database, site: Site, *, whole: bool) -> None:
    """Kill a worker's process, or all of it, while it is in the middle of a batch; start another for a whole one."""
    (worker,) = site.running
    with database.locked(site.database) as look:
        wait_until(lambda: look.execute(_MID_BATCH).fetchone()[0], what="a batch at the locked table")
        if whole:
            site.kill(worker)
        else:
            for child in children_of(worker.pid):
                os.kill(child, signal.SIGKILL)
    if whole:
        site.worker(pool="prefork")


@contextlib.contextmanager
def repeated_kills(database: Database, world: World, *, whole: bool) -> Iterator[None]:
    """Kill in the middle of a batch, again and again, once a second at the most; at least once."""
    site = _site(world)
    with _again_and_again(lambda: kill_one(database, site, whole=whole)):
        yield


@contextlib.contextmanager
def _again_and_again(act: Callable[[], Any]) -> Iterator[None]:
    """Do something every second in a thread, at least once; raise what it raised."""
    end = threading.Event()
    raised: list[BaseException] = []

    def go() -> None:
        try:
            act()
            while not end.wait(1):
                act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    if raised:
        raise raised[0]


@contextlib.contextmanager
def rolling_deploy(world: World) -> Iterator[None]:
    """Have a worker that knows nothing of littlebro; afterwards one that does."""
    site = _site(world)
    old = site.worker(pool="prefork", CELERY_SITE_OLD="1")
    yield
    assert "unregistered" not in site.log()
    site.kill(old)
    site.worker(pool="prefork")


@contextlib.contextmanager
def swallowing(broker: Broker, world: World) -> Iterator[None]:
    """Let what producer and worker send vanish, and leave their connections dead for good."""
    site = _site(world)
    with broker.proxy.in_mode("swallow"):
        yield
    # A worker whose connection is dead for good is Celery's to find: by a heartbeat, or by who starts it again.
    _replace_worker(site)


@contextlib.contextmanager
def worker_cut_off(broker: Broker, world: World) -> Iterator[None]:
    """Let the worker's machine vanish: the broker goes on sending to it, and hears no end of the connection."""
    site = _site(world)
    site.still = 10.0  # no store is away, for which a worker would be waiting
    proxy = broker.another_proxy()
    with contextlib.closing(proxy):
        settings = {**site.celery, "CELERY_BROKER_URL": broker.through(proxy)}
        _replace_worker(site)
        site.worker(pool="prefork", CELERY_SITE=json.dumps(settings))
        with proxy.in_mode("swallow"):
            yield
        _replace_worker(site)


def _replace_worker(site: Site) -> None:
    """End the worker; another is started when everything is mended."""
    for worker in list(site.running):
        site.kill(worker)


@contextlib.contextmanager
def everything(database: Database, broker: Broker, world: World) -> Iterator[None]:
    """Kill the broker, a worker and another web process, stop the database; have all of it back at the end."""
    site = _site(world)
    nursery = site.start("nursery")
    born = site.ask(nursery)["child"]
    time.sleep(0.5)
    with contextlib.ExitStack() as stack:
        stack.enter_context(broker.killed())
        stack.enter_context(database.stopped())
        site.kill(site.running[0])
        os.kill(born, signal.SIGKILL)
        yield
    site.worker(pool="prefork")
