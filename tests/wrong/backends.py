"""Backends with one fault each, to show that the contract catches it; run by tests/test_contracts_catch.py.

Each is nearly `memory`, which keeps the contract.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from littlebro.events.event import Event, Position
from littlebro.events.query import EventQuery
from littlebro.exceptions import EventRefused
from littlebro.storage import BaseBackend, SaveResult
from littlebro.testing.contracts import BackendContract, make_event
from littlebro_backends import memory

replace = msgspec.structs.replace


class Nearly(memory.Backend):
    """`memory`, which the tests below can put away."""

    away = False

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if type(self).away:
            raise ConnectionError("away")
        return super().save_many(events)

    def ping(self) -> None:
        if type(self).away:
            raise ConnectionError("away")


class Contract(BackendContract):
    """The contract, for a class that each test case names."""

    shared_by_processes = False
    many = 1_600
    wrong: ClassVar[type[BaseBackend]]

    def make_backend(self) -> BaseBackend:
        return self.wrong("default", self.wrong.__name__, dict(self.wrong.option_defaults))

    def break_backend(self, backend: BaseBackend) -> None:
        backend.__class__.away = True  # type: ignore[attr-defined]

    def heal_backend(self, backend: BaseBackend) -> None:
        backend.__class__.away = False  # type: ignore[attr-defined]


class LosesOnRetry(Nearly):
    """Remembers ids before they are stored: after an outage they pass for duplicates."""

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options)
        self.seen: set[tuple[str, str]] = set()

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        new = [event for event in events if (event.collection, event.id) not in self.seen]
        self.seen.update((event.collection, event.id) for event in events)
        result = super().save_many(new)
        return SaveResult(result.stored, len(events) - result.stored)

    def delete_many(self, query: EventQuery) -> int:
        self.seen.clear()
        return super().delete_many(query)


class WrongOrder(Nearly):
    """Sorts ids as a dictionary would, upper and lower case side by side."""

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        def key(event: Event) -> Any:
            return (event.timestamp, event.id.lower(), event.id, event.collection)

        return iter(sorted(super().scan(query, after), key=key, reverse=query.newest_first))


class Duplicates(Nearly):
    """Stores each event of a batch that comes again once more."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if self.away:
            raise ConnectionError("away")
        with self._store.lock:
            for event in events:
                self._store.last += 1
                line = msgspec.json.encode(event)
                key = (event.collection, f"{event.id}#{self._store.last}")
                self._store.lines[key] = (self._store.last, event.position, line)
        return SaveResult(len(events), 0)


class Overwrites(Nearly):
    """Lets the last event of an id win, as an upsert does."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        known = {(event.collection, event.id) for event in self.scan(EventQuery())}
        last = {(event.collection, event.id): event for event in events}
        for event in last.values():
            self._store.lines.pop((event.collection, event.id), None)
        super().save_many(list(last.values()))
        return SaveResult(len(last.keys() - known), len(events) - len(last.keys() - known))


class IgnoresConditions(Nearly):
    """Deletes without a look at `where`."""

    def delete_many(self, query: EventQuery) -> int:
        return super().delete_many(replace(query, where=()))


class DottedPaths(Nearly):
    """Takes a dot in a key for a step into it, and so finds too few."""

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        conditions = [
            replace(condition, path=tuple(".".join(condition.path).split("."))) for condition in query.where
        ]
        return super().scan(replace(query, where=tuple(conditions)), after)


class SwallowsErrors(Nearly):
    """Logs an error and goes on, as if the batch were stored."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        try:
            return super().save_many(events)
        except ConnectionError:
            return SaveResult(len(events))


class GivesUpEarly(Nearly):
    """Refuses good events for good because the store is away."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        try:
            return super().save_many(events)
        except ConnectionError as error:
            raise EventRefused("away") from error


class AfterInclusive(Nearly):
    """Starts a scan at the position, not behind it."""

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        for event in super().scan(query):
            if after is None or (event.position <= after if query.newest_first else event.position >= after):
                yield event


class DropsOddKeys(Nearly):
    """Leaves out keys that its database would take for operators."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        return super().save_many([event.with_params(_even(event.params), event.context) for event in events])


def _even(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _even(item) for key, item in value.items() if not key.startswith("$")}
    return [_even(item) for item in value] if isinstance(value, list) else value


class CutsMicroseconds(Nearly):
    """Keeps milliseconds, as BSON dates do."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        cut = [
            replace(
                event, timestamp=event.timestamp - timedelta(microseconds=event.timestamp.microsecond % 1000)
            )
            for event in events
        ]
        return super().save_many(cut)


class RoundsNumbers(Nearly):
    """Reads every number as a double."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        return super().save_many(
            [event.with_params(json.loads(json.dumps(event.params), parse_int=float), {}) for event in events]
        )


