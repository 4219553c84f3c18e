"""The site of the pipeline's benchmark: a Celery app, littlebro through it, and the two that make a task of an event.

What differs from run to run stands in `LITTLEBRO_BENCH`, as JSON: the URLs of databases and broker, a folder.
"""

import os
import time
from datetime import UTC, datetime
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.pipeline_site.settings")

app = Celery("pipeline_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.task(ignore_result=True)
def one(name: str, at: float, params: dict[str, Any]) -> None:
    """Store one event, as a task an event does."""
    from benchmarks.pipeline_site.stores import store

    store().insert(name, datetime.fromtimestamp(at, UTC), params)


def send_one(name: str, params: dict[str, Any]) -> None:
    """Send that task."""
    one.delay(name, time.time(), params)


def emit(name: str, params: dict[str, Any]) -> None:
    """Send an event by event-tracking's asynchronous routing, which is a task an event as well."""
    from eventtracking import tracker

    tracker.get_tracker().emit(name, params)
