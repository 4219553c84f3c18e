"""What in a project's Celery settings, or in its broker, would lose events: findings for the checks and for a worker.

In: the project's app. Out: findings, each with a kind that `littlebro.checks` gives its id. Imports celery: only
asked where an alias uses the tracker ``celery``. `of_settings` opens no connection, `of_broker` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from amqp.exceptions import NotFound
from celery import Celery
from celery.app.annotations import prepare, resolve_all
from django.core.exceptions import ImproperlyConfigured

from littlebro.publishing import LONGEST_WAIT, QUEUE, TASK, connect, project_app

__all__ = ["Finding", "of_broker", "of_memory", "of_settings"]

_JSON: Final = {"json", "application/json"}
_PICKLE: Final = {"pickle", "application/x-python-serialize"}
_CONFIRMING: Final = {"py-amqp", "redis"}
_VISIBILITY: Final = 3600  # kombu's default, in seconds
_OURS: Final = {"acks_late": True, "reject_on_worker_lost": True, "acks_on_failure_or_timeout": False}
_SECONDS_TO_ANSWER: Final = 1.0


class Finding(NamedTuple):
    """Something that is wrong: its kind, what it is, and what to do."""

    kind: str
    message: str
    hint: str


def of_settings() -> Iterator[Finding]:
    """Yield what the settings of the project's app say, without a connection."""
    try:
        app = project_app()
    except ImproperlyConfigured as error:
        yield Finding(
            "no-app", str(error), "Celery itself would talk to guest@localhost, and nobody would read."
        )
        return
    if app.conf.task_always_eager:
        return
    if not (app.conf.broker_url or app.conf.broker_write_url):
        yield Finding(
            "no-broker",
            "The Celery app names no broker, so that Celery talks to amqp://guest@localhost.",
            "Set broker_url (CELERY_BROKER_URL, with the namespace CELERY).",
        )
    yield from _of_content(app)
    yield from _of_annotations(app)
    yield from _of_transport(app)


def _of_content(app: Celery) -> Iterator[Finding]:
    accepted = {str(kind) for kind in app.conf.accept_content or ()}
    if not accepted & _JSON:
        yield Finding(
            "no-json",
            f"Celery's accept_content is {sorted(accepted)}: workers would refuse, and lose, each batch of events.",
            "Add 'json' to it.",
        )
    if accepted & _PICKLE:
        yield Finding(
            "pickle",
            "Celery's accept_content has 'pickle': whoever reaches the broker runs code in your workers.",
            "Take it out; littlebro needs 'json' alone.",
        )


def _of_annotations(app: Celery) -> Iterator[Finding]:
    """Yield what ``task_annotations`` write over the attributes of our task, which a worker obeys."""
    given: dict[str, Any] = {}
    for annotation in resolve_all(prepare(app.conf.task_annotations), _Named()):  # '*' comes last, and wins
        given |= annotation
    wrong = [f"{name} = {value!r}" for name, value in sorted(given.items()) if _loses(app, name, value)]
    if wrong:
        yield Finding(
            "overruled",
            f"Celery's task_annotations set {', '.join(wrong)} for {TASK!r}, which then loses a batch that takes "
            "longer, fails or is cut short.",
            "Name your own tasks in place of '*', which Celery puts above all other entries; task_time_limit does no "
            "harm.",
        )


class _Named:
    """Stands for our task, which a web process need not have loaded."""

    name = TASK


def _loses(app: Celery, name: str, value: Any) -> bool:
    if name in {"time_limit", "soft_time_limit"}:
        value = app.conf[f"task_{name}"] if value is None else value
        return value is not None and value < LONGEST_WAIT * 2
    return name in _OURS and bool(value) is not _OURS[name]


