"""Promises of what a backend may offer besides: deleting, counting, reading in the order of storing."""

from __future__ import annotations

import csv
import io
import random
import threading
import time
from datetime import datetime, timedelta
from functools import partial

import msgspec
import pytest

from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import UnsupportedOperation
from littlebro.storage import BaseBackend
from littlebro.testing.contracts.base import Hooks, in_threads, needs, persist, proves
from littlebro.testing.contracts.samples import NOON, QUERIES, make_event, mixed

__all__ = ["OptionalPromises"]

_FLAGS = {"delete_many": "supports_delete", "count": "supports_count", "scan_stored": "supports_scan_stored"}


def ids(events: object) -> list[tuple[str, str]]:
    """Return (collection, id) of each event, sorted."""
    return sorted((event.collection, event.id) for event in events)  # type: ignore[attr-defined]


class OptionalPromises(Hooks):
    """What optional operations promise, where they are declared."""

    @pytest.mark.parametrize("operation", list(_FLAGS))
    def test_an_operation_that_is_not_declared_refuses_by_name(
        self, backend: BaseBackend, operation: str
    ) -> None:
        """Without its flag an operation raises UnsupportedOperation with alias, backend and operation."""
        if getattr(backend, _FLAGS[operation]):
            return
        with pytest.raises(UnsupportedOperation) as refusal:
            getattr(backend, operation)(*([] if operation == "scan_stored" else [EventQuery()]))
        for part in (f"LITTLEBRO[{backend.alias!r}]", type(backend).__name__, operation):
            assert part in str(refusal.value)

    @proves("delete")
    @pytest.mark.parametrize("label", list(QUERIES))
    def test_delete_many_deletes_what_matches_and_no_more(self, backend: BaseBackend, label: str) -> None:
        """What `query.matches` goes, `where` included, and is counted; everything else stays."""
        needs(backend, "supports_delete")
        query = QUERIES[label]
        backend.save_many(mixed())
        doomed = [event for event in mixed() if query.matches(event)]
        kept = [event for event in mixed() if event not in doomed]
        assert backend.delete_many(query) == len(doomed)
        assert ids(self.read_back(backend)) == ids(kept)
        assert backend.delete_many(query) == 0

    @proves("delete")
    def test_a_deleted_event_can_be_stored_again(self, backend: BaseBackend) -> None:
        """Deleting leaves no mark behind that would hide a later event of the same id."""
        needs(backend, "supports_delete")
        event = make_event()
        backend.save_many([event])
        assert backend.delete_many(EventQuery()) == 1
        backend.save_many([event])
        assert list(self.read_back(backend)) == [event]

    @proves("delete")
    def test_many_events_are_deleted_whole(self, backend: BaseBackend) -> None:
        """More than one chunk goes, and exactly as many as match."""
        needs(backend, "supports_delete")
        events = [
            make_event(timestamp=NOON + timedelta(milliseconds=n % 70), params={"n": n}) for n in range(3_210)
        ]
        backend.save_many(events)
        assert backend.delete_many(EventQuery(where=(Condition(("params", "n"), "lt", 2_100),))) == 2_100
        assert ids(self.read_back(backend)) == ids(events[2_100:])
        assert backend.delete_many(EventQuery()) == 1_110

    @proves("count")
    @pytest.mark.parametrize("label", list(QUERIES))
    def test_count_is_exact(self, backend: BaseBackend, label: str) -> None:
        """`count` says how many events `query.matches`, `where` included."""
        needs(backend, "supports_count")
        query = QUERIES[label]
        assert backend.count(query) == 0
        backend.save_many(mixed())
        backend.save_many(mixed()[:20])
        assert backend.count(query) == len([event for event in mixed() if query.matches(event)])

    @proves("scan_stored")
    def test_scan_stored_is_in_the_order_of_storing(self, backend: BaseBackend) -> None:
        """Whatever its timestamp, what is stored later is read later; what was there already is not moved."""
        needs(backend, "supports_scan_stored")
        events = [make_event(timestamp=NOON - timedelta(days=n)) for n in range(12)]
        for event in events:
            backend.save_many([event])
            backend.save_many([events[0]])
        pairs = self.pairs(backend)
        assert [event for _, event in pairs] == events
        assert all(isinstance(position, str) for position, _ in pairs)

    @proves("scan_stored")
    def test_scan_stored_goes_on_from_a_position(self, backend: BaseBackend) -> None:
        """A position is exclusive, and stays good after later events are stored."""
        needs(backend, "supports_scan_stored")
        backend.save_many([make_event(), make_event(timestamp=NOON - timedelta(days=1))])
        pairs = self.pairs(backend)
        assert len(pairs) == 2
        for place, (position, _) in enumerate(pairs):
            assert list(backend.scan_stored(position)) == pairs[place + 1 :]
        new = make_event(timestamp=NOON - timedelta(days=9))
        backend.save_many([pairs[0][1], new])
        assert [event for _, event in backend.scan_stored(pairs[-1][0])] == [new]

    @proves("scan_stored")
    def test_scan_stored_misses_no_late_commit(self, backend: BaseBackend) -> None:
        """Going on from the last position misses no event of a writer that took its time, and repeats none."""
        needs(backend, "supports_scan_stored")
        batches = [[make_event() for _ in range(size)] for _ in range(4) for size in (1, 60, 2, 25, 1, 140)]
        seen: list[Event] = []
        done = threading.Event()

        def write(mine: list[list[Event]]) -> None:
            for batch in mine:
                persist(backend, batch)
                time.sleep(random.random() / 200)

        def read() -> None:
            position: str | None = None
            last_round = False
            while not last_round:
                last_round = done.is_set()
                for reached, event in backend.scan_stored(position):
                    seen.append(event)
                    position = reached

        def write_all() -> None:
            try:
                in_threads(*(partial(write, batches[n::4]) for n in range(4)))
            finally:
                done.set()

        in_threads(write_all, read)
        written = [event for batch in batches for event in batch]
        assert len(seen) == len(written), (
            f"{len(written)} events were stored, {len(seen)} read in order of storing"
        )
        assert ids(seen) == ids(written)

    @proves("copy_stored")
    def test_copied_rows_are_those_of_scan_stored(self, backend: BaseBackend) -> None:
        """The rows that are copied out are the events of `scan_stored`, piece by piece, whatever is in them."""
        needs(backend, "supports_copy_stored")
        backend.save_many(mixed())
        backend.save_many([make_event(user_id='a "b", c', params={"t": '"\\,\n', "n": None})])
        pairs = self.pairs(backend)
        rows, reached = b"", None
        for start in range(0, len(pairs) + 7, 7):
            blocks: list[bytes] = []
            positions = backend.copy_stored(reached, 7, 3, blocks.append)
            assert list(positions) == [position for position, _ in pairs[start : start + 7]][-3:]
            rows += b"".join(blocks)
            reached = positions[-1] if positions else reached
        found = list(csv.reader(io.StringIO(rows.decode(), newline=""), strict=True))
        for row, (_, event) in zip(found, pairs, strict=True):
            assert row[:3] == [event.id, event.collection, event.name]
            assert [datetime.fromisoformat(f"{text}+00:00") for text in row[3:5]] == [
                event.timestamp,
                event.received_at,
            ]
            assert row[5:7] == [event.user_id or "", event.anonymous_id or ""]
            assert [msgspec.json.decode(text) for text in row[7:]] == [event.params, event.context]

    def pairs(self, backend: BaseBackend) -> list[tuple[str, Event]]:
        """Return all pairs of `scan_stored`, whose positions must differ."""
        pairs = list(backend.scan_stored())
        assert len({position for position, _ in pairs}) == len(pairs)
        return pairs
