"""A backend for the contract of trackers: a folder that all processes share, and that can be put away.

LOCATION is the folder. ``given`` holds every event it was ever handed, ``events`` those that were new, a line
each. While a file ``away`` is there, every write raises; while a file ``echo`` is there, every write tracks an
event itself, as a careless backend would. An event named ``never`` is refused for good.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from littlebro.events.event import Event, Position, decode, encode
from littlebro.events.query import EventQuery
from littlebro.storage import BaseBackend, SaveResult

__all__ = ["Backend", "Store"]


class Store:
    """The folder, as the test looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put_away(self) -> None:
        """Let every write fail from now on."""
        (self.folder / "away").touch()

    def bring_back(self) -> None:
        """Let writes work again."""
        (self.folder / "away").unlink()

    def echo(self) -> None:
        """Let every write track an event from now on."""
        (self.folder / "echo").touch()

    def lines(self, name: str = "events") -> list[Event]:
        """Return what was stored, or, by the name ``given``, everything that was ever handed over."""
        file = self.folder / name
        return [decode(line) for line in file.read_bytes().splitlines()] if file.exists() else []


class Backend(BaseBackend):
    """Appends to files of a folder, under a lock."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        """See BaseBackend.save_many()."""
        folder = Path(str(self.location))
        if (folder / "echo").exists():
            from littlebro.delivery.handler import trackers  # noqa: PLC0415 - what no backend should do

            trackers["default"].track_event("echo")
        if (folder / "away").exists():
            raise ConnectionError("the store is away")
        with _locked(folder / "lock"):
            known = {(event.collection, event.id) for event in Store(folder).lines()}
            wanted = {(event.collection, event.id): event for event in events if event.name != "never"}
            new = [event for key, event in wanted.items() if key not in known]
            for name, lines in (("given", list(events)), ("events", new)):
                with (folder / name).open("ab") as file:
                    file.write(b"".join(encode(event) + b"\n" for event in lines))
        refused = {(event.collection, event.id): "never" for event in events if event.name == "never"}
        return SaveResult(stored=len(new), duplicates=len(wanted) - len(new), refused=refused)

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        """See BaseBackend.scan()."""
        events = sorted(Store(Path(str(self.location))).lines(), key=lambda event: event.position)
        for event in reversed(events) if query.newest_first else events:
            if after is None or (event.position < after if query.newest_first else event.position > after):
                yield event


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing would not do: a child that was forked meanwhile has the file open too, and the lock with it.
            fcntl.flock(lock, fcntl.LOCK_UN)
