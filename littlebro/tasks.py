"""Celery's side: the task that stores a batch, and beat's chores.

Found by the project's own app (`autodiscover_tasks`), since ``"littlebro"`` is in INSTALLED_APPS. A batch comes in as
one JSON text; it is stored, or it goes back to the queue, and is never dropped. Celery's own `retry()` and ETA are not
used: they keep batches in the worker's memory, and drop them when the broker is away. Names and arguments never
change: old and new versions of a site run side by side while it is deployed.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from billiard.process import current_process
from celery import Celery, shared_task, signals
from celery.exceptions import Reject
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from littlebro import (
    carrying,  # noqa: F401 - connected by being imported
    checks_celery,
    conf,
    publishing,
)
from littlebro.analysis import erasure
from littlebro.analysis.lake import Busy, lake_of
from littlebro.analysis.lake import sync as sync_lake
from littlebro.delivery import JournalTracker, losses
from littlebro.delivery.batch import parse_message
from littlebro.delivery.courier import close_connections, commit_connections
from littlebro.delivery.handler import trackers
from littlebro.delivery.journaled import close_all, keep_notes
from littlebro.delivery.transactions import committing
from littlebro.events.context import inside_delivery
from littlebro.events.event import FORMAT, Event
from littlebro.exceptions import NewerFormat
from littlebro.publishing import TASK, publisher
from littlebro.storage.handler import backends

__all__ = ["deliver", "purge", "sync", "upkeep"]

logger = logging.getLogger("littlebro")

# The project's task_time_limit would drop the batch that it cuts short; a day is longer than any wait here.
_NO_LIMIT: Final = 24 * 3600
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
# For a batch that this worker cannot judge and another may: just long enough not to spin.
_SHORT_PAUSE: Final = 2.0
# Seconds for which a sink that failed is not tried again by this process, and for which a batch of its holds up others.
_AWAY: Final = 30.0
_TURN: Final = 0.1
# Bytes. A segment has a megabyte at most by default, and some more as a text inside a message; beyond one,
# Linux asks for privileges.
_PIPE_SIZES: Final = (2 * 1024**2, 1024**2, 512 * 1024, 256 * 1024)

_events: Final = msgspec.json.Decoder(list[Event])


@shared_task(
    name=TASK,
    bind=True,
    acks_late=True,
    reject_on_worker_lost=True,
    acks_on_failure_or_timeout=False,
    ignore_result=True,
    store_errors_even_if_ignored=False,
    serializer="json",
    time_limit=_NO_LIMIT,
    soft_time_limit=_NO_LIMIT,
    rate_limit=0,  # with None, task_default_rate_limit would hold
    # What a base class of the project's own (Celery's task_cls) may say of all tasks.
    max_retries=0,
    autoretry_for=(),
    expires=None,
)
def deliver(self: Any, alias: str, batch: str) -> None:
    """Store `batch`, the text of a JSON array of encoded events of `alias`; put it back where that cannot be now.

    ``"alias/sink"`` stores it in a sink of the alias.
    """
    if self.request.is_eager or self.request.called_directly:  # there is no queue to put it back into
        _store(alias, batch)
        return
    reason = _store_in_sink(alias, batch) if "/" in alias else _store_patiently(alias, batch)
    if reason is not None:
        _put_back(alias, batch, reason)


def _store_patiently(alias: str, batch: str) -> str | None:
    """Store a batch, and wait for its store for a while; return why it is not stored, or None."""
    end = time.monotonic() + publishing.LONGEST_WAIT
    pause = _FIRST_PAUSE
    while True:
        try:
            with _own_connections():
                _store(alias, batch)
                commit_connections()
        except (ImproperlyConfigured, NewerFormat) as error:
            # A newer site sent it, or an older one: there may be a worker that knows better.
            time.sleep(_SHORT_PAUSE)
            return str(error)
        except Exception as error:  # noqa: BLE001 - a bug must not cost a batch either: it waits, with its reason
            _close_connections()
            reason = f"{type(error).__name__}: {error}"
            if time.monotonic() + pause > end:
                return reason
            if pause == _FIRST_PAUSE:
                logger.warning("littlebro[%s]: a batch waits for its store: %s", alias, reason)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return None


# The sinks that failed, each as its alias in messages: until when, by the monotonic clock, they are not tried.
_away: Final[dict[str, float]] = {}


def _store_in_sink(alias: str, batch: str) -> str | None:
    """Store a batch in a sink, without waiting for one that is away: the batches of others come behind it."""
    if time.monotonic() < _away.get(alias, 0.0):
        time.sleep(_TURN)
        return "its sink is away"
    try:
        with _own_connections():
            _store(alias, batch)
            commit_connections()
    except NewerFormat as error:  # of this batch alone
        time.sleep(_TURN)
        return str(error)
    except Exception as error:  # noqa: BLE001 - as above
        _close_connections()
        _away[alias] = time.monotonic() + _AWAY
        reason = f"{type(error).__name__}: {error}"
        logger.warning("littlebro[%s]: batches go back to the queue for %.0f s: %s", alias, _AWAY, reason)
        return reason
    _away.pop(alias, None)
    return None


def _store(alias: str, batch: str) -> None:
    """Store a batch; raise whatever keeps it from being stored."""
    name, _, sink = alias.partition("/")
    with inside_delivery():
        tracker = trackers[name]
        events = _only_events(batch)
        if events is None:
            found = parse_message(batch)
            events = found.events
            keep_notes(name, found, source="")
        if events:
            tracker.delivery_to(sink).save(events)
        if isinstance(tracker, JournalTracker) and losses.pending(name):
            tracker.write_losses(force=False)


# The database connections that deliveries of this process keep, by alias.
_kept: Final[dict[str, Any]] = {}


@contextmanager
def _own_connections() -> Iterator[None]:
    """Keep the database connections of deliveries from one batch to the next, as long as CONN_MAX_AGE says.

    Celery closes every connection before and after each task, so that half of a batch's time would go into new
    ones; out of sight, ours stay. Only where tasks follow each other in one thread: in a process of the prefork
    pool, or with the pool solo.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    opened = {each.alias for each in connections.all(initialized_only=True) if each.connection is not None}
    for alias, kept in _kept.items():
        if alias in opened:  # by a handler of the project's, for this task
            kept.close()
            continue
        kept.close_if_unusable_or_obsolete()
        kept.health_check_done = False
        connections[alias] = kept
    _kept.clear()
    try:
        yield
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.settings_dict["CONN_MAX_AGE"] != 0 and not connection.in_atomic_block:
                _kept[connection.alias] = connection
                del connections[connection.alias]


