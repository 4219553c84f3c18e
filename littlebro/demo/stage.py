"""The demo's folder, and what must be in it before the shop opens: a secret key, a database, people's accounts, a past.

A temporary folder is private and goes with the demo; one that the user names stays, and may be used again. Events in
a MongoDB do likewise. Sets up Django in this process, with the shop's settings.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from littlebro.demo.parts import Missing, Parts, shown
from littlebro.demo.workers import demand_broker

__all__ = ["SETTINGS", "NotOurs", "drop_events", "open_folder", "set_up", "tell_history"]

SETTINGS = "littlebro.demo.settings"
_KEY_FILE = "secret-key"
_SCRATCH = "tmp"


class NotOurs(Exception):
    """The folder that was named cannot be had, or holds something else."""


@contextlib.contextmanager
def open_folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder for one demo: `keep` if that is given, else a temporary one that is removed at the end.

    Raises:
        NotOurs: `keep` is no folder, is not to be written into, or is neither empty nor that of an earlier demo.
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
    if not os.access(keep, os.R_OK | os.W_OK | os.X_OK):
        raise NotOurs(f"{keep} cannot be written into: Permission denied")
    if not (keep / _KEY_FILE).exists() and any(keep.iterdir()):
        raise NotOurs(f"{keep} holds something else: name a new or empty folder, or that of an earlier demo")
    try:
        yield keep.resolve()
    finally:
        shutil.rmtree(keep / _SCRATCH, ignore_errors=True)


def set_up(folder: Path, parts: Parts) -> str:
    """Make the folder ready for the shop, and Django in this process; return the password of all accounts.

    Raises:
        Missing: a server that the parts need does not answer, or is somebody else's.
    """
    secret = folder / _KEY_FILE
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(64), encoding="utf-8")
    scratch = folder / _SCRATCH
    scratch.mkdir(mode=0o700, exist_ok=True)
    os.environ |= {
        # What the processes put aside goes with the demo.
        "TMPDIR": str(scratch),
        "LITTLEBRO_DEMO_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        **parts.environment(),
    }

    import django  # noqa: PLC0415 - its settings are only now where they say they are
    from django.core.management import call_command  # noqa: PLC0415 - needs a configured Django

    django.setup()
    demand_broker(parts, folder)
    _demand_mongodb(parts)
    call_command("migrate", verbosity=0, interactive=False)

    from littlebro.demo import accounts  # noqa: PLC0415 - asks for models, so after the setup

    password = accounts.new_password()
    accounts.create(password)
    return password


def tell_history(folder: Path, password: str) -> int:
    """Import the weeks before the demo, if nothing is stored yet; return how many events they are.

    They go the way of any file that `manage.py littlebro import` takes.
    """
    from littlebro.demo import accounts, history  # noqa: PLC0415 - asks for models, so after the setup
    from littlebro.events import EventQuery  # noqa: PLC0415 - as above
    from littlebro.importing import Importer, open_source  # noqa: PLC0415 - as above
    from littlebro.models import Annotation  # noqa: PLC0415 - as above
    from littlebro.storage import backends, iterate  # noqa: PLC0415 - as above

    if next(iter(iterate(backends["default"], EventQuery())), None) is not None:
        return 0
    now = datetime.now(UTC)
    file = folder / "history.jsonl"
    with file.open("wb") as target:
        target.writelines(history.lines(now, accounts.create_regulars(password)))
    with open_source(str(file)) as source:
        summary = Importer("jsonl").run(source)
    file.unlink()
    for days, text in history.MILESTONES:
        Annotation.objects.create(at=now - timedelta(days=days), text=text, author=accounts.ADMIN)
    return summary.accepted


def _demand_mongodb(parts: Parts) -> None:
    if parts.backend != "mongo":
        return
    from littlebro.storage import backends  # noqa: PLC0415 - needs a configured Django

    try:
        backends["default"].ping()
    except Exception as error:
        reason = str(error).partition(", Timeout:")[0]
        raise Missing(f"the MongoDB {shown(parts.mongodb)} does not answer: {reason}") from error


def drop_events(parts: Parts) -> None:
    """Remove the demo's events, which go with a folder that goes, from where they are not in the folder."""
    if parts.backend != "mongo":
        return
    from pymongo import MongoClient  # noqa: PLC0415 - needs the extra

    from littlebro.conf import alias_config  # noqa: PLC0415 - needs a configured Django

    prefix = alias_config("default").options["PREFIX"]
    client: MongoClient[dict[str, Any]]
    with MongoClient(parts.mongodb, timeoutMS=5_000) as client:
        database: Any = client.get_default_database("littlebro")
        for name in database.list_collection_names():
            if name.startswith(prefix):
                database.drop_collection(name)
