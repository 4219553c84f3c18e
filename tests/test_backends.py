"""One contract for every backend that reads, and what each backend promises besides."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from littlebro.events.event import Event, new_id
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage import BaseBackend, count, iterate, read_page
from littlebro_backends import memory, simple

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)


def make(**fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": new_id(),
        "name": "seen",
        "timestamp": NOON,
        "received_at": NOON,
        "params": {},
        "context": {},
    }
    return Event(**(given | fields))


def exact(value: Any) -> str:
    """Return what tells 1 from 1.0 and True, and one double from its neighbour, whatever the order of keys."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{exact(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(exact, value)) + "]"
    return f"{type(value).__name__}:{value!r}"


VALUES: dict[str, Any] = {
    "whole numbers": [0, -1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "broken numbers": [0.0, 1.0, 0.1, -0.1, 1e-7, 5e-324, 2.5, 1e15, 123456789012345678.0],
    "large broken numbers": [1e16, -1e16, 1e22, 1e23, 1.5e300, 1.7976931348623157e308, 9.223372036854775e18],
    "large ones deep inside": {"a": [{"b": 1e23}, {"c": {"d": [1e16]}}]},
    "text like an exponent": ["e16,", "1e16]", "a:1e23}", "e99"],
    "keys": {
        "$set": 1,
        "a.b": 2,
        "_id": 3,
        "__proto__": {"x": 1},
        "__type__": "datetime",
        "": 4,
        "a__b": 5,
        "0": 6,
    },
    "words": [True, False, None],
    "text": [
        "",
        " ",
        "x ",
        "<script>alert(1)</script>",
        "=cmd()",
        "\u202eabc",
        "😀",
        "\u2028",
        "\\u0000",
        "'\"%s%%",
        "\x7f\t",
    ],
    "arrays": [[], {}, [[[]]], {"a": {}}, [1, "1", 1.0, True, None]],
}


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


class BackendContract:
    """What every backend that reads must do alike."""

    @pytest.fixture
    def backend(self) -> Iterator[BaseBackend]:
        raise NotImplementedError

    def test_an_event_comes_back_as_it_was(self, backend: BaseBackend) -> None:
        """Every field is kept, None as None."""
        full = make(
            params={"a": 1}, context={"ip": "10.0.0.0"}, user_id="7", anonymous_id="x", collection="audit"
        )
        bare = make(timestamp=NOON + timedelta(seconds=1))
        assert backend.save_many([full, bare]).stored == 2
        assert list(backend.scan(EventQuery())) == [full, bare]

    def test_nothing_to_store_is_fine(self, backend: BaseBackend) -> None:
        result = backend.save_many([])
        assert (result.stored, result.refused) == (0, {})
        assert list(backend.scan(EventQuery())) == []

    @pytest.mark.parametrize("label", list(VALUES))
    def test_values_are_exact(self, backend: BaseBackend, label: str) -> None:
        """Integers come back as integers, doubles as the same doubles, keys and text untouched."""
        value = VALUES[label]
        backend.save_many(
            [make(params={"v": value}, context={"v": value}), make(id="other", params={"k": 1.5})]
        )
        event = next(event for event in backend.scan(EventQuery()) if event.id != "other")
        assert exact(event.params) == exact({"v": value})
        assert exact(event.context) == exact({"v": value})

    def test_an_event_is_stored_once(self, backend: BaseBackend) -> None:
        """The second of two events with one id changes nothing, in one batch or in two."""
        first, second = make(id="1", params={"n": 1}), make(id="1", params={"n": 2}, name="other")
        once = backend.save_many([first])
        again = backend.save_many([second, make(id="2"), second])
        assert [event.params for event in backend.scan(EventQuery(names=("seen",)))] == [{"n": 1}, {}]
        assert count(backend, EventQuery()) == 2
        assert (once.stored, once.duplicates) == (1, 0)
        assert (again.stored, again.duplicates) == (1, 2)

    def test_ids_that_look_alike_are_different(self, backend: BaseBackend) -> None:
        """Case, a trailing space, an accent and the collection tell events apart."""
        ids = ["a", "A", "a ", " a", "á", "a\u0301", "ａ", "1", "01", "ß", "ss", "x" * 200]
        events = [
            make(id=event_id, collection=stream) for event_id in ids for stream in ("one", "One", "two")
        ]
        backend.save_many(events)
        assert {(event.collection, event.id) for event in backend.scan(EventQuery())} == {
            (event.collection, event.id) for event in events
        }
        for stream in ("one", "One", "two"):
            found = [event.collection for event in backend.scan(EventQuery(collections=(stream,)))]
            assert found == [stream] * len(ids)
        for event_id in ids:
            backend.save_many(
                [make(user_id=event_id, anonymous_id=event_id, name=event_id, collection="names")]
            )
        for event_id in ids:
            for query in (
                EventQuery(user_id=event_id),
                EventQuery(anonymous_id=event_id),
                EventQuery(names=(event_id,)),
            ):
                assert [(e.user_id, e.anonymous_id, e.name) for e in backend.scan(query)] == [(event_id,) * 3]

    @pytest.mark.parametrize("moment", [
        NOON, NOON.replace(microsecond=0), NOON.replace(microsecond=1), NOON.replace(microsecond=999_999),
        datetime(1970, 1, 1, tzinfo=UTC), datetime(2300, 12, 31, 23, 59, 59, 7, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    ])  # fmt: skip
    def test_moments_keep_their_microseconds(self, backend: BaseBackend, moment: datetime) -> None:
        """Times come back aware, in UTC, the same microsecond, in the hour that clocks repeat as well."""
        backend.save_many([make(timestamp=moment, received_at=moment + timedelta(microseconds=1))])
        (event,) = backend.scan(EventQuery(start=moment, end=moment + timedelta(microseconds=1)))
        assert (event.timestamp, event.received_at) == (moment, moment + timedelta(microseconds=1))
        assert event.timestamp.utcoffset() == timedelta(0)
        assert not list(iterate(backend, EventQuery(start=moment + timedelta(microseconds=1))))
        assert not list(iterate(backend, EventQuery(end=moment)))

    def test_reading_order_is_that_of_python(self, backend: BaseBackend) -> None:
        """Events are read by time, then id, then collection, text by code point; backwards if asked."""
        events = mixed()
        backend.save_many(events)
        expected = sorted(events, key=lambda event: event.position)
        assert list(backend.scan(EventQuery())) == expected
        assert list(backend.scan(EventQuery(newest_first=True))) == expected[::-1]
        middle = expected[17].position
        assert list(iterate(backend, EventQuery(), middle)) == expected[18:]
        assert list(iterate(backend, EventQuery(newest_first=True), middle)) == expected[:17][::-1]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 7, 48, 49, 1000])
    def test_pages_hold_everything_once(self, backend: BaseBackend, limit: int, newest_first: bool) -> None:
        """Page after page gives each event once, in order; the cursor carries query and direction."""
        events = mixed()
        backend.save_many(events)
        query = EventQuery(collections=("one", "two"), names=("paid", "seen"), newest_first=newest_first)
        page = read_page(backend, query, limit)
        found, pages = list(page.events), 1
        while page.next_cursor:
            page = read_page(backend, limit=limit, cursor=page.next_cursor)
            found += page.events
            pages += 1
        expected = sorted((e for e in events if e.collection != "three"), key=lambda e: e.position)
        assert found == (expected[::-1] if newest_first else expected)
        assert pages == max(1, math.ceil(len(expected) / limit))

    @pytest.mark.parametrize("query", [
        EventQuery(names=("paid",)), EventQuery(names=("paid", "seen")), EventQuery(names=()),
        EventQuery(names=(*"abcdefghij", "paid")), EventQuery(names=("paid", "paid"), user_id="2"),
        EventQuery(collections=("two",)), EventQuery(collections=()), EventQuery(names=("PAID",)),
        EventQuery(user_id="2"), EventQuery(user_id="02"), EventQuery(anonymous_id="v1"),
        EventQuery(start=NOON + timedelta(seconds=1)), EventQuery(end=NOON + timedelta(seconds=2)),
        EventQuery(start=NOON + timedelta(seconds=1), end=NOON + timedelta(seconds=2), names=("paid",)),
        EventQuery(where=(Condition(("params", "n"), "ge", 20),)),
        EventQuery(where=(Condition(("params", "a.b"), "eq", "x"),), names=("paid",), collections=("one",)),
        EventQuery(user_id="a\0b"), EventQuery(names=("\ud800", "paid")), EventQuery(names=("\0",)),
        EventQuery(collections=("\0", "one")), EventQuery(anonymous_id="\udfff"), EventQuery(user_id="%s' OR 1=1"),
    ], ids=repr)  # fmt: skip
    def test_filters_and_counts(self, backend: BaseBackend, query: EventQuery) -> None:
        """A query gives what `matches` says, whether the backend or the core decides; so does its count."""
        events = mixed()
        backend.save_many(events)
        expected = sorted((event for event in events if query.matches(event)), key=lambda e: e.position)
        assert list(iterate(backend, query)) == expected
        assert count(backend, query) == len(expected)

    def test_deleting(self, backend: BaseBackend) -> None:
        """What matches goes and is counted, the rest stays; `where` counts as well."""
        if not backend.supports_delete:
            pytest.skip("this backend cannot delete")
        events = mixed()
        backend.save_many(events)
        for query in (
            EventQuery(names=("nothing",)),
            EventQuery(where=(Condition(("params", "n"), "lt", 5),)),
            EventQuery(user_id="2"),
            EventQuery(end=NOON + timedelta(seconds=1), collections=("one",)),
        ):
            doomed = [event for event in events if query.matches(event)]
            assert backend.delete_many(query) == len(doomed)
            events = [event for event in events if event not in doomed]
            assert sorted(e.id for e in backend.scan(EventQuery())) == sorted(e.id for e in events)
        assert backend.delete_many(EventQuery()) == len(events)
        assert count(backend, EventQuery()) == 0

    def test_order_of_storing(self, backend: BaseBackend) -> None:
        """Whatever its timestamp, what is stored later is read later, from the last position on."""
        if not backend.supports_scan_stored:
            pytest.skip("this backend cannot tell the order of storing")
        old, older = make(timestamp=NOON - timedelta(days=1)), make(timestamp=NOON - timedelta(days=2))
        backend.save_many([old])
        backend.save_many([older, old])
        pairs = list(backend.scan_stored())
        assert [event for _, event in pairs] == [old, older]
        assert list(backend.scan_stored(pairs[0][0])) == pairs[1:]
        assert list(backend.scan_stored(pairs[1][0])) == []
        new = make(timestamp=NOON - timedelta(days=3))
        backend.save_many([old, new])
        assert [event for _, event in backend.scan_stored(pairs[1][0])] == [new]
        for wrong in ("x", "-1", "1.5", "", "٣", "9" * 40):
            if wrong != "9" * 40 or isinstance(backend, simple.Backend):
                with pytest.raises(InvalidQuery):
                    list(backend.scan_stored(wrong))

    def test_many_events(self, backend: BaseBackend) -> None:
        """More than one chunk is written, read, counted and deleted whole."""
        events = [
            make(timestamp=NOON + timedelta(milliseconds=n % 700), params={"n": n}) for n in range(4_321)
        ]
        backend.save_many(events)
        expected = sorted(events, key=lambda event: event.position)
        assert list(backend.scan(EventQuery())) == expected
        assert list(backend.scan(EventQuery(newest_first=True))) == expected[::-1]
        assert (
            len(list(backend.scan_stored()))
            == len({position for position, _ in backend.scan_stored()})
            == 4_321
        )
        where = (Condition(("params", "n"), "lt", 2_500),)
        assert backend.delete_many(EventQuery(where=where)) == 2_500
        assert backend.delete_many(EventQuery()) == 1_821

    def test_what_comes_back_is_a_copy(self, backend: BaseBackend) -> None:
        """Neither the caller's dict nor a dict that was read is the one in the store."""
        params = {"list": [1]}
        backend.save_many([make(params=params)])
        params["list"].append(2)
        next(iter(backend.scan(EventQuery()))).params["list"].append(3)
        assert [event.params for event in backend.scan(EventQuery())] == [{"list": [1]}]

    def test_it_is_there(self, backend: BaseBackend) -> None:
        """`ping` and `check` find nothing wrong; a closed backend works again."""
        backend.ping()
        assert backend.check() == []
        backend.save_many([make()])
        backend.close()
        assert count(backend, EventQuery()) == 1

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _text
        | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),  # -0.0 is 0.0 by then
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
        max_leaves=12,
    )  # fmt: skip

    @given(value=json_values)
    @hypothesis_settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_random_values_are_exact(self, backend: BaseBackend, value: Any) -> None:
        """Any JSON value that the validator lets through comes back as it was."""
        event = make(params={"v": value})
        backend.save_many([event])
        found = next(found for found in backend.scan(EventQuery()) if found.id == event.id)
        assert exact(found.params) == exact(event.params)


