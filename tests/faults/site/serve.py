"""The project as a WSGI and an ASGI application; `FAULTS_EARLY` tracks some events while it is loaded."""

import os

import django
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from tests.faults.child import track

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.site.settings")
django.setup()
wsgi = get_wsgi_application()
asgi = get_asgi_application()

for _ in range(int(os.environ.get("FAULTS_EARLY", "0"))):
    track("early")
