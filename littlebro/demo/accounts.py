"""Who may log in to the demo: an administrator and a few customers, all with this run's password.

Writes users into the database that the settings name; knows nothing of events.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password

__all__ = ["ADMIN", "CUSTOMERS", "Account", "QuickHasher", "create", "create_regulars", "new_password"]

ADMIN = "admin"
CUSTOMERS = ("ada", "ben", "chloe", "dev", "emil", "fay", "goran", "hana", "ines", "jun", "kofi", "lena")
_MORE_NAMES = ("mira", "noor", "otis", "pia", "quinn", "rosa", "sami", "tara", "umar", "vera", "wim", "yara")
_WORDS = (
    *("amber", "birch", "cedar", "clover", "copper", "coral", "fennel", "garnet", "ginger", "harbour"),
    *("hazel", "indigo", "juniper", "lemon", "linen", "maple", "meadow", "nutmeg", "olive", "otter"),
    *("pepper", "plum", "river", "rowan", "saffron", "sparrow", "thistle", "velvet", "walnut", "willow"),
)


class QuickHasher(PBKDF2PasswordHasher):
    """Django's own hasher with few rounds: many people log in every minute, and their password lives for one run."""

    algorithm = "pbkdf2_sha256_demo"
    iterations = 20_000


class Account(NamedTuple):
    """What somebody types in to log in."""

    username: str
    password: str


def new_password() -> str:
    """Make a password that is easy to type and that nobody can guess while the demo runs."""
    words = "-".join(secrets.choice(_WORDS) for _ in range(3))
    return f"{words}-{secrets.randbelow(900) + 100}"


def create(password: str) -> None:
    """Write the administrator and the customers, or give those of an earlier run the new password."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - the settings name this module's hasher

    # One hash for all: this is a stage, and hashing dozens of times would only delay it.
    hashed = make_password(password)
    User.objects.update_or_create(
        username=ADMIN, defaults={"password": hashed, "is_staff": True, "is_superuser": True}
    )
    for name in CUSTOMERS:
        User.objects.update_or_create(
            username=name, defaults={"password": hashed, "first_name": name.capitalize()}
        )


def create_regulars(password: str) -> list[str]:
    """Write those who were customers before the demo began; return their user ids, as events hold them."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - as above

    hashed = make_password(password)
    names = [(first, last) for last in "bdfghklmnprstvw" for first in (*CUSTOMERS, *_MORE_NAMES)]
    User.objects.bulk_create(
        [
            User(username=f"{first}.{last}", first_name=first.capitalize(), password=hashed)
            for first, last in names
        ],
        ignore_conflicts=True,
    )
    usernames = [f"{first}.{last}" for first, last in names]
    found = User.objects.filter(username__in=usernames).order_by("pk").values_list("pk", flat=True)
    return [str(pk) for pk in found]
