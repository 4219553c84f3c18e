"""Settings of the demo shop; the part worth copying is the one about littlebro, at the end.

Everything that is written lies in one folder, named by the environment variable LITTLEBRO_DEMO_FOLDER, which the
runner makes and fills: the database, the journal and this run's secret key. Tracker and backend are the runner's
choice, too (`littlebro.demo.parts`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from littlebro.conf import beat_schedule
from littlebro.demo.parts import Parts

if not os.environ.get("LITTLEBRO_DEMO_FOLDER"):
    raise ImproperlyConfigured(
        "LITTLEBRO_DEMO_FOLDER is not set: it names the folder of a demo, "
        "as `python -m littlebro demo --keep DIR` makes one."
    )

SHOP = Path(__file__).resolve().parent
FOLDER = Path(os.environ["LITTLEBRO_DEMO_FOLDER"]).resolve()

SECRET_KEY = (FOLDER / "secret-key").read_text(encoding="utf-8")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "littlebro",
]
MIDDLEWARE = [
    "littlebro.middleware.TrackerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "littlebro.demo.urls"
WSGI_APPLICATION = "littlebro.demo.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [SHOP / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "littlebro.demo.views.shop",
            ],
        },
    },
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [SHOP / "static"]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "demo.sqlite3",
        "OPTIONS": {
            # The shop and the tracker's thread both write: a transaction that waits for its turn when it begins
            # cannot fail in the middle.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# All that is served from 127.0.0.1 shares its cookies, whatever the port: leave those of the user's projects alone.
SESSION_COOKIE_NAME = "littlebro_demo_session"
CSRF_COOKIE_NAME = "littlebro_demo_csrf"

LOGIN_URL = "log-in"
LOGIN_REDIRECT_URL = "front"
LOGOUT_REDIRECT_URL = "front"
PASSWORD_HASHERS = ["littlebro.demo.accounts.QuickHasher"]

PARTS = Parts.of_environment()
STORES: dict[str, dict[str, Any]] = {
    "simple": {"BACKEND": "simple", "LOCATION": "default"},
    # In a database that is perhaps not the demo's alone, a prefix that is.
    "mongo": {
        "BACKEND": "mongo",
        "LOCATION": PARTS.mongodb,
        "OPTIONS": {"PREFIX": f"demo-{hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:8]}."},
    },
}
LITTLEBRO = {
    "default": {
        "TRACKER": PARTS.tracker,
        "TRACKER_OPTIONS": {"JOURNAL": str(FOLDER / "journal")},
        **STORES[PARTS.backend],
    },
}
LITTLEBRO_ANONYMOUS_COOKIE = "littlebro_demo_visitor"
# Looking at the events should not make more of them, nor should the icon that browsers ask for by themselves.
LITTLEBRO_MIDDLEWARE_IGNORE = ["/admin/", "/favicon.ico"]

if PARTS.tracker == "celery":
    CELERY_BROKER_URL = PARTS.broker
    CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
    CELERY_BEAT_SCHEDULE = beat_schedule()
    # A shop with tasks of its own would leave this be: a worker reads the queue "littlebro" beside the default one.
    CELERY_TASK_DEFAULT_QUEUE = "littlebro"
    # What the __init__.py of a project does.
    from littlebro.demo.celery import app as celery_app  # noqa: F401 - an app that nobody imports is none
