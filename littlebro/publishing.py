"""One message a batch, from this process to the broker: routed and confirmed, or an exception.

In: an alias and a batch of encoded events. Out: a message to the task ``littlebro.deliver`` on the queue
``littlebro``. Used by the courier of the tracker ``celery`` and by a worker that puts a batch back. One connection
a process, of the project's own Celery app. Imports celery, so nothing that a project without it loads may
import this.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from celery import Celery, _state
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection, Exchange, Producer, Queue

__all__ = [
    "CONFIRM_SECONDS",
    "CONNECT_SECONDS",
    "LONGEST_WAIT",
    "QUEUE",
    "TASK",
    "Publisher",
    "connect",
    "packed",
    "project_app",
    "publisher",
    "queue_of",
]

logger = logging.getLogger("littlebro")

# A newer or older littlebro is at the other end while a site is deployed: neither these nor the task's arguments
# ever change.
TASK: Final = "littlebro.deliver"
QUEUE: Final = "littlebro"

# Seconds. Nobody but a background thread waits for them; bounded all the same, so that exit and back-off are quick.
CONNECT_SECONDS: Final = 2.0
CONFIRM_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 0.1
# Brokers and firewalls cut idle connections without a word; one that was not used for so long is not trusted.
IDLE_SECONDS: Final = 60.0
# How long a batch waits inside the task while its store is away. Below what brokers allow (an hour on Redis, half an
# hour on RabbitMQ, by default) and below the 90 seconds that systemd gives a worker to stop.
LONGEST_WAIT: Final = 60.0

_AMQP_OPTIONS: Final = {
    "confirm_publish": True,
    "read_timeout": CONFIRM_SECONDS,
    "write_timeout": CONFIRM_SECONDS,
}
_REDIS_OPTIONS: Final = {
    "socket_timeout": CONFIRM_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "retry_on_timeout": False,
}
_NO_PAUSES: Final = {"interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}

_WORTH_PACKING: Final = 1024
_PACKED: Final = "application/x-gzip"  # as kombu calls zlib


def project_app() -> Celery:
    """Return the project's own Celery app; raises `ImproperlyConfigured` where there is none.

    Celery itself would make one up that talks to guest@localhost. An app is the current one of the thread that
    made it alone, unless it was made the default (Celery's Django fixup does so); the courier is another thread.
    """
    app = _state.get_current_app()
    if not _is_made_up(app):
        return app
    others = [other for other in _state._get_active_apps() if not _is_made_up(other)]  # noqa: SLF001 - no public way
    if len(others) == 1:
        return others[0]
    found = f"there are {len(others)}, none of them the default: call app.set_default()" if others else "none"
    message = (
        f"The tracker 'celery' needs the project's own Celery app ({found}). Make one as Celery's page \"First steps "
        'with Django" shows, and import it in the __init__.py of the project.'
    )
    raise ImproperlyConfigured(message)


def _is_made_up(app: Celery) -> bool:
    return app.main == "default" and not app.set_as_current


def queue_of(app: Celery) -> Queue:
    """Return the queue ``littlebro`` as the app has it: from ``task_queues``, or as it makes missing ones."""
    try:
        queue: Queue = app.amqp.queues[QUEUE]
    except KeyError:  # task_create_missing_queues is off
        queue = Queue(QUEUE, Exchange(QUEUE, type="direct"), QUEUE)
    return queue


def connect(app: Celery) -> Connection:
    """Return a connection to the broker of `app` whose every step is bounded; nothing is opened yet."""
    # No heartbeat: nobody would send it between two batches, and the broker would hang up.
    connection: Connection = app.connection_for_write(connect_timeout=CONNECT_SECONDS, heartbeat=0)
    given: Mapping[str, Any] = connection.transport_options or {}
    amqp = connection.transport.driver_type == "amqp"
    # kombu retries a hundred times otherwise, at whatever opens the connection: each broker of a list gets its turn.
    tries = max(len(connection.alt), 2)
    few = {**_NO_PAUSES, "max_retries": tries - 1, "connect_retries_timeout": tries * CONNECT_SECONDS}
    options = {**(_AMQP_OPTIONS if amqp else _REDIS_OPTIONS), **given, **few}
    if amqp:
        options["confirm_publish"] = True
    connection.transport_options = options
    return connection


def _drop(connection: Connection) -> None:
    """Close a connection without a word to the broker, which may not answer.

    Where kombu's `collect` has to close by itself it sets the timeout of all sockets that the process makes meanwhile,
    those of other threads too; there, closing talks to nobody anyway.
    """
    if connection.transport.driver_type == "amqp":
        connection.collect()
    else:
        connection.release()


class _AsGiven:
    """Routes to where the call says: a project's ``task_routes`` are for its own tasks."""

    def route(self, options: dict[str, Any], *_args: Any, **_more: Any) -> dict[str, Any]:
        return options


class _NoResult:
    """Stands for the result that nobody waits for, so that no result backend is touched."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.ignored = True


def packed(body: Any) -> tuple[bytes, dict[str, str]]:
    """Return a message's body as it goes out, and the headers by which any kombu reads it."""
    encoded = msgspec.json.encode(body)  # what kombu's JSON makes of it, in a third of the time
    if len(encoded) < _WORTH_PACKING:
        return encoded, {}
    # The lowest level: the higher ones take twice the time for a tenth of the size.
    return zlib.compress(encoded, 1), {"compression": _PACKED}


class _Packer(Producer):
    """Sends a batch packed: a tenth in the broker's memory and on its disk, for a microsecond an event.

    Every kombu unpacks it by the message's header, whatever versions are at the two ends. A compression that the
    project chose (``task_compression``) is left to kombu.
    """

    def publish(self, body: Any, **options: Any) -> Any:
        """See kombu; celery hands over what goes out."""
        if options.get("compression") is None:
            body, headers = packed(body)
            options["headers"] = {**options["headers"], **headers}
            options |= {"serializer": None, "content_type": "application/json", "content_encoding": "utf-8"}
        return super().publish(body, **options)


class Publisher:
    """The process's connection to the broker: made at first use, anew after a fork, a failure or a long rest."""

    def __init__(self) -> None:
        # Of the parents of this process. Referenced, so that none is closed: the sockets are the parents'.
        self._inherited: list[tuple[Connection, Producer] | None] = []
        self._start_anew()
        os.register_at_fork(after_in_child=self.after_fork)

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._line: tuple[Connection, Producer] | None = None
        self._used = 0.0

    def after_fork(self) -> None:
        """Leave the parent's connection to the parent."""
        self._inherited.append(self._line)
        self._start_anew()

    def publish(self, alias: str, batch: str) -> None:
        """Send `batch`, the text of a JSON array of events; return when the broker has put it into the queue.

        `alias` is the one that the events belong to, or ``"alias/sink"`` for a sink's copy. Raises whatever
        broker or network raised. The connection is then let go, so that the next call declares the queue again:
        somebody may have deleted it.
        """
        app = project_app()
        if os.getpid() != self._pid:  # a fork that Python did not see
            self.after_fork()
        with self._lock:
            try:
                self._send(app, alias, batch)
            except BaseException:
                self._let_go()
                raise
            self._used = time.monotonic()

    def _send(self, app: Celery, alias: str, batch: str) -> None:
        if self._line is not None and time.monotonic() > self._used + IDLE_SECONDS:
            self._let_go()
        if self._line is None:
            connection = connect(app)
            self._line = connection, _Packer(connection, auto_declare=False)
        app.send_task(
            TASK,
            args=(alias, batch),
            producer=self._line[1],
            router=_AsGiven(),
            queue=queue_of(app),
            serializer="json",
            delivery_mode="persistent",
            retry=False,
            mandatory=True,  # a message for a queue that is gone is confirmed as happily, without this
            confirm_timeout=CONFIRM_SECONDS,
            ignore_result=True,
            result_cls=_NoResult,
            add_to_parent=False,
            argsrepr=f"({alias!r}, {len(batch)} characters)",
        )

    def _let_go(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            try:
                _drop(line[0])
            except Exception:
                logger.debug("littlebro: a connection to the broker could not be closed.", exc_info=True)

    def close(self) -> None:
        """Close the connection, if this process has one; the next `publish` makes another.

        One that is in the middle of a batch is left to the end of the process: an exit has its bound.
        """
        if os.getpid() == self._pid and self._lock.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._let_go()
            finally:
                self._lock.release()


publisher: Final = Publisher()
