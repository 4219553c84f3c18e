"""A Django project with a Celery app of its own, as Celery's page "First steps with Django" has it."""

from tests.celery_site.celery import app as celery_app

__all__ = ["celery_app"]
