"""The trials' project with a broker: what differs from test to test stands in `CELERY_SITE`, as JSON."""

import json
import os

from littlebro.conf import beat_schedule
from tests.faults.site.settings import *  # noqa: F403 - the same project, with Celery

CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = beat_schedule()
if os.environ.get("CELERY_SITE_HASTE"):
    CELERY_BEAT_SCHEDULE = {name: {**chore, "schedule": 0.5} for name, chore in CELERY_BEAT_SCHEDULE.items()}
LITTLEBRO_CELERY_USER = bool(os.environ.get("CELERY_SITE_USER"))
for _name, _value in json.loads(os.environ["CELERY_SITE"]).items():
    globals()[_name] = _value
