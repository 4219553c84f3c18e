"""Which tracker and which backend a demo shows, and what these need that is not in its folder.

Options go in; they reach the shop's settings, in whichever process, through the environment. Knows the parts that
come with littlebro; that others exist is a matter of the settings.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["BACKENDS", "TRACKERS", "Missing", "Parts", "shown"]

TRACKERS = ("thread", "celery")
BACKENDS = ("simple", "mongo")
_TRACKER, _BACKEND = "LITTLEBRO_DEMO_TRACKER", "LITTLEBRO_DEMO_BACKEND"
_BROKER, _MONGODB = "LITTLEBRO_DEMO_BROKER", "LITTLEBRO_DEMO_MONGODB"
_NEEDS = {
    "gunicorn": ("demo", "the demo needs a production server, gunicorn"),
    "celery": ("celery", "the tracker 'celery' needs Celery"),
    "pymongo": ("mongo", "the backend 'mongo' needs pymongo"),
}


class Missing(Exception):
    """Something that the demo needs is not there: a package, an address, a server that answers."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A tracker and a backend, by name; the URL of a broker if the one needs it, of a MongoDB if the other does."""

    tracker: str = TRACKERS[0]
    backend: str = BACKENDS[0]
    broker: str = ""
    mongodb: str = ""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Parts:
        """Return the parts that `environment()` put into the environment of this process."""
        names = (_TRACKER, _BACKEND, _BROKER, _MONGODB)
        usual = cls()
        defaults = (usual.tracker, usual.backend, usual.broker, usual.mongodb)
        return cls(*(environment.get(name) or value for name, value in zip(names, defaults, strict=True)))

    def environment(self) -> dict[str, str]:
        """Return what tells other processes."""
        return {_TRACKER: self.tracker, _BACKEND: self.backend, _BROKER: self.broker, _MONGODB: self.mongodb}

    @property
    def has_worker(self) -> bool:
        """Whether events go through a broker, to a worker."""
        return self.tracker == "celery"

    def demand(self) -> None:
        """Raise `Missing` where a package or an address is lacking."""
        needed = ["gunicorn", *["celery"] * self.has_worker, *["pymongo"] * (self.backend == "mongo")]
        lacking = [name for name in needed if importlib.util.find_spec(name) is None]
        if lacking:
            extras = ",".join(sorted({"demo", *(_NEEDS[name][0] for name in lacking)}))
            raise Missing(
                f'{_NEEDS[lacking[0]][1]}, which is not installed: pip install "django-littlebro[{extras}]"'
            )
        for part, needs, given, option, example in (
            ("tracker 'celery'", self.has_worker, self.broker, "--broker", "redis://localhost:6379/0"),
            ("backend 'mongo'", self.backend == "mongo", self.mongodb, "--mongodb", "mongodb://localhost:27017/shop"),
        ):  # fmt: skip
            if needs and not given:
                raise Missing(f"the {part} needs a server: name one by {option}, {example} for instance")


def shown(url: str) -> str:
    """Return a URL without the account in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
