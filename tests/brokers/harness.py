"""A trial with a broker: the world of `tests.faults` whose tracker is ``celery``, with real workers.

In: the broker's URL and Celery's settings. Out: workers and programs as child processes, what waits in the queue,
and the verdict that the world gives.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.faults.harness import World, wait_until

__all__ = ["Site", "children_of"]


class Site(World):
    """One trial over the broker at `broker`; `celery` are settings such as ``CELERY_TASK_TIME_LIMIT``."""

    def __init__(
        self,
        folder: Path,
        database: str | Path,
        broker: str,
        celery: Mapping[str, Any] | None = None,
        backend: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.broker = broker
        self.celery = {"CELERY_BROKER_URL": broker, **(celery or {})}
        super().__init__(folder, database, backend={"TRACKER": "celery", **(backend or {})}, **more)
        self.delete_queues()

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "DJANGO_SETTINGS_MODULE": "tests.celery_site.settings",
            "CELERY_SITE": json.dumps(self.celery),
        }

    def worker(self, *options: str, pool: str = "solo", **environment: str) -> "subprocess.Popen[str]":
        """Start a worker and wait until it is ready."""
        ready = self.log().count(" ready.")
        words = ["worker", "--without-gossip", "--without-mingle", "--loglevel=INFO", f"--pool={pool}"]
        many = "1" if pool in {"solo", "prefork"} else "4"
        child = self.celery_program(*words, f"--concurrency={many}", *options, **environment)
        wait_until(lambda: self.log().count(" ready.") > ready or child.poll() is not None, 30, "a worker")
        return child

    def celery_program(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a program of Celery's for the project."""
        return self.start("-m", "celery", "--app=tests.celery_site", *words, **environment)

    def program(self, name: str, *arguments: object, **environment: str) -> dict[str, Any]:
        """Run a program of `tests.celery_site.program` to its end; return what it printed."""
        return self.result(self.start("-m", "tests.celery_site.program", name, *arguments, **environment))

    def stop(self, worker: "subprocess.Popen[str]") -> None:
        """Shut a worker down warmly, and see it end well.

        A busy process of the prefork pool now and then waits for half a minute until its worker has taken note of
        what it did (billiard's `_ensure_messages_consumed`); for ever it must not.
        """
        worker.terminate()
        assert worker.wait(45) == 0, self.errors()

    def log(self) -> str:
        """Return what the children wrote to standard error."""
        path = self.folder / "errors"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def until_stored(self, n: int, seconds: float = 30.0) -> None:
        """Wait until `n` events are in the table."""
        wait_until(lambda: len(self.stored()) >= n, seconds, f"{n} events in the table")

    def waiting(self, queue: str = "littlebro") -> int:
        """Return how many messages wait in a queue, those that a worker holds not among them."""
        from kombu import Connection

        with Connection(self.broker) as link:
            if self.broker.startswith("redis"):
                return int(link.default_channel.client.llen(queue))
            return int(link.default_channel.queue_declare(queue, passive=True).message_count)

    def delete_queues(self) -> None:
        """Delete the queues, and what of earlier trials is in them."""
        from kombu import Connection

        with Connection(self.broker) as link:
            if self.broker.startswith("redis"):
                link.default_channel.client.flushdb()
                return
            for queue in ("littlebro", "celery"):
                link.default_channel.queue_delete(queue)


def children_of(pid: int) -> Iterator[int]:
    """Yield the processes that `pid` started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[1]) == pid:
            yield int(path.parent.name)