def _close_connections() -> None:
    """Close what may be broken, ours and those of this thread."""
    while _kept:
        _kept.popitem()[1].close()
    close_connections()


def _only_events(batch: str) -> Sequence[Event] | None:
    """Return the events of a batch that holds nothing else, which is nearly every one; else None."""
    try:
        events = _events.decode(batch)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return events if all(event.v <= FORMAT for event in events) else None


def _put_back(alias: str, batch: str, reason: str) -> None:
    """Put a fresh copy at the end of the queue, so that others get their turn; failing that, hand this one back."""
    # Those of a sink that is away come by many times a minute, and it was told.
    level = logging.DEBUG if "/" in alias else logging.WARNING
    logger.log(level, "littlebro[%s]: a batch goes back to the queue: %s", alias, reason)
    try:
        publisher.publish(alias, batch)
    except Exception as error:  # noqa: BLE001 - whatever keeps the copy out, the batch itself is still there
        logger.warning(
            "littlebro[%s]: no copy could be published: %s: %s", alias, type(error).__name__, error
        )
        time.sleep(_LONGEST_PAUSE)
        raise Reject(reason, requeue=True) from None


@shared_task(name="littlebro.upkeep", ignore_result=True, time_limit=_NO_LIMIT, soft_time_limit=_NO_LIMIT)
def upkeep() -> None:
    """Deliver what lies in the journals of this machine, what dead processes left included."""
    for alias in conf.aliases():
        try:
            done = trackers[alias].upkeep()
        except Exception:
            logger.exception("littlebro[%s]: upkeep failed.", alias)
            continue
        if done.get("reason"):
            logger.warning("littlebro[%s]: upkeep left %s segments: %s", alias, done["left"], done["reason"])


