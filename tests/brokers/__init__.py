"""Trials of the tracker ``celery`` over real brokers; the project of `tests.celery_site` runs in processes beside."""
