"""Django's settings for the pipeline's benchmark."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.site import sqlite
from tests.settings import database

_given = json.loads(os.environ["LITTLEBRO_BENCH"])
_url, _folder = _given["database"], Path(_given["folder"])

MONGODB = _url if _url.startswith("mongodb:") else ""
DATABASES = {"default": database(_url) if _url and not MONGODB else sqlite(_folder / "events.sqlite3")}
DATABASES["default"]["CONN_MAX_AGE"] = 60  # as Django's documentation advises for what works without a pause
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["littlebro"]
SECRET_KEY = "for measurements alone, and longer than the fifty characters that are asked for"
USE_TZ = True
LOGGING_CONFIG = None

CELERY_BROKER_URL = _given["broker"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_DB_REUSE_MAX = 10_000  # to the advantage of one task an event: Celery would connect anew for each

_options = {"JOURNAL": str(_folder / "journal"), **_given.get("options", {})}
_default: dict[str, Any] = {"TRACKER": "celery", "TRACKER_OPTIONS": _options}
LITTLEBRO = {
    "default": _default | ({"BACKEND": "mongo", "LOCATION": MONGODB} if MONGODB else {"BACKEND": "simple"})
}
LITTLEBRO_PLUGINS_AUTOLOAD = False

# As event-tracking's documentation has it; it comes with `make bench`, on Python 3.12 and later.
if importlib.util.find_spec("eventtracking"):
    INSTALLED_APPS.append("eventtracking.django.apps.EventTrackingConfig")
EVENT_TRACKING_ENABLED = True
EVENT_TRACKING_BACKENDS = {
    "events": {
        "ENGINE": "eventtracking.backends.async_routing.AsyncRoutingBackend",
        "OPTIONS": {
            "backend_name": "events",
            "backends": {"rows": {"ENGINE": "benchmarks.pipeline_site.stores.Rows"}},
        },
    }
}
