"""The programs of the broker's trials: `python -m tests.celery_site.program NAME ARGUMENTS`."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import django
from django.test import RequestFactory

from tests.faults.child import enter, tell, track

__all__ = ["PROGRAMS"]


def to(alias: str, n: str, sealed: str = "") -> None:
    """Track `n` events through another alias."""
    from littlebro import trackers

    for _ in range(int(n)):
        event = trackers[alias].track_event("to")
        assert event is not None
        enter(event.id, "to")


def newer(n: str) -> None:
    """Publish a batch as a newer littlebro might: its first event has a format that is not known yet."""
    import msgspec

    from littlebro import trackers
    from littlebro.events.event import encode, new_id
    from littlebro.publishing import publisher

    events = [trackers["default"].build("newer") for _ in range(int(n))]
    lines = [msgspec.json.decode(encode(event)) for event in events if event is not None]
    lines[0] |= {"id": new_id(), "v": 2, "params": "what only a newer one reads"}
    publisher.publish("default", msgspec.json.encode(lines).decode())


def repeat(times: str, n: str) -> None:
    """Publish one and the same batch several times."""
    import msgspec

    from littlebro import trackers
    from littlebro.publishing import publisher

    events = [event for _ in range(int(n)) if (event := trackers["default"].build("repeated")) is not None]
    for event in events:
        enter(event.id, event.name)
    for _ in range(int(times)):
        publisher.publish("default", msgspec.json.encode(events).decode())


def serve(header: str) -> None:
    """Serve a request that binds a value and starts a task which tracks."""
    from littlebro import bind
    from littlebro.events.context import Serving
    from tests.celery_site.tasks import who

    request = RequestFactory().get("/", headers={"X-Request-ID": header})

    request.user = SimpleNamespace(pk=4711, is_authenticated=True)  # type: ignore[assignment]
    with Serving(request), bind(plan="pro", unfit=object()):
        who.delay("first")
    who.delay("alone")


def send(times: str, n: str) -> None:
    """Send tasks that track."""
    from tests.celery_site.tasks import work

    for _ in range(int(times)):
        work.delay(int(n))


def mixed(n: str) -> None:
    """Track good events, one that the validator refuses, and one that the store will refuse."""
    from littlebro import tracker

    for place in range(int(n)):
        track("poison" if place == 5 else "some")
    assert tracker.track_event("refused", {"price": float("nan")}) is None
    tell(done=True)


def forks(children: str, n: str) -> None:
    """Publish, then fork while the connection is open; parent and children publish at the same time."""
    import os

    from littlebro import tracker

    for _ in range(int(n)):
        track("before")
    assert tracker.flush(20)
    born = []
    for _ in range(int(children)):
        child = os.fork()
        if child == 0:
            for _ in range(int(n)):
                track("child")
            sys.exit()
        born.append(child)
    for _ in range(int(n)):
        track("parent")
    assert tracker.flush(20)
    assert [os.waitpid(child, 0)[1] for child in born] == [0] * len(born)
    track("after")


def queues() -> None:
    """Tell which queues workers read, by their options; none of them is started."""
    from tests.celery_site.celery import app

    options: dict[str, dict[str, str]] = {
        "": {}, "-Q celery": {"queues": "celery"}, "-Q celery,littlebro": {"queues": "celery,littlebro"},
        "-X littlebro": {"exclude_queues": "littlebro"}, "-X celery": {"exclude_queues": "celery"},
    }  # fmt: skip
    read = {}
    for words, given in options.items():
        app.__dict__.pop("amqp", None)
        app.Worker(pool="solo", **given)
        read[words] = sorted(app.amqp.queues.consume_from)
    tell(**read)


PROGRAMS: Final[dict[str, Callable[..., None]]] = {
    program.__name__: program for program in (forks, to, newer, queues, repeat, serve, send, mixed)
}


if __name__ == "__main__":
    django.setup()
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
