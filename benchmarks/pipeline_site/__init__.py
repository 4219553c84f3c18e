"""The site of the pipeline's benchmark: a Celery app, littlebro through it, and the task that others make of an event.

What differs from run to run stands in `LITTLEBRO_BENCH`, as JSON: the URLs of database and broker, a folder.
"""

import os
import time
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.pipeline_site.settings")

app = Celery("pipeline_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.task(ignore_result=True)
def one(name: str, at: float, params: dict[str, Any]) -> None:
    """Store one event, as a task an event does."""
    from datetime import UTC, datetime

    from littlebro.events.event import new_id
    from littlebro.models import StoredEvent

    moment = datetime.fromtimestamp(at, UTC)
    StoredEvent.objects.create(
        collection="littlebro",
        event_id=new_id(),
        name=name,
        timestamp=moment,
        received_at=datetime.now(UTC),
        params=params,
        context={},
        v=1,
    )


def send_one(name: str, params: dict[str, Any]) -> None:
    """Send that task."""
    one.delay(name, time.time(), params)
