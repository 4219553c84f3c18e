"""Promises of `scan`, and of filters and pages on top of it: an order, an exclusive start, a flat memory."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import timedelta

import pytest

from littlebro.events.event import Event, encode
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import UnsupportedOperation
from littlebro.storage import BaseBackend, iterate, read_page
from littlebro.testing.contracts.base import Hooks, needs, proves
from littlebro.testing.contracts.samples import (
    LOOKALIKES,
    MOMENTS,
    NOON,
    ODD_KEYS,
    QUERIES,
    chunks,
    make_event,
    mixed,
)

__all__ = ["ReadingPromises"]

_MEMORY_CHUNK = 500


def ordered(events: list[Event], newest_first: bool = False) -> list[Event]:
    """Return events in the order of reading: time, then id, then collection, text by code point."""
    return sorted(events, key=lambda event: event.position, reverse=newest_first)


class ReadingPromises(Hooks):
    """What reading promises."""

    @pytest.fixture
    def readable(self, backend: BaseBackend) -> BaseBackend:
        """Give a backend that can be read from."""
        needs(backend, "supports_scan")
        return backend

    def test_a_backend_that_cannot_be_read_says_so(self, backend: BaseBackend) -> None:
        """Without `supports_scan`, `scan` raises UnsupportedOperation naming alias and operation."""
        if backend.supports_scan:
            assert list(backend.scan(EventQuery())) == []
        else:
            with pytest.raises(UnsupportedOperation, match=r"scan") as refusal:
                list(backend.scan(EventQuery()))
            assert backend.alias in str(refusal.value)

    @proves("scan")
    def test_reading_order_is_timestamp_id_collection(self, readable: BaseBackend) -> None:
        """Events are read by time, then id, then collection; text by code point, not by any language."""
        for part in chunks(mixed(), 7):
            readable.save_many(part)
        assert list(readable.scan(EventQuery())) == ordered(mixed())

    @proves("scan")
    def test_newest_first_is_the_same_order_backwards(self, readable: BaseBackend) -> None:
        """With `newest_first` every event comes in the reverse of reading order."""
        for part in chunks(mixed(), 7):
            readable.save_many(part)
        assert list(readable.scan(EventQuery(newest_first=True))) == ordered(mixed(), True)

    @proves("scan")
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_after_is_exclusive(self, readable: BaseBackend, newest_first: bool) -> None:
        """A scan `after` an event's position starts with the event behind it, in either direction."""
        readable.save_many(mixed())
        expected = ordered(mixed(), newest_first)
        query = EventQuery(newest_first=newest_first)
        for place in (0, 17, 18, 46, 47):
            assert list(readable.scan(query, expected[place].position)) == expected[place + 1 :], place

    @proves("scan")
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_after_may_be_a_position_of_no_event(self, readable: BaseBackend, newest_first: bool) -> None:
        """A position whose event was deleted meanwhile, or never was, is a place to start behind as well."""
        readable.save_many(mixed())
        query = EventQuery(newest_first=newest_first)
        for position in (
            (NOON + timedelta(seconds=1), "a!", "zzz"),
            (NOON + timedelta(microseconds=1), "", ""),
            (NOON + timedelta(seconds=1), "b", "one!"),
        ):
            behind = [
                event
                for event in mixed()
                if (event.position < position if newest_first else event.position > position)
            ]
            assert list(readable.scan(query, position)) == ordered(behind, newest_first)

    @proves("scan")
    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 7, 32, 1000])
    def test_pages_hold_everything_once(self, readable: BaseBackend, limit: int, newest_first: bool) -> None:
        """Page after page gives each matching event once, in order; the last page has no cursor."""
        readable.save_many(mixed())
        query = EventQuery(collections=("one", "two"), newest_first=newest_first)
        page = read_page(readable, query, limit)
        found = list(page.events)
        while page.next_cursor:
            page = read_page(readable, limit=limit, cursor=page.next_cursor)
            assert page.events
            found += page.events
        expected = [event for event in mixed() if event.collection != "three"]
        assert found == ordered(expected, newest_first)

    @proves("scan")
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_paging_under_concurrent_writes_misses_and_repeats_nothing(
        self, readable: BaseBackend, newest_first: bool
    ) -> None:
        """What was there when paging began comes once and in order, whatever is stored between the pages."""
        before = mixed()
        readable.save_many(before)
        page = read_page(readable, EventQuery(newest_first=newest_first), 5)
        found = list(page.events)
        written = 0
        while page.next_cursor and written < 60:
            written += 1
            for event in (found[0], found[-1]):
                beside = make_event(id=f"{event.id}~{written}", timestamp=event.timestamp, collection="late")
                readable.save_many([beside])
            for seconds in (-9, 9):
                readable.save_many([make_event(timestamp=NOON + timedelta(seconds=seconds))])
            page = read_page(readable, limit=5, cursor=page.next_cursor)
            found += page.events
        assert [event for event in found if event in before] == ordered(before, newest_first)
        assert found == ordered(found, newest_first)
        assert len({event.position for event in found}) == len(found)

    @proves("scan")
    @pytest.mark.parametrize("label", list(QUERIES))
    def test_a_query_finds_what_it_asks_for(self, readable: BaseBackend, label: str) -> None:
        """Every event that `query.matches` is found, in order, whether the backend or the core decides."""
        query = QUERIES[label]
        readable.save_many(mixed())
        assert list(iterate(readable, query)) == ordered([event for event in mixed() if query.matches(event)])

    @proves("scan")
    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_filters_take_odd_keys_as_keys(self, readable: BaseBackend, key: str) -> None:
        """A key in a condition is a key, never an operator, a path or a pattern."""
        readable.save_many(
            [
                make_event(params={key: "yes", "id": 1}),
                make_event(params={"a": {"b": "yes"}, "x": {key: "yes"}, "id": 2}, context={key: "yes"}),
                make_event(params={"id": 3}),
            ]
        )
        for path, found in (
            (("params", key), [1]),
            (("params", "x", key), [2]),
            (("context", key), [2]),
        ):
            page = read_page(readable, EventQuery(where=(Condition(path, "eq", "yes"),)))
            assert [event.params["id"] for event in page.events] == found, path

    @proves("scan")
    @pytest.mark.parametrize("moment", MOMENTS, ids=str)
    def test_intervals_are_half_open(self, readable: BaseBackend, moment: object) -> None:
        """`start` belongs to the interval, `end` does not, to the microsecond."""
        tick = timedelta(microseconds=1)
        assert isinstance(moment, type(NOON))
        readable.save_many([make_event(timestamp=moment)])
        assert len(list(iterate(readable, EventQuery(start=moment, end=moment + tick)))) == 1
        assert not list(iterate(readable, EventQuery(start=moment + tick)))
        assert not list(iterate(readable, EventQuery(end=moment)))

    @proves("scan")
    def test_people_and_names_that_look_alike_are_different(self, readable: BaseBackend) -> None:
        """Case, a trailing space and an accent tell users, visitors and names apart in a query."""
        readable.save_many([make_event(user_id=text, anonymous_id=text, name=text) for text in LOOKALIKES])
        for text in LOOKALIKES:
            for query in (EventQuery(user_id=text), EventQuery(anonymous_id=text), EventQuery(names=(text,))):
                found = list(iterate(readable, query))
                assert [(e.user_id, e.anonymous_id, e.name) for e in found] == [(text,) * 3]

    @proves("flat memory")
    def test_a_scan_does_not_hold_the_answer_in_memory(self, readable: BaseBackend) -> None:
        """Four times as many events take no more memory to read, but for a small part of their size."""
        sample = make_event(params={"text": "x" * 2_000})
        few, many = self.many // 4, self.many
        self._store_many(readable, 0, few)
        first = self._peak(readable, few)
        self._store_many(readable, few, many)
        second = self._peak(readable, many)
        each = (second - first) / (many - few)
        allowed = len(encode(sample)) / 4
        assert each < allowed, (
            f"each further event takes {each:.0f} bytes of memory, of {allowed:.0f} allowed"
        )

    def _store_many(self, backend: BaseBackend, start: int, end: int) -> None:
        for numbers in chunks(range(start, end), _MEMORY_CHUNK):
            moments = [NOON + timedelta(milliseconds=n * 7919 % self.many) for n in numbers]
            backend.save_many([make_event(timestamp=at, params={"text": "x" * 2_000}) for at in moments])

    def _peak(self, backend: BaseBackend, expected: int) -> int:
        """Return by how many bytes a scan raises what Python's allocator holds."""
        gc.collect()
        tracemalloc.start()
        try:
            assert sum(1 for _ in backend.scan(EventQuery())) == expected
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
