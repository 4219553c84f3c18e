"""Trouble around the task: stores away, limits of the project's own, old workers, two beats; nothing is lost."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.conftest import Maker
from tests.brokers.harness import Site
from tests.faults.harness import logged, wait_until
from tests.faults.outages import locked_table

pytestmark = pytest.mark.slow


def assert_all_stored(site: Site, n: int) -> None:
    site.until_stored(n)
    verdict = site.verdict()
    assert (verdict.accepted, verdict.stored, verdict.lost, verdict.duplicated) == (n, n, 0, 0), site.errors()


def test_the_store_is_away_for_longer_than_a_batch_waits(
    make_site: Maker, broker: str, tmp_path: Path
) -> None:
    """Batches wait in the task, go back as confirmed copies, again and again, and are there when the store is."""
    store = tmp_path / "store"
    fragile = {"BACKEND": "tests.faults.site.stores.Fragile", "LOCATION": str(store)}
    site = make_site(broker, backend=fragile)
    (tmp_path / "store.down").touch()
    site.run("some", 1200)
    worker = site.worker(pool="threads", CELERY_SITE_WAIT="1.5")
    wait_until(lambda: site.log().count("goes back to the queue: ConnectionError") >= 5, 40, "copies")
    assert not logged(store)
    (tmp_path / "store.down").unlink()
    wait_until(lambda: len(set(logged(store))) == 1200, 40, "1,200 events in the store")
    wait_until(lambda: site.waiting() == 0, what="an empty queue")
    site.stop(worker)
    assert site.verdict(stored=logged(store)).lost == 0
    assert len(logged(store)) == 1200, "no batch was multiplied"
    assert "no copy could be published" not in site.log()


def test_a_time_limit_of_the_project(make_site: Maker, redis: str) -> None:
    """The project's task_time_limit is shorter than the store is frozen: the task has its own, nothing is dropped."""
    limits = {"CELERY_TASK_TIME_LIMIT": 2, "CELERY_TASK_SOFT_TIME_LIMIT": 1}
    site = make_site(redis, celery=limits)
    worker = site.worker(pool="prefork")
    with locked_table(site):
        site.run("some", 700)
        time.sleep(4)
    assert_all_stored(site, 700)
    assert "TimeLimitExceeded" not in site.log()
    site.stop(worker)


def test_a_rolling_deploy(make_site: Maker, redis: str) -> None:
    """Old workers without the task, without the alias, without the format: batches wait for one that has it."""
    site = make_site(redis)
    older = site.worker(CELERY_SITE_OLD="1")
    with_alias = json.loads(json.dumps(site.aliases))
    with_alias["added"] = {**with_alias["default"], "COLLECTION": "added"}
    known, site.aliases = site.aliases, with_alias
    site.rewrite()
    site.program("to", "added", 300)
    site.program("newer", 10)
    time.sleep(1)
    assert site.waiting() == 2, "the oldest worker does not even read the queue"
    site.stop(older)

    site.aliases = known
    site.rewrite()
    old = site.worker()
    wait_until(lambda: "there is no such alias" in site.log(), what="the word of an old worker on the alias")
    wait_until(
        lambda: "waits for a newer littlebro" in site.log(), what="the word of an old worker on the format"
    )
    site.run("some", 100)
    site.until_stored(100)
    site.stop(old)

    site.aliases = with_alias
    site.rewrite()
    new = site.worker()
    assert_all_stored(site, 400)
    site.stop(new)
    assert site.waiting() == 1, "what is newer than all of them waits on"
    assert not site.dead_letters()


def test_two_beats(make_site: Maker, redis: str, tmp_path: Path) -> None:
    """Two schedulers beside each other: chores are done, by name, and no event is lost or doubled by it.

    So it is where Celery is told to make no queue that the settings do not name.
    """
    site = make_site(redis, celery={"CELERY_TASK_CREATE_MISSING_QUEUES": False})
    worker = site.worker()
    beats = [
        site.celery_program("beat", f"--schedule={tmp_path / name}", "--loglevel=INFO", CELERY_SITE_HASTE="1")
        for name in ("one", "two")
    ]
    site.run("some", 500, "os._exit")
    assert_all_stored(site, 500)
    wait_until(lambda: site.log().count("littlebro.upkeep[") >= 4, what="upkeep")
    wait_until(lambda: site.log().count("littlebro.purge[") >= 4, what="purge")
    for beat in beats:
        beat.terminate()
        beat.wait(20)
    site.stop(worker)
    assert_all_stored(site, 500)
    assert "Traceback" not in site.log(), site.errors()


def contexts(site: Site) -> dict[str, tuple[dict[str, Any], str | None]]:
    rows = site.rows("SELECT name, context, user_id FROM littlebro_storedevent")
    return {name: (json.loads(context), user) for name, context, user in rows}


def test_context_goes_along(make_site: Maker, broker: str) -> None:
    """What a task tracks knows the request that started it, and the task that this one started; the user if asked."""
    site = make_site(broker)
    worker = site.worker(CELERY_SITE_USER="1")  # for what its tasks send; the sender decides
    site.program("serve", "request-1")
    site.until_stored(3)
    found = contexts(site)
    assert found["first"] == found["second"] == ({"plan": "pro", "request_id": "request-1"}, None)
    assert found["alone"] == ({}, None)
    site.program("serve", "request-2", CELERY_SITE_USER="1")
    site.until_stored(6)
    users = dict(site.rows("SELECT user_id, count(*) FROM littlebro_storedevent GROUP BY user_id"))
    assert users == {None: 4, "4711": 2}
    site.stop(worker)


def test_which_workers_read_the_queue(make_site: Maker, redis: str) -> None:
    """One that was told of no queue does; ``-Q`` and ``-X`` have the last word."""
    assert make_site(redis).program("queues") == {
        "": ["celery", "littlebro"],
        "-Q celery": ["celery"],
        "-Q celery,littlebro": ["celery", "littlebro"],
        "-X littlebro": ["celery"],
        "-X celery": ["littlebro"],
    }
