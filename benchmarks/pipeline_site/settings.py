"""Django's settings for the pipeline's benchmark."""

import json
import os
from pathlib import Path

from benchmarks.site import sqlite
from tests.settings import database

_given = json.loads(os.environ["LITTLEBRO_BENCH"])
_url = _given["database"]

DATABASES = {"default": database(_url) if _url else sqlite(Path(_given["folder"]) / "events.sqlite3")}
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

LITTLEBRO = {
    "default": {
        "TRACKER": "celery",
        "BACKEND": "simple",
        "TRACKER_OPTIONS": {"JOURNAL": str(Path(_given["folder"]) / "journal")},
    }
}
LITTLEBRO_PLUGINS_AUTOLOAD = False