def mixed() -> list[Event]:
    """Return 72 events: few moments, ids that sort differently by locale, three streams."""
    ids = ["a", "B", "b", "a ", "ä", "z", "\ufb01", "😀", "Z", "_", "-", "0", "10", "9", "\uffee", "ß"]
    return [
        make(
            id=f"{event_id}", timestamp=NOON + timedelta(seconds=n % 3), name="paid" if n % 4 else "seen",
            collection=stream, user_id=str(n % 5) if n % 3 else None, anonymous_id=f"v{n % 2}" if n % 2 else None,
            params={"n": n + (0.5 if n % 2 else 0), "a.b": "x" if n % 7 else "y"},
        )
        for stream in ("one", "two", "three") for n, event_id in enumerate(ids[: 24])
    ]  # fmt: skip


class TestMemory(BackendContract):
    """The backend in memory."""

    @pytest.fixture
    def backend(self) -> Iterator[BaseBackend]:
        backend = memory.Backend("default", "tests", {"MAX_EVENTS": None})
        backend.clear()
        yield backend
        backend.clear()


@pytest.mark.django_db
class TestSimple(BackendContract):
    """The backend in a database of Django's, on each database."""

    @pytest.fixture
    def backend(self, database_alias: str) -> BaseBackend:
        return simple.Backend("default", database_alias, {})


@pytest.mark.django_db(transaction=True)
async def test_async_twins(database_alias: str) -> None:
    """Every operation has its twin for an event loop."""
    backend = simple.Backend("default", database_alias, {})
    events = [make(timestamp=NOON + timedelta(seconds=n)) for n in range(450)]
    assert (await backend.asave_many(events)).stored == 450
    assert [event async for event in backend.ascan(EventQuery())] == events
    assert [event.id async for _, event in backend.ascan_stored()] == sorted(event.id for event in events)
    assert await backend.acount(EventQuery()) == 450
    assert await backend.adelete_many(EventQuery()) == 450
    assert await backend.acheck() == []
    await backend.aping()
    await backend.asetup()
    await backend.aclose()
    await sync_to_async(connections.close_all)()  # the connection of the thread that did the work


def test_the_encoded_line_holds_every_field() -> None:
    """A field added to Event reaches every backend or this fails."""
    assert set(msgspec.json.decode(msgspec.json.encode(make()))) == {
        "id", "name", "timestamp", "received_at", "params", "context", "user_id", "anonymous_id", "collection", "v",
    }  # fmt: skip
