"""Promises of `save_many`: everything is kept exactly, once, and what cannot be kept is named."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from littlebro.events.event import Event
from littlebro.exceptions import EventRefused
from littlebro.storage import BaseBackend
from littlebro.testing.contracts.base import Hooks, needs, proves, settle
from littlebro.testing.contracts.samples import LOOKALIKES, MOMENTS, NOON, VALUES, exact, make_event, mixed

__all__ = ["WritingPromises"]


def keys(events: Any) -> list[tuple[str, str]]:
    """Return (collection, id) of each event, sorted."""
    return sorted((event.collection, event.id) for event in events)


class WritingPromises(Hooks):
    """What a write promises."""

    def test_an_event_comes_back_as_it_was(self, backend: BaseBackend) -> None:
        """Every field of an event is kept, None as None."""
        full = make_event(
            params={"a": 1}, context={"ip": "10.0.0.0"}, user_id="7", anonymous_id="x", collection="audit"
        )
        bare = make_event(timestamp=NOON + timedelta(seconds=1))
        assert backend.save_many([full, bare]).stored == 2
        found = {event.id: event for event in self.read_back(backend)}
        assert found == {full.id: full, bare.id: bare}

    def test_nothing_to_store_is_no_error(self, backend: BaseBackend) -> None:
        """An empty batch stores nothing and refuses nothing."""
        result = backend.save_many([])
        assert (result.stored, dict(result.refused)) == (0, {})
        assert not self.read_back(backend)

    @pytest.mark.parametrize("label", list(VALUES))
    def test_values_are_exact(self, backend: BaseBackend, label: str) -> None:
        """Integers come back as integers, doubles as the same doubles, keys and text untouched."""
        value = VALUES[label]
        event = make_event(params={"v": value}, context={"v": value})
        backend.save_many([event, make_event(params={"k": 1.5})])
        found = next(found for found in self.read_back(backend) if found.id == event.id)
        assert exact(found.params) == exact({"v": value})
        assert exact(found.context) == exact({"v": value})

    def test_odd_keys_are_kept_at_the_top(self, backend: BaseBackend) -> None:
        """Keys that are operators, paths or ids elsewhere are keys like any other."""
        params = VALUES["odd keys"]
        backend.save_many([make_event(params=params, context=params)])
        (found,) = self.read_back(backend)
        assert (exact(found.params), exact(found.context)) == (exact(params), exact(params))

    @pytest.mark.parametrize("moment", MOMENTS, ids=str)
    def test_moments_keep_their_microseconds(self, backend: BaseBackend, moment: datetime) -> None:
        """Times come back aware, in UTC, to the microsecond, in the hour that clocks repeat as well."""
        later = moment + timedelta(microseconds=1)
        backend.save_many([make_event(timestamp=moment, received_at=later)])
        (event,) = self.read_back(backend)
        assert (event.timestamp, event.received_at) == (moment, later)
        assert event.timestamp.utcoffset() == event.received_at.utcoffset() == timedelta(0)

    def test_ids_that_look_alike_are_different(self, backend: BaseBackend) -> None:
        """Case, a trailing space, an accent and the collection tell events apart."""
        events = [
            make_event(id=event_id, collection=stream, params={"is": [event_id, stream]})
            for event_id in LOOKALIKES
            for stream in ("one", "One", "two")
        ]
        backend.save_many(events)
        found = self.read_back(backend)
        assert keys(found) == keys(events)
        assert all(event.params == {"is": [event.id, event.collection]} for event in found)

    def test_whatever_the_validator_passes_is_stored(self, backend: BaseBackend) -> None:
        """An event at the limits of what may be tracked is an event like any other."""
        deep: Any = "bottom"
        for _ in range(19):
            deep = {"k": deep}
        edge = make_event(
            id="😀" * 200, name="é" * 200, user_id="\u0416" * 200, anonymous_id="~" * 200, collection="C" * 64,
            params={"deep": deep, "long": "x" * 30_000, "k" * 256: 1},
        )  # fmt: skip
        wide = make_event(params={f"k{n}": n for n in range(1_000)})
        result = backend.save_many([edge, wide])
        assert dict(result.refused) == {}
        assert {event.id: event for event in self.read_back(backend)} == {edge.id: edge, wide.id: wide}

    def test_what_is_stored_is_a_copy(self, backend: BaseBackend) -> None:
        """Neither the caller's dict nor one that was read is the one in the store."""
        params = {"list": [1]}
        backend.save_many([make_event(params=params)])
        params["list"].append(2)
        self.read_back(backend)[0].params["list"].append(3)
        assert [event.params for event in self.read_back(backend)] == [{"list": [1]}]

    @proves("idempotent")
    def test_a_batch_given_three_times_is_stored_once(self, backend: BaseBackend) -> None:
        """Storing is idempotent on (collection, id): retries, replays and redeliveries are harmless."""
        events = mixed()
        for attempt in range(3):
            result = backend.save_many(events)
            if result.duplicates is not None and backend.idempotent:
                assert (result.stored, result.duplicates) == ((0, 48) if attempt else (48, 0))
        if backend.idempotent:
            assert keys(self.read_back(backend)) == keys(events)
        else:
            assert set(keys(self.read_back(backend))) == set(keys(events)), "at least once means each of them"
            pytest.skip("not declared: idempotent is False")

    @proves("idempotent")
    def test_duplicates_inside_a_batch_are_stored_once(self, backend: BaseBackend) -> None:
        """Of two events with one (collection, id) in a batch the first one stays."""
        needs(backend, "idempotent")
        first, second = make_event(id="1", params={"n": 1}), make_event(id="1", params={"n": 2}, name="other")
        result = backend.save_many([first, make_event(id="2"), second, second])
        found = self.read_back(backend)
        assert keys(found) == [("littlebro", "1"), ("littlebro", "2")]
        assert [event.params for event in found if event.id == "1"] == [{"n": 1}]
        if result.duplicates is not None:
            assert (result.stored, result.duplicates) == (2, 2)

    @proves("idempotent")
    def test_an_event_that_is_there_stays_as_it_is(self, backend: BaseBackend) -> None:
        """A later event with the same (collection, id) changes nothing, another collection's is another event."""
        needs(backend, "idempotent")
        first = make_event(id="1", params={"n": 1})
        backend.save_many([first])
        moved = make_event(
            id="1", params={"n": 2}, timestamp=NOON + timedelta(days=1), name="other", user_id="7"
        )
        result = backend.save_many([make_event(id="0"), moved, make_event(id="1", collection="audit")])
        found = self.read_back(backend)
        assert keys(found) == [("audit", "1"), ("littlebro", "0"), ("littlebro", "1")]
        assert first in found
        if result.duplicates is not None:
            assert (result.stored, result.duplicates) == (2, 1)

    def test_the_result_adds_up(self, backend: BaseBackend) -> None:
        """`stored` and `duplicates` together are the batch; without a count of duplicates `stored` holds both."""
        events = [make_event() for _ in range(10)]
        backend.save_many(events[:4])
        result = backend.save_many(events)
        if result.duplicates is None:
            assert result.stored == 10
        else:
            assert (result.stored, result.duplicates) == (6, 4)

    @proves("refusals")
    def test_a_refused_event_is_named_and_its_neighbours_are_stored(self, backend: BaseBackend) -> None:
        """What can never be stored is named in `refused`, or raises EventRefused; all others are stored."""
        guilty = self.unstorable_event()
        others = [make_event() for _ in range(6)]
        batch: list[Event] = [*others[:2], guilty, *others[2:]]
        result = settle(backend, batch)
        assert list(result.refused) == [(guilty.collection, guilty.id)]
        assert all(isinstance(reason, str) and reason for reason in result.refused.values())
        assert set(keys(self.read_back(backend))) == set(keys(others))
        again = settle(backend, batch)
        assert list(again.refused) == [(guilty.collection, guilty.id)]

    @proves("refusals")
    def test_a_refusal_is_no_other_error(self, backend: BaseBackend) -> None:
        """An event that can never be stored, alone, is refused at once: any other error means "try again"."""
        guilty = self.unstorable_event()
        try:
            refused = list(backend.save_many([guilty]).refused)
        except EventRefused:
            refused = [(guilty.collection, guilty.id)]
        assert refused == [(guilty.collection, guilty.id)]
