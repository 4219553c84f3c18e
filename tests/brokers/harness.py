"""A trial with a broker: the world of `tests.faults` whose tracker is ``celery``, with real workers.

In: the broker's URL and Celery's settings. Out: workers and programs as child processes, what waits in the queue,
and the verdict that the world gives.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.faults.harness import World, wait_until

__all__ = ["Site", "children_of"]

# Seconds: without a move for so long, what is missing is taken for lost; a worker's longest pause is ten.
_STILL = 30.0
# Kombu looks for what is overdue when a worker starts, and then but every hundred seconds.
_OVERDUE = 5.0


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
        self.still = _STILL
        self.running: list[subprocess.Popen[str]] = []  # the workers that this trial started
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
        self.running.append(child)
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
        self.running.remove(worker)

    def kill(self, worker: "subprocess.Popen[str]") -> None:
        """End all processes of a worker with SIGKILL."""
        if worker.poll() is None:
            for pid in [worker.pid, *children_of(worker.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            worker.wait()
        self.running.remove(worker)

    def workers(self) -> list[int]:
        """Return the processes of all workers that run."""
        found = [worker.pid for worker in self.running if worker.poll() is None]
        return found + [child for pid in found for child in children_of(pid)]

    def settle(self, seconds: float) -> dict[str, Any]:
        """Publish what lies in the journal, and let a worker store it; return what `upkeep` counted.

        A worker is started if none is alive. Ends early when all is stored, or when nothing moves any more.
        """
        end = time.monotonic() + seconds
        while (done := self.upkeep())["left"] and time.monotonic() < end:
            time.sleep(0.5)
        seen, since = -1, time.monotonic()
        begun = since  # when a worker was last started
        while (now := time.monotonic()) < end:
            if not self.workers():
                self.worker(pool="prefork")
                begun = time.monotonic()
            if self.is_quiet() and not set(self.accepted()) - set(self.stored()):
                time.sleep(1)  # counts may be on their way still
                break
            stored = len(self.stored())
            if stored != seen:
                seen, since = stored, now
            elif now > since + self.still:
                break
            elif self._is_overdue() and now > max(since, begun) + _OVERDUE:
                self.kill(self.running[-1])
            time.sleep(0.5)
        return done

    def is_quiet(self) -> bool:
        """Return whether no batch waits, nor, as far as the broker says, is at a worker."""
        return not self.waiting() and not self._held()

    def _held(self) -> int:
        from kombu import Connection

        if not self.broker.startswith("redis"):
            return 0
        with Connection(self.broker) as link:
            return int(link.default_channel.client.hlen("unacked"))

    def _is_overdue(self) -> bool:
        """Return whether Redis may hold what a killed worker had: a worker that starts gets it."""
        patience = self.celery.get("CELERY_BROKER_TRANSPORT_OPTIONS", {}).get("visibility_timeout", 3600)
        return patience < _OVERDUE and bool(self._held())

    def close(self) -> None:
        """End every child that still runs, the pools of workers too."""
        for worker in list(self.running):
            self.kill(worker)
        super().close()

    def until_stored(self, n: int, seconds: float = 30.0) -> None:
        """Wait until `n` events are in the table."""
        wait_until(lambda: len(self.stored()) >= n, seconds, f"{n} events in the table")

    def waiting(self, queue: str = "littlebro") -> int:
        """Return how many messages wait in a queue, those that a worker holds not among them."""
        from kombu import Connection

        with Connection(self.broker) as link:
            if self.broker.startswith("redis"):
                return int(link.default_channel.client.llen(queue))
            from amqp.exceptions import NotFound

            with contextlib.suppress(NotFound):
                return int(link.default_channel.queue_declare(queue, passive=True).message_count)
            return 0

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
