"""The project's Celery app; `CELERY_SITE_OLD` makes it one that knows nothing of littlebro yet."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.celery_site.settings")

app = Celery("celery_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
if not os.environ.get("CELERY_SITE_OLD"):
    app.autodiscover_tasks()
app.autodiscover_tasks(["tests.celery_site"])

if os.environ.get("CELERY_SITE_WAIT"):
    from littlebro import publishing

    publishing.LONGEST_WAIT = float(os.environ["CELERY_SITE_WAIT"])  # type: ignore[misc]
