"""The suite's site in the theme django-unfold, for a server of its own: a theme takes over the process's admin."""

from tests.settings import *  # noqa: F403 - the suite's, with a theme
from tests.settings import INSTALLED_APPS as _APPS

DEBUG = True  # runserver hands out static files
ROOT_URLCONF = "tests.dashboard.unfold_urls"
INSTALLED_APPS = ["unfold", *_APPS]
MIDDLEWARE = ["tests.dashboard.unfold_urls.policy", *MIDDLEWARE]  # noqa: F405 - as above
