"""The other end of the broker: a worker that stores what comes, and beat, which asks for the chores.

And the broker itself, looked at before the shop opens and tidied after it has closed. Celery is imported only where
the tracker needs it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from littlebro.demo.children import Child
from littlebro.demo.parts import Missing, Parts, shown

__all__ = ["demand_broker", "start_workers", "tidy_broker", "waiting"]

_APP = ["-m", "celery", "--app", "littlebro.demo.celery"]
_SECONDS_TO_ANSWER = 0.5
_LEFT = "left-in-broker"


def start_workers(parts: Parts, folder: Path) -> list[Child]:
    """Start a worker and a beat, if events go by a broker.

    A worker that stores one batch after the other in its own process is quick to stop, and enough for a shop.
    """
    if not parts.has_worker:
        return []
    worker = [
        *_APP,
        "worker",
        "--pool",
        "solo",
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        "WARNING",
    ]
    beat = [
        *_APP,
        "beat",
        "--schedule",
        str(folder / "beat-schedule"),
        "--pidfile",
        "",
        "--loglevel",
        "WARNING",
    ]
    return [Child("beat", beat, folder, patience=10.0), Child("worker", worker, folder)]


def demand_broker(parts: Parts, folder: Path) -> None:
    """Raise `Missing` unless the broker answers, and is nobody else's: their worker would store the demo's events.

    Batches may be there that an earlier demo in the same folder had to leave.
    """
    if not parts.has_worker:
        return
    from littlebro.demo.celery import app  # noqa: PLC0415 - needs the extra and the settings

    where = shown(parts.broker)
    try:
        found = waiting(parts)
        others = app.control.ping(timeout=_SECONDS_TO_ANSWER)
    except Exception as error:
        raise Missing(f"the broker {where} does not answer: {_line(error)}") from error
    is_ours = (folder / _LEFT).exists()
    if others or (found and not is_ours):
        who = (
            f"worker {', '.join(next(iter(other)) for other in others)}"
            if others
            else f"{found} batches of others"
        )
        raise Missing(
            f"the broker {where} is in use ({who}): name a virtual host, or a database of Redis, "
            "that is the demo's alone"
        )


def waiting(parts: Parts) -> int:
    """Return how many batches wait in the broker."""
    if not parts.has_worker:
        return 0
    from littlebro.publishing import QUEUE, connect, project_app  # noqa: PLC0415 - needs the extra

    with connect(project_app()) as connection:
        try:
            return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        except connection.channel_errors:  # there is no such queue
            return 0


def tidy_broker(parts: Parts, kept: Path | None) -> None:
    """Delete the queue that the demo has made; unless a folder is kept, and the queue holds what belongs to it."""
    if not parts.has_worker:
        return
    from littlebro.publishing import connect, project_app, queue_of  # noqa: PLC0415 - needs the extra

    with contextlib.suppress(Exception):  # a broker that is away has its own way of forgetting
        if kept is not None:
            (kept / _LEFT).unlink(missing_ok=True)
            if waiting(parts):
                (kept / _LEFT).touch()
                return
        app = project_app()
        with connect(app) as connection:
            queue = queue_of(app)(connection.default_channel)
            queue.declare()  # Redis: kombu deletes what it has declared
            queue.delete()


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text}"
