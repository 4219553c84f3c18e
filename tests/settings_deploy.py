"""The suite's settings as a site would deploy them, for `manage.py check --deploy` to have nothing to say."""

from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["shop.example"]
CSRF_COOKIE_SECURE = True
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_SSL_REDIRECT = True
SESSION_COOKIE_SECURE = True