def _of_transport(app: Celery) -> Iterator[Finding]:
    try:
        transport = connect(app).transport
    except Exception as error:  # noqa: BLE001 - of a library that is missing, for one
        yield Finding(
            "no-broker",
            f"Celery cannot use the broker that broker_url names: {type(error).__name__}: {error}",
            "Install what its transport needs, or name RabbitMQ or Redis.",
        )
        return
    if transport.driver_name not in _CONFIRMING:
        yield Finding(
            "no-confirms",
            f"The broker's transport {transport.driver_name!r} does not confirm that it has a message; littlebro "
            "takes a batch for sent when it may be lost.",
            "Use RabbitMQ through py-amqp (uninstall librabbitmq), or Redis.",
        )
    if transport.driver_type != "redis":
        return
    visibility = (app.conf.broker_transport_options or {}).get("visibility_timeout", _VISIBILITY)
    ahead = app.conf.worker_prefetch_multiplier
    numbers = {
        "broker_transport_options['visibility_timeout']": visibility,
        "worker_prefetch_multiplier": ahead,
    }
    odd = {name: value for name, value in numbers.items() if not isinstance(value, int | float)}
    for name, value in odd.items():  # of an environment variable, say
        yield Finding(
            "visibility",
            f"Celery's {name} is {value!r} and no number: workers fail on it, and nobody hands out again what a killed "
            "one held.",
            "Give a number, or leave it out.",
        )
    if odd:
        return
    # A process holds, beside the batch that it waits for, this many that wait for their turn; 0 is any number.
    needed = LONGEST_WAIT * (ahead + 1)
    if not ahead or visibility < needed:
        raised = (
            f"broker_transport_options['visibility_timeout'] to {needed:.0f} or more, or " if ahead else ""
        )
        yield Finding(
            "visibility",
            f"Redis hands out a batch again after {visibility} seconds (visibility_timeout); while its store is "
            f"away, a worker may keep one for {f'{needed:.0f}' if ahead else 'longer'}, so that batches would "
            "multiply.",
            f"Set {raised}worker_prefetch_multiplier to 1.",
        )


def of_broker() -> Iterator[Finding]:
    """Yield what the broker itself says: what it may forget, and whether anybody reads. Opens a connection."""
    try:
        app = project_app()
        if app.conf.task_always_eager:
            return
        connection = connect(app)
    except Exception:  # noqa: BLE001 - told by of_settings
        return
    try:
        yield from of_memory(connection)
        if not _is_read(app, connection):
            yield Finding(
                "unread",
                f"No worker reads the queue {QUEUE!r}; batches wait there.",
                f"Start a worker without -Q, or with -Q {QUEUE} among its queues; it must find littlebro.tasks "
                "(app.autodiscover_tasks()).",
            )
    except Exception as error:  # noqa: BLE001 - whatever a broker raises is the finding
        yield Finding(
            "no-answer",
            f"The broker {connection.as_uri()} does not answer: {type(error).__name__}: {error}",
            "Events wait in the journal until it does.",
        )
    finally:
        connection.release()


def of_memory(connection: Any) -> Iterator[Finding]:
    """Yield how a Redis at the other end of `connection` may forget what it took."""
    if connection.transport.driver_type != "redis":
        return
    client = connection.default_channel.client
    memory, persistence = client.info("memory"), client.info("persistence")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        yield Finding(
            "eviction",
            f"Redis throws keys away when its memory is full (maxmemory-policy {policy}), the queue among them: "
            "events would be lost unseen.",
            "Set maxmemory-policy noeviction: then events wait in the journal instead.",
        )
    if not persistence.get("aof_enabled"):
        yield Finding(
            "forgetful",
            "Redis keeps no append-only file: batches that wait in its queue are lost when it restarts.",
            "Set appendonly yes, or accept the loss.",
        )


def _is_read(app: Celery, connection: Any) -> bool:
    """Return whether some worker reads our queue, as far as the broker or the workers say."""
    if connection.transport.driver_type == "amqp":
        try:
            found = connection.default_channel.queue_declare(QUEUE, passive=True)
        except NotFound:
            return False
        return bool(found.consumer_count)
    if not app.conf.worker_enable_remote_control:  # no worker would answer
        return True
    answers = app.control.inspect(timeout=_SECONDS_TO_ANSWER, connection=connection).active_queues() or {}
    return any(queue["name"] == QUEUE for queues in answers.values() for queue in queues)
