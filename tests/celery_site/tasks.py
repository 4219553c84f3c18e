"""The project's own tasks, which track events as its views do."""

import time
from typing import Any

from celery import shared_task

from tests.faults.child import enter, track

__all__ = ["some", "who", "work"]


@shared_task
def work(n: int, seconds: float = 0.0) -> None:
    """Track `n` events."""
    for _ in range(n):
        track("task")
    time.sleep(seconds)


@shared_task
def who(name: str) -> None:
    """Track one event, which knows what started the task; start another."""
    from littlebro import tracker

    event = tracker.track_event(name)
    assert event is not None
    enter(event.id, name)
    if name == "first":
        who.delay("second")


@shared_task
def some() -> Any:
    """Do nothing."""
