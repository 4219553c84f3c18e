"""The Django site that the benchmarks run in: SQLite files in a folder of the run, littlebro as a user sets it up.

`configure` is called once, at the start of a process, before anything of Django's is used.
"""

from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

__all__ = ["MIDDLEWARE", "configure", "sqlite", "thread_tracker"]

# What `startproject` writes.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def sqlite(path: Path) -> dict[str, Any]:
    """Return a SQLite database as Django's documentation advises to run it in production."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def thread_tracker(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the setting LITTLEBRO with the tracker `thread` and the backend `simple` in "default"."""
    return {
        "default": {
            "TRACKER": "thread",
            "BACKEND": "simple",
            "TRACKER_OPTIONS": {"JOURNAL": str(folder / "journal")},
            **options,
        }
    }


def configure(folder: Path, **overrides: Any) -> None:
    """Set Django up on a database file in `folder`, with its tables made."""
    given: dict[str, Any] = {
        "DATABASES": {"default": sqlite(folder / "default.sqlite3")},
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "littlebro",
        ],
        "MIDDLEWARE": MIDDLEWARE,
        "ROOT_URLCONF": "benchmarks.site",
        "SECRET_KEY": "for measurements alone, and longer than the fifty characters that are asked for",
        "ALLOWED_HOSTS": ["*"],
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
        "LITTLEBRO": thread_tracker(folder),
    }
    settings.configure(**(given | overrides))
    django.setup()
    call_command("migrate", verbosity=0)


def page(request: HttpRequest) -> HttpResponse:
    """Answer with a small page that asks for nobody."""
    return HttpResponse("<!doctype html><title>A page</title><p>Hello.</p>")


urlpatterns: list[URLPattern] = [path("page/", page, name="page")]