@shared_task(name="littlebro.purge", ignore_result=True, time_limit=_NO_LIMIT, soft_time_limit=_NO_LIMIT)
def purge() -> None:
    """Delete the events that are past the RETENTION_DAYS of their alias."""
    for alias in conf.aliases():
        try:
            with committing():
                deleted = erasure.purge(alias)
        except Exception:
            logger.exception("littlebro[%s]: purging failed.", alias)
            continue
        if deleted:
            logger.info("littlebro[%s]: %d events past retention were deleted.", alias, deleted)


@shared_task(name="littlebro.sync", ignore_result=True, time_limit=_NO_LIMIT, soft_time_limit=_NO_LIMIT)
def sync() -> None:
    """Bring the lakes of this machine up to date, one a store; without LITTLEBRO_LAKE there is nothing to do."""
    done: set[str] = set()
    for alias in conf.aliases():
        try:
            lake = lake_of(alias)
            if lake is None or lake.alias in done or not backends[alias].supports_scan:
                continue
            done.add(lake.alias)
            sync_lake(alias)
        except Busy:
            continue  # somebody else is at it
        except Exception:
            logger.exception("littlebro[%s]: the lake could not be synced.", alias)


@signals.celeryd_init.connect(weak=False, dispatch_uid="littlebro.tasks")
def _read_queue(instance: Any, **_: Any) -> None:
    """Let a worker read our queue; before ``-Q`` and ``-X`` are applied, so that these have the last word."""
    app: Celery = instance.app
    app.amqp.queues.select_add(publishing.queue_of(app))


@signals.beat_init.connect(weak=False, dispatch_uid="littlebro.tasks")
def _know_queue(sender: Any, **_: Any) -> None:
    """Let a beat send our chores, also where task_create_missing_queues is off."""
    app: Celery = sender.app
    app.amqp.queues.add(publishing.queue_of(app))


@signals.worker_ready.connect(weak=False, dispatch_uid="littlebro.tasks")
def _look(**_: Any) -> None:
    """Say, when a worker starts, what in settings or broker will lose events."""
    try:
        with publishing.connect(publishing.project_app()) as connection:
            findings = [*checks_celery.of_settings(), *checks_celery.of_memory(connection)]
    except Exception as error:  # noqa: BLE001 - a look must not keep a worker from working
        logger.debug("littlebro: the broker could not be looked at: %s", error)
        return
    for finding in findings:
        logger.warning("littlebro: %s %s", finding.message, finding.hint)


@signals.worker_process_init.connect(weak=False, dispatch_uid="littlebro.tasks")
def _widen_pipe(**_: Any) -> None:
    """Let a whole batch fit into the pipe through which a process of the pool gets its tasks.

    A worker that is told to end while half a message is in the pipe (Linux gives it 64 KiB) never writes the
    other half, and waits for the process for ever (seen with Celery 5.4 and 5.7).
    """
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
    inlet = getattr(getattr(current_process(), "inq", None), "_reader", None)
    if set_size is None or inlet is None:
        return
    for size in _PIPE_SIZES:
        try:
            fcntl.fcntl(inlet.fileno(), set_size, size)
        except OSError:  # more than this machine lets us have
            continue
        return


@signals.worker_process_shutdown.connect(weak=False, dispatch_uid="littlebro.tasks")
def _close(**_: Any) -> None:
    """Deliver what tasks tracked: a pool's process ends without running `atexit`."""
    close_all()
    publisher.close()
    _close_connections()
