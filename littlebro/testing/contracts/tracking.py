"""The contract of trackers: what a call promises, and what becomes of an event behind it."""

from __future__ import annotations

import json
import math
import threading
import time
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings

from littlebro import conf
from littlebro.delivery import BaseTracker
from littlebro.events.event import Event
from littlebro.exceptions import InvalidEvent
from littlebro.plugins import registry
from littlebro.testing.contracts.base import in_child, in_threads, proves, until
from littlebro.testing.contracts.lifecycle import watched
from littlebro.testing.contracts.samples import VALUES, exact, make_event
from littlebro.testing.contracts.tracker_hooks import TrackerHooks

__all__ = ["TrackerContract"]

_SLOW = 5.0  # seconds that a call, or a bounded wait, may take beyond what it was given


def track(tracker: BaseTracker, n: int, **params: Any) -> list[str]:
    """Track `n` events; return the ids of those that were accepted."""
    events = [tracker.track_event("seen", {"n": number, **params}) for number in range(n)]
    return [event.id for event in events if event is not None]


class TrackerContract(TrackerHooks):
    """Every promise that a tracker makes, a test each; the test's docstring states the promise.

    Inherit it in a test module and name the tracker::

        class TestTracker(TrackerContract):
            tracker = "acme_pigeon.Tracker"

    A test of something that the tracker does not declare is skipped with the reason; the summary after the
    run says what was proved. `TrackerHooks` has what else may be overridden; so has the docs' page of contracts.
    """

    def stored(self) -> list[str]:
        """Return the ids of the events in the store, sorted."""
        return sorted(event.id for event in self.store.lines())

    # What every event may expect.

    @pytest.mark.parametrize("label", list(VALUES))
    def test_an_event_arrives_as_it_was_tracked(self, label: str) -> None:
        """What the call returned is what is stored, in every field, to the type."""
        tracker = self.make_tracker()
        event = tracker.track_event("order-paid", {"v": VALUES[label]}, "shop", user="7", anonymous_id="x")
        assert event is not None
        self.let_arrive(tracker)
        assert self.store.lines() == [event]
        assert exact(self.store.lines()[0].params) == exact({"v": VALUES[label]})

    def test_each_event_arrives_once(self) -> None:
        """Where nothing goes wrong each event is handed to the backend exactly once."""
        tracker = self.make_tracker()
        ids = track(tracker, 40)
        assert len(ids) == 40, "an event that was not accepted is None"
        self.let_arrive(tracker)
        assert self.stored() == sorted(ids)
        time.sleep(0.2)
        assert sorted(event.id for event in self.store.lines("given")) == sorted(ids)

    def test_an_event_is_a_snapshot(self) -> None:
        """What the caller does to its dict after the call changes nothing."""
        tracker = self.make_tracker()
        params = {"list": [1], "inner": {"a": 1}}
        tracker.track_event("seen", params)
        params["list"].append(2)  # type: ignore[attr-defined]
        params["inner"].clear()  # type: ignore[attr-defined]
        self.let_arrive(tracker)
        assert [event.params for event in self.store.lines()] == [{"list": [1], "inner": {"a": 1}}]

    def test_threads_track_at_once(self) -> None:
        """Four threads track through one tracker: each event arrives, once."""
        tracker = self.make_tracker()
        ids: list[str] = []
        in_threads(*(lambda: ids.extend(track(tracker, 25)) for _ in range(4)))
        self.let_arrive(tracker)
        assert len(ids) == 100
        assert self.stored() == sorted(ids)

    def test_the_async_twin_does_the_same(self) -> None:
        """`atrack_event` in an event loop is accepted and arrives like any other."""
        tracker = self.make_tracker()

        async def main() -> list[Event | None]:
            return [await tracker.atrack_event("seen", {"n": n}) for n in range(5)]

        ids = sorted(event.id for event in async_to_sync(main)() if event is not None)
        self.let_arrive(tracker)
        assert self.stored() == ids
        assert len(ids) == 5

    def test_delivering_again_changes_nothing(self) -> None:
        """A batch that is delivered a second time is stored once: redelivery is harmless."""
        tracker = self.make_tracker()
        events = [make_event() for _ in range(5)]
        for _ in range(2):
            tracker.deliver(events)
        assert self.stored() == sorted(event.id for event in events)

    def test_a_refused_event_becomes_a_dead_letter(self) -> None:
        """What the backend refuses for good is kept as a dead letter, and its neighbours are stored."""
        from littlebro.models import DeadLetter  # noqa: PLC0415 - needs a configured Django

        tracker = self.make_tracker()
        ids = track(tracker, 2)
        tracker.track_event("never", event_id="guilty")
        ids += track(tracker, 2)
        self.let_arrive(tracker)
        assert self.stored() == sorted(ids)
        assert list(DeadLetter.objects.values_list("event_id", flat=True)) == ["guilty"]

    def test_what_delivery_tracks_goes_round_in_no_circle(self) -> None:
        """An event tracked by code that delivers events is dropped and counted."""
        self.store.echo()
        tracker = self.make_tracker()
        ids = track(tracker, 3)
        self.let_arrive(tracker)
        assert self.stored() == sorted(ids)
        assert until(lambda: self.counted() > 0, 5.0)

    # Errors.

    @pytest.mark.parametrize("params", [{"x": math.nan}, {"x": [object()]}, [], {1: 2}], ids=repr)
    def test_strict_mode_raises_what_is_wrong(self, params: Any) -> None:
        """In strict mode bad input raises InvalidEvent, and nothing of it arrives."""
        tracker = self.make_tracker()
        with pytest.raises(InvalidEvent):
            tracker.track_event("seen", params)
        good = track(tracker, 1)
        self.let_arrive(tracker)
        assert self.stored() == good

    def test_production_never_raises(self) -> None:
        """Outside strict mode bad input is None and counted, in a list of good ones too."""
        with self.site(strict=False) as tracker:
            assert tracker.track_event("seen", {"x": math.nan}) is None
            assert tracker.track_event("") is None
            results = tracker.track_events([{"name": "seen"}, {"name": "bad\n"}, {"name": "seen"}])
            assert [event is None for event in results] == [False, True, False]
            self.let_arrive(tracker)
            assert until(lambda: self.counted() == 3, 10.0), f"3 were refused, {self.counted()} are counted"
            assert self.stored() == sorted(event.id for event in results if event is not None)

    def test_a_call_survives_any_outage(self) -> None:
        """While the backend is away a call neither raises nor hangs."""
        self.store.put_away()
        with self.site(strict=False) as tracker:
            began = time.monotonic()
            track(tracker, 5)
            assert time.monotonic() - began < _SLOW
            self.store.bring_back()

    def test_nothing_is_lost_unseen(self) -> None:
        """After an outage every event is stored, or counted as lost: none is simply gone."""
        tracker = self.make_tracker()
        self.store.put_away()
        ids = track(tracker, 10)
        tracker.flush(0.5)
        self.store.bring_back()
        self.let_arrive(tracker)
        assert until(lambda: len(self.stored()) + self.counted() == 10, 10.0), self._account(10)
        assert set(self.stored()) <= set(ids)

    @proves("durable")
    def test_an_outage_loses_nothing(self) -> None:
        """A durable tracker keeps what the backend could not take, and delivers it when it is back."""
        self._needs("durable")
        tracker = self.make_tracker()
        self.store.put_away()
        ids = track(tracker, 10)
        assert len(ids) == 10
        assert tracker.flush(0.5) is False
        self.store.bring_back()
        self.let_arrive(tracker)
        assert self.stored() == sorted(ids)

    @proves("durable")
    def test_a_crash_loses_nothing(self) -> None:
        """A durable tracker's events outlive their process: what a dead one left is delivered by another."""
        self._needs("durable")
        tracker = self.make_tracker()
        self.store.put_away()
        ids = in_child(partial(track, tracker, 25))()
        self.store.bring_back()
        self.after_crash(tracker)
        assert self.stored() == sorted(ids)
        assert len(ids) == 25

    # Waiting and ending.

    def test_flush_is_bounded_and_honest(self) -> None:
        """`flush` is true only if nothing waits any more, and ends within its time-out when the backend is away."""
        tracker = self.make_tracker()
        assert tracker.flush(5.0) is True
        self.store.put_away()
        track(tracker, 5)
        began = time.monotonic()
        flushed = tracker.flush(0.5)
        assert time.monotonic() - began < 0.5 + _SLOW
        if flushed:
            assert self.counted() == 5, "flush() was true, and the events are neither stored nor counted"
        self.store.bring_back()

    def test_close_ends_and_begins_again(self) -> None:
        """`close` may come twice, leaves no thread behind, loses nothing unseen; the tracker works again after it."""
        before = set(threading.enumerate())
        tracker = self.make_tracker()
        track(tracker, 20)
        tracker.close()
        tracker.close()
        assert until(lambda: set(threading.enumerate()) <= before, 10.0), "a thread is left after close()"
        track(tracker, 1)
        self.let_arrive(tracker)
        assert until(lambda: len(self.stored()) + self.counted() == 21, 10.0), self._account(21)
        tracker.close()

    @proves("fork")
    def test_parent_and_child_both_track(self) -> None:
        """After a fork both sides track through the tracker they have, and every event arrives once."""
        tracker = self.make_tracker()
        before = track(tracker, 3)

        def live() -> list[str]:
            ids = track(tracker, 15, side="child")
            if not tracker.flush(20.0):
                raise AssertionError("flush() in the child never became true")
            return ids

        ended = in_child(live)
        mine = track(tracker, 15, side="parent")
        theirs = ended()
        self.let_arrive(tracker)
        assert self.stored() == sorted([*before, *mine, *theirs])
        assert len(self.stored()) == 33

    def test_making_one_starts_nothing(self) -> None:
        """The constructor starts no thread, opens no connection and writes no file."""
        found = registry.find("trackers", self.tracker, "default")
        with watched(reading=False) as seen:
            found(conf.alias_config("default"))
        assert seen == []

    def test_an_unknown_option_is_an_error(self) -> None:
        """TRACKER_OPTIONS takes what `option_defaults` names; anything else is an error that names the alias."""
        options = {**self.tracker_options(), "NO_SUCH_OPTION": 1}
        table = {"default": {**conf.setting("LITTLEBRO")["default"], "TRACKER_OPTIONS": options}}
        said = pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['default'\]: .*NO_SUCH_OPTION")
        with override_settings(LITTLEBRO=table), said:
            self.make_tracker()

    def test_status_and_upkeep_can_be_shown(self) -> None:
        """`status` is JSON, `upkeep` says what it delivered and what is left; the commands print both."""
        tracker = self.make_tracker()
        track(tracker, 2)
        json.dumps(tracker.status())
        assert {"delivered", "left", "reason"} <= set(tracker.upkeep())

    # Sinks and transactions.

    def test_a_sink_gets_each_event_as_well(self) -> None:
        """Each event reaches the backend and every sink of the alias."""
        with self.site(sinks=True) as tracker:
            ids = track(tracker, 10)
            self.let_arrive(tracker)
            assert self.stored() == sorted(ids)
            assert sorted(event.id for event in self.sink.lines()) == sorted(ids)

    def test_a_dead_sink_harms_nobody(self) -> None:
        """While a sink is away the backend gets its events, and what the sink missed is counted or comes later."""
        self.sink.put_away()
        with self.site(sinks=True) as tracker:
            ids = track(tracker, 10)
            assert until(lambda: bool(tracker.flush(0.2)) or self.stored() == sorted(ids), 20.0)
            assert self.stored() == sorted(ids)
            self.sink.bring_back()
            self.let_arrive(tracker)
            assert until(lambda: len(self._sunk()) + self.counted() == 10, 10.0)

    @proves("sinks")
    def test_a_sink_that_was_away_gets_what_it_missed(self) -> None:
        """What a dead sink could not take waits for it, however long the backend has had it."""
        self._needs("sinks_wait")
        self.sink.put_away()
        with self.site(sinks=True) as tracker:
            ids = track(tracker, 10)
            assert until(lambda: bool(tracker.flush(0.2)) or self.stored() == sorted(ids), 20.0)
            self.sink.bring_back()
            self.let_arrive(tracker)
            assert until(lambda: len(self._sunk()) == 10, 10.0), f"it got {len(self._sunk())} of 10"

    @proves("transactions")
    def test_a_transaction_holds_its_events_until_it_commits(self) -> None:
        """What was tracked in a transaction is stored after its commit, and not before."""
        self._needs("follows_transactions")
        tracker = self.make_tracker()
        with transaction.atomic():
            ids = track(tracker, 3)
            tracker.flush(0.3)
            assert self.stored() == []
        self.let_arrive(tracker)
        assert self.stored() == sorted(ids)

    @proves("transactions")
    def test_a_rollback_leaves_no_ghost(self) -> None:
        """What was tracked in a transaction that rolls back never happened."""
        self._needs("follows_transactions")
        tracker = self.make_tracker()
        with transaction.atomic():
            track(tracker, 3)
            transaction.set_rollback(True)
        ids = track(tracker, 1)
        self.let_arrive(tracker)
        assert self.stored() == ids

    def _needs(self, flag: str) -> None:
        if not getattr(self, flag):
            pytest.skip(f"not declared: {flag} is False")

    def _sunk(self) -> list[Event]:
        return self.sink.lines()

    def _account(self, n: int) -> str:
        return (
            f"{n} events were tracked, {len(self.stored())} are stored and {self.counted()} counted as lost"
        )
