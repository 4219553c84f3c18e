"""The parts of the tracker ``celery`` by themselves: eager mode, the task, the publisher, what goes into a header."""

import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest
from celery import Task
from celery.exceptions import Reject
from celery.utils.time import rate
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.test import RequestFactory
from kombu.exceptions import OperationalError

from littlebro import bind, publishing, tasks, tracker, trackers
from littlebro.carrying import pack
from littlebro.delivery import losses
from littlebro.events.context import Serving, current, inside_delivery
from littlebro.exceptions import NewerFormat
from littlebro.models import DeadLetter, LossCount, StoredEvent
from tests.brokers.conftest import AppMaker

NOBODY = "redis://127.0.0.1:9/0"  # the port of "discard", where nobody listens


def batch(*names: str) -> str:
    events = [event for name in names if (event := tracker.build(name)) is not None]
    return msgspec.json.encode(events).decode()


@pytest.mark.django_db(transaction=True)
def test_eager_mode_needs_no_broker(make_app: AppMaker) -> None:
    """Under task_always_eager events, notes and counts reach the tables by the thread itself."""
    make_app(broker_url=NOBODY, task_always_eager=True)
    event = tracker.track_event("eager")
    losses.count("default", "dropped:test", 3)
    assert tracker.flush()
    assert event is not None
    assert StoredEvent.objects.get().event_id == event.id
    trackers["default"].upkeep()
    assert LossCount.objects.get().n == 3


@pytest.mark.django_db(transaction=True)
def test_the_task_called_directly_says_what_is_wrong(make_app: AppMaker) -> None:
    """Where there is no queue to go back into, the task raises instead of dropping the batch."""
    make_app(broker_url=NOBODY, task_always_eager=True)
    tasks.deliver("default", batch("a", "b"))
    assert StoredEvent.objects.count() == 2
    tasks.deliver.delay("default", batch("c"))
    assert StoredEvent.objects.count() == 3
    with pytest.raises(ImproperlyConfigured, match="no such alias"):
        tasks.deliver("unknown", batch("a"))


