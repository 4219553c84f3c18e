"""Django's settings for the suite: SQLite files always, a real PostgreSQL and MariaDB where there are.

The servers' URLs come from the environment (`tests.services` puts them there); `tests.conftest` adds those
that it starts itself, later, by `database`, and puts the test databases into a folder of their run. A program
that a test starts as a child uses the test's own database by `LITTLEBRO_TEST_DATABASE_URL`: it becomes
"default".
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

with suppress(ImportError):  # the bare cell of the matrix has none of the extras, and no server
    import pymysql

    pymysql.install_as_MySQLdb()

SERVERS = ("postgresql", "mariadb")
FOLDER = Path(os.environ.get("LITTLEBRO_TEST_FOLDER") or Path(__file__).parent)
_ENGINES = {"postgresql": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}


def sqlite(name: str) -> dict[str, Any]:
    """Return the settings of a SQLite database in a file: two writers wait for each other, as on a site."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / f"{name}.sqlite3"),  # an absolute name stays what it is
        "OPTIONS": {
            "timeout": 20,  # seconds
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
    }


def database(url: str) -> dict[str, Any]:
    """Return the settings of the database at `url`; its test database is named after this process."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite(unquote(parts.path).removesuffix(".sqlite3"))
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    test: dict[str, Any] = {"NAME": f"test_littlebro_{os.getpid()}"}
    if parts.scheme == "mysql":
        options |= {"charset": "utf8mb4"}
        test |= {"CHARSET": "utf8mb4"}
    return {
        "ENGINE": _ENGINES[parts.scheme],
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
        "TEST": test,
    }


DATABASES = {"default": sqlite("default"), "other": sqlite("other")}
for _alias, _name in [("default", "DATABASE"), *((server, server.upper()) for server in SERVERS)]:
    _url = os.environ.get(f"LITTLEBRO_TEST_{_name}_URL")
    if _url:
        DATABASES[_alias] = database(_url)

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DEBUG = False
SECRET_KEY = "for the suite alone, and longer than the fifty characters that are asked for"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"

# Not UTC, and off it by a fraction of an hour: a time that loses its zone on the way shows.
TIME_ZONE = "Asia/Kathmandu"
USE_TZ = True

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
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and nothing here is secret

LITTLEBRO_STRICT = True
