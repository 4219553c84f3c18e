"""The demo's folder, and what must be in it before the shop opens: a secret key, a database, people's accounts.

A temporary folder is private and goes with the demo; one that the user names stays, and may be used again. Sets up
Django in this process, with the shop's settings.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SETTINGS", "NotOurs", "open_folder", "set_up"]

SETTINGS = "littlebro.demo.settings"
_KEY_FILE = "secret-key"


class NotOurs(Exception):
    """The folder that was named holds something else."""


@contextlib.contextmanager
def open_folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder for one demo: `keep` if that is given, else a temporary one that is removed at the end.

    Raises:
        NotOurs: `keep` is no folder, or is neither empty nor that of an earlier demo.
    """
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="littlebro-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotOurs(f"{keep} cannot be made: {error.strerror}") from error
    if not (keep / _KEY_FILE).exists() and any(keep.iterdir()):
        raise NotOurs(f"{keep} holds something else: name a new or empty folder, or that of an earlier demo")
    yield keep.resolve()


def set_up(folder: Path) -> str:
    """Make the folder ready for the shop, and Django in this process; return the password of all accounts."""
    secret = folder / _KEY_FILE
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(64), encoding="utf-8")
    os.environ["LITTLEBRO_DEMO_FOLDER"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS

    import django  # noqa: PLC0415 - its settings are only now where they say they are
    from django.core.management import call_command  # noqa: PLC0415 - needs a configured Django

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)

    from littlebro.demo import accounts  # noqa: PLC0415 - asks for models, so after the setup

    password = accounts.new_password()
    accounts.create(password)
    return password