@pytest.mark.django_db(transaction=True)
def test_what_is_no_event_becomes_a_dead_letter(make_app: AppMaker) -> None:
    """Damaged items of a message do not keep the good ones from being stored; the newest format is not judged."""
    make_app(broker_url=NOBODY)
    good = batch("good")
    damaged = good[:-1] + ',{"id": "x"},7]'
    for _ in range(2):
        tasks.deliver("default", damaged)
    assert StoredEvent.objects.get().name == "good"
    assert sorted(bytes(letter.body) for letter in DeadLetter.objects.all()) == [b"7", b'{"id": "x"}']
    tasks.deliver("default", "not even JSON")
    assert DeadLetter.objects.filter(body=b"not even JSON").exists()
    newer = msgspec.json.decode(good)
    newer[0]["v"] = 2
    with pytest.raises(NewerFormat):
        tasks.deliver("default", msgspec.json.encode(newer).decode())
    with pytest.raises(NewerFormat):
        tasks.deliver("default", '[{"littlebro":"something new"}]')
    assert DeadLetter.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_notes_travel_as_events_do(
    make_app: AppMaker, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """A refusal and counts of losses go through the broker too, and count once however often they come."""
    settings.LITTLEBRO_STRICT = False
    make_app(broker_url=NOBODY)
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(publishing.publisher, "publish", lambda *item: sent.append(item))
    tracker.track_event("bad", {"price": float("inf")})
    assert tracker.flush()
    trackers["default"].upkeep()
    assert not LossCount.objects.exists()
    assert not DeadLetter.objects.exists()
    for alias, text in sent * 2:
        tasks.deliver(alias, text)
    assert [(count.reason, count.n) for count in LossCount.objects.all()] == [("invalid", 1)]
    assert "price" in DeadLetter.objects.get().reason


@pytest.fixture
def in_a_worker(make_app: AppMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let the task believe that a worker runs it, and not sleep; give the pauses that it would have made."""
    make_app(broker_url=NOBODY)
    pauses: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(
        tasks, "time", type("Time", (), {"sleep": staticmethod(sleep), "monotonic": lambda: now[0]})
    )
    tasks.deliver.push_request(is_eager=False, called_directly=False)
    yield pauses
    tasks.deliver.pop_request()


def test_a_batch_goes_back_after_a_bounded_wait(
    monkeypatch: pytest.MonkeyPatch, in_a_worker: list[float]
) -> None:
    """While the store is away the task waits, for a minute at most, then puts a copy back, word for word."""

    def away(*_: object) -> None:
        raise ConnectionError("the store is away")

    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(tasks, "_store", away)
    monkeypatch.setattr(publishing.publisher, "publish", lambda *item: sent.append(item))
    tasks.deliver.run("default", "[1]")
    assert sent == [("default", "[1]")]
    assert 40 < sum(in_a_worker) <= publishing.LONGEST_WAIT
    assert max(in_a_worker) <= 10


def test_a_base_class_of_the_project(
    monkeypatch: pytest.MonkeyPatch, make_app: AppMaker, broker: str
) -> None:
    """What it says of all tasks, retries and an expiry, would drop a batch; ours hears of neither, nor of a rate."""

    class Own(Task):  # type: ignore[misc]  # celery comes without types
        expires = 0.5
        autoretry_for = (Exception,)
        retry_kwargs: ClassVar = {"max_retries": 5}

    app = make_app(broker_url=broker, task_default_rate_limit="1/m")
    app.task_cls = Own
    ours = publishing.Publisher()
    ours.publish("default", "[]")
    task = app.tasks[publishing.TASK]
    ours.publish("default", "[1]")
    ours.close()
    with app.connection_for_read() as link, link.SimpleQueue(publishing.QUEUE) as queue:
        time.sleep(1)  # twice as long as what the base class lets a message live
        found = [queue.get(timeout=5) for _ in range(2)]
        assert [message.headers["expires"] for message in found] == [None, None]
        for message in found:
            message.ack()

    def away(*_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(tasks, "_store", away)
    monkeypatch.setattr(
        tasks, "time", SimpleNamespace(sleep=lambda _: None, monotonic=iter([0, 99]).__next__)
    )
    monkeypatch.setattr(publishing.publisher, "publish", away)
    task.push_request(is_eager=False, called_directly=False)
    try:
        with pytest.raises(Reject) as caught:
            task.run("default", "[1]")
    finally:
        task.pop_request()
    assert caught.value.requeue
    assert not rate(task.rate_limit)


def test_a_sink_that_is_away_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, in_a_worker: list[float]
) -> None:
    """Its batches go back without a wait, and without an attempt but for one now and then; others are stored."""
    tried: list[str] = []

    def store(alias: str, _batch: str) -> None:
        tried.append(alias)
        if alias == "default/sink" and tried.count(alias) <= 2:
            raise ConnectionError("the sink is away")

    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(tasks, "_store", store)
    monkeypatch.setattr(tasks, "_away", {})
    monkeypatch.setattr(publishing.publisher, "publish", lambda *item: sent.append(item))
    for number in range(100):
        tasks.deliver.run("default/sink", f"[{number}]")
        tasks.deliver.run("default", "[]")
        tasks.deliver.run("default/other", "[]")
    assert (tried.count("default/sink"), len(sent), sum(in_a_worker) < 11) == (1, 100, True)
    for _ in range(2):
        tasks._away["default/sink"] -= 31
        tasks.deliver.run("default/sink", "[]")
        tasks.deliver.run("default/sink", "[]")
    assert (tried.count("default/sink"), len(sent)) == (4, 102)
    assert (tried.count("default"), tried.count("default/other")) == (100, 100)


def test_a_batch_is_handed_back_where_no_copy_can_be_published(in_a_worker: list[float]) -> None:
    """With the broker away as well, the message itself is handed back, after a pause, and never dropped."""
    with pytest.raises(Reject) as caught:
        tasks.deliver.run("unknown", "[]")
    assert caught.value.requeue
    assert in_a_worker == [2.0, 10.0]


def test_publishing_fails_soon_where_nobody_listens(make_app: AppMaker) -> None:
    """A refused connection is an exception within a moment, and the next try is a fresh one."""
    make_app(broker_url=NOBODY)
    for url in (NOBODY, "amqp://guest:guest@127.0.0.1:9//"):
        app = make_app(broker_url=url)
        assert publishing.project_app() is app
        began = time.monotonic()
        with pytest.raises(OperationalError):
            publishing.publisher.publish("default", "[]")
        assert time.monotonic() - began < 2
        assert publishing.publisher._line is None


def test_each_broker_of_a_list_gets_its_turn(make_app: AppMaker, broker: str) -> None:
    """A broker that is found behind one that is frozen and two that are gone takes the batch."""
    kind = broker.partition(":")[0]
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # takes connections, and never says a word
        port = frozen.getsockname()[1]
        away = [f"{kind}://127.0.0.1:{port}/0", *[f"{kind}://127.0.0.1:9/0"] * 2]
        make_app(broker_url=";".join([*away, broker]))
        ours = publishing.Publisher()
        ours.publish("default", "[]")
        ours.close()


def test_closing_leaves_other_sockets_alone(make_app: AppMaker, broker: str) -> None:
    """Sockets that other threads make while a connection is closed have the timeout that they always have."""
    make_app(broker_url=broker)
    timeouts: set[float | None] = set()
    over = threading.Event()

    def make_sockets() -> None:
        while not over.is_set():
            with socket.socket() as made:
                timeouts.add(made.gettimeout())

    other = threading.Thread(target=make_sockets)
    other.start()
    try:
        for _ in range(20):
            ours = publishing.Publisher()
            ours.publish("default", "[]")
            ours.close()
    finally:
        over.set()
        other.join()
    assert timeouts == {None}


def test_an_idle_connection_is_not_trusted(make_app: AppMaker, broker: str) -> None:
    """A connection is used again for the next batch, and made anew after a long rest or a fork."""
    make_app(broker_url=broker)
    ours = publishing.Publisher()
    ours.publish("default", "[]")
    first = ours._line
    ours.publish("default", "[]")
    assert ours._line is first
    ours._used -= publishing.IDLE_SECONDS + 1
    ours.publish("default", "[]")
    second = ours._line
    assert second is not first
    ours._pid = -1  # as in a child of a fork that Python did not see
    ours.publish("default", "[]")
    assert ours._line is not second
    assert second is not None
    assert second[0].connected, "the parent's connection is the parent's"
    second[0].release()
    ours.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("in_a_worker")
def test_connections_outlive_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries keep their database connection as long as CONN_MAX_AGE says, though Celery closes all."""
    before = connection.settings_dict["CONN_MAX_AGE"]
    mine = connections["default"]
    try:
        for age, kept in ((None, True), (0, False)):
            monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", age)
            tasks.deliver.run("default", batch("a"))
            assert (list(tasks._kept.values()) == [mine]) is kept
            if kept:
                assert mine.connection is not None
                tasks.deliver.run("default", batch("b"))
                connections["default"] = tasks._kept.pop("default")
    finally:
        tasks._kept.clear()
        connections["default"] = mine
        connection.settings_dict["CONN_MAX_AGE"] = before


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("in_a_worker")
def test_a_task_has_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that a handler of task_prerun opened is used, and the one that was kept is closed, not lost."""
    mine, closed = connections["default"], []
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    try:
        tasks.deliver.run("default", batch("a"))
        monkeypatch.setattr(mine, "close", lambda: closed.append(mine))
        theirs = connections["default"]
        assert StoredEvent.objects.count() == 1
        tasks.deliver.run("default", batch("b"))
        assert (tasks._kept, closed) == ({"default": theirs}, [mine])
        theirs.close()
    finally:
        tasks._kept.clear()
        connections["default"] = mine
    assert StoredEvent.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_call_inside_a_transaction_leaves_it_alone(
    make_app: AppMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called as a function, or eagerly, the task has no connection of its own to keep or to bring."""
    make_app(broker_url=NOBODY)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    mine = connections["default"]
    try:
        tasks.deliver("default", batch("a"))
        assert connections["default"] is mine
        with transaction.atomic():
            tasks.deliver.apply(("default", batch("b")))
            assert connections["default"] is mine
            assert mine.in_atomic_block
    finally:
        tasks._kept.clear()
        connections["default"] = mine
    assert StoredEvent.objects.count() == 2


def test_what_goes_along_with_a_task(settings: Any) -> None:
    """Request id and bound values; people only if asked; nothing of delivery, of those who object, or too much."""
    assert pack(current()) is None
    with bind(plan="pro", password="secret", unfit=object()):
        assert msgspec.json.decode(pack(current()) or "") == {
            "values": {"plan": "pro", "password": "[redacted]"}
        }
        with inside_delivery():
            assert pack(current()) is None
    request = RequestFactory().get("/", headers={"X-Request-ID": "r-1"})
    request.user = type("User", (), {"pk": 7, "is_authenticated": True})()
    with Serving(request):
        assert msgspec.json.decode(pack(current()) or "") == {"values": {"request_id": "r-1"}}
        settings.LITTLEBRO_CELERY_USER = True
        assert msgspec.json.decode(pack(current()) or "")["user_id"] == "7"
        with bind(request_id="mine"):
            assert "mine" in (pack(current()) or "")
    objecting = RequestFactory().get("/", headers={"X-Request-ID": "r-2", "DNT": "1"})
    with Serving(objecting), bind(plan="pro"):
        assert pack(current()) is None
    odd = RequestFactory().get("/", headers={"X-Request-ID": "x" * 201})
    with Serving(odd):
        assert pack(current()) is None
    with bind(**{f"key{n}": "x" * 1000 for n in range(20)}):
        assert pack(current()) is None
