"""Settings of the trials' project: what differs from trial to trial stands in the file `FAULTS_WORLD`."""

import json
import os
from pathlib import Path
from typing import Any

from tests.settings import database

WORLD: dict[str, Any] = json.loads(Path(os.environ["FAULTS_WORLD"]).read_text(encoding="utf-8"))

DATABASES = {"default": database(WORLD["database"])}
DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ.get("FAULTS_MAX_AGE", "0"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

DEBUG = False
SECRET_KEY = "for the trials alone, and longer than the fifty characters that are asked for"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.faults.site.urls"
INSTALLED_APPS = ["littlebro"]
MIDDLEWARE: list[str] = []
LOGGING_CONFIG = None  # warnings and errors go to the child's standard error

LITTLEBRO = WORLD["aliases"]
LITTLEBRO_STRICT = False
LITTLEBRO_PLUGINS_AUTOLOAD = False
