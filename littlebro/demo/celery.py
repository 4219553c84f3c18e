"""The shop's Celery app, as Celery's page "First steps with Django" has it; only loaded with the tracker ``celery``.

Its worker and its beat end when the demo that started them has died.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery, signals

from littlebro.demo.children import when_orphaned

__all__ = ["app"]

app = Celery("littlebro.demo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _watch(**_: Any) -> None:
    when_orphaned(lambda: os.kill(os.getpid(), signal.SIGTERM))


for _beginning in (signals.worker_init, signals.beat_init):
    _beginning.connect(_watch, weak=False)