class FoldsCase(Nearly):
    """Compares ids as MariaDB does by default."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        known = {(event.collection, event.id.lower().rstrip()) for event in self.scan(EventQuery())}
        new: list[Event] = []
        for event in events:
            key = (event.collection, event.id.lower().rstrip())
            if key not in known:
                known.add(key)
                new.append(event)
        result = super().save_many(new)
        return SaveResult(result.stored, len(events) - result.stored)


class DeletesTooMuch(Nearly):
    """Takes the end of an interval for a part of it."""

    def delete_many(self, query: EventQuery) -> int:
        end = query.end and query.end + timedelta(microseconds=1)
        return super().delete_many(replace(query, end=end))


class SkipsLateCommits(Nearly):
    """Gives numbers out before it writes, so that a smaller one appears after a greater one."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if type(self).away:
            raise ConnectionError("away")
        with self._store.lock:
            fresh = {(event.collection, event.id): event for event in reversed(events)}
            new = [event for key, event in reversed(fresh.items()) if key not in self._store.lines]
            first = self._store.last + 1
            self._store.last += len(new)
        time.sleep(0.03 if len(new) > 50 else 0)
        with self._store.lock:
            for serial, event in enumerate(new, first):
                self._store.lines.setdefault(
                    (event.collection, event.id), (serial, event.position, msgspec.json.encode(event))
                )
        return SaveResult(len(new), len(events) - len(new))

    def scan_stored(self, after: str | None = None) -> Iterator[tuple[str, Event]]:
        return iter(sorted(super().scan_stored(after), key=lambda pair: int(pair[0])))


class CountsRoughly(Nearly):
    """Counts what its index can count, and forgets the rest of the query."""

    def count(self, query: EventQuery) -> int:
        return super().count(replace(query, where=(), user_id=None))


class RefusesNeighbours(Nearly):
    """Refuses a whole batch for the sake of one event."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if any("never" in event.params for event in events):
            return SaveResult(0, 0, {(event.collection, event.id): "never" for event in events})
        return super().save_many(events)


class TestRefusesNeighbours(Contract):
    wrong = RefusesNeighbours

    def unstorable_event(self) -> Event:
        return make_event(params={"never": True})


class TriesForEver(Nearly):
    """Raises what it can never store, as if it were to be tried again."""

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if any("never" in event.params for event in events):
            raise ValueError("too long")
        return super().save_many(events)


class TestTriesForEver(Contract):
    wrong = TriesForEver

    def unstorable_event(self) -> Event:
        return make_event(params={"never": True})


class HoldsEverything(Nearly):
    """Reads the whole answer before it gives the first event."""

    def scan(self, query: EventQuery, after: Position | None = None) -> Iterator[Event]:
        yield from list(super().scan(query, after))


class ConnectsAtOnce(Nearly):
    """Opens its file in the constructor."""

    def __init__(self, alias: str, location: str | None, options: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options)
        with Path(os.devnull).open("ab"):
            pass


class PingsItsTable(Nearly):
    """Answers once its table is there."""

    ready = False

    def setup(self) -> None:
        self.ready = True

    def ping(self) -> None:
        if not self.ready:
            raise LookupError("no such table")


class ClosesForGood(Nearly):
    """Cannot be used after it was closed."""

    closed = False

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if self.closed:
            raise RuntimeError("closed")
        return super().save_many(events)

    def close(self) -> None:
        self.closed = True


class AnswersUnasked(Nearly):
    """Cannot count, and says 0 where it should say so."""

    supports_count = False

    def count(self, query: EventQuery) -> int:
        return 0


_SERVER = """
import socket, sys, time
link = socket.socket(fileno=int(sys.argv[1]))
for line in link.makefile("rb"):
    time.sleep(0.002)
    link.sendall(line)
"""


class SharesClient(Nearly):
    """Asks its server through one connection of the module, which a forked child goes on to use."""

    link: ClassVar[socket.socket | None] = None
    asking: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def ask(cls) -> None:
        with cls.asking:
            if cls.link is None:
                cls.link, theirs = socket.socketpair()
                cls.link.settimeout(5)
                subprocess.Popen(
                    [sys.executable, "-c", _SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()]
                )
                theirs.close()
            question = f"{os.getpid()} {time.monotonic_ns()}\n".encode()
            cls.link.sendall(question)
            answer = cls.link.recv(1000)
            if answer != question:
                raise ConnectionError("that was the answer to another question")

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        self.ask()
        return super().save_many(events)


class TestNothingWrong(Contract):
    wrong = Nearly


for _class in list(Nearly.__subclasses__()):  # each wrong class its own run of the contract
    globals().setdefault(
        f"Test{_class.__name__}", type(f"Test{_class.__name__}", (Contract,), {"wrong": _class})
    )
