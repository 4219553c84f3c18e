"""The web site of the benchmark `frozen`, for gunicorn: a page behind Django's usual middleware, tracked or not.

What differs stands in `LITTLEBRO_BENCH`, as JSON: a folder, the broker, whether the site tracks.
"""

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from benchmarks.site import MIDDLEWARE, configure

_given: dict[str, Any] = json.loads(os.environ["LITTLEBRO_BENCH"])
_folder = Path(_given["folder"])

app = Celery("frozen_site", broker=_given["broker"])
app.set_default()
app.conf.broker_connection_retry_on_startup = True


def page(request: HttpRequest) -> HttpResponse:
    """Answer with a small page; track, where the site does."""
    if _given["tracks"]:
        from benchmarks.contenders import NAME, PARAMS
        from littlebro import tracker

        tracker.track_event(NAME, PARAMS[0], request=request)
    return HttpResponse("<!doctype html><title>A page</title><p>Hello.</p>")


urlpatterns: list[URLPattern] = [path("page/", page)]

configure(
    _folder,
    ROOT_URLCONF="benchmarks.frozen_site",
    MIDDLEWARE=[*MIDDLEWARE, *(["littlebro.middleware.TrackerMiddleware"] if _given["tracks"] else [])],
    LITTLEBRO={"default": {"TRACKER": "celery", "TRACKER_OPTIONS": {"JOURNAL": str(_folder / "journal")}}},
    LOGGING_CONFIG=None,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the settings come first

wsgi = get_wsgi_application()
