"""The test kit as a project uses it: what is tracked is caught, whole and at once, and goes nowhere."""

import datetime
import threading
import unittest
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.test import SimpleTestCase

from littlebro import tracker, trackers
from littlebro.exceptions import InvalidEvent
from littlebro.testing import (
    TrackedEventsMixin,
    assert_not_tracked,
    assert_tracked,
    capture_events,
    deliver_events,
)
from tests.installing import Settings


@pytest.fixture(autouse=True)
def _in_memory(settings: Settings, request: pytest.FixtureRequest) -> None:
    """Keep what is delivered in a store of the test's own."""
    store = {"BACKEND": "memory", "LOCATION": request.node.nodeid}
    settings.LITTLEBRO = {"default": store, "audit": {**store, "COLLECTION": "audit"}}


def test_caught_whole_and_nowhere_else() -> None:
    """Events of any alias and thread are in the list, redacted as ever; no tracker has them."""
    with capture_events() as events:
        returned = tracker.track_event("paid", {"password": "hunter2"})
        trackers["audit"].track_event("seen")
        thread = threading.Thread(target=tracker.track_event, args=("elsewhere",))
        thread.start()
        thread.join()
    assert [event.name for event in events] == ["paid", "seen", "elsewhere"]
    assert events[0] == returned
    assert events[0].params == {"password": "[redacted]"}
    assert tracker.events().events == []
    assert tracker.track_event("after") is not None
    assert len(events) == 3


def test_blocks_nest_and_delivery_opens_them() -> None:
    """An outer block has what the inner one caught; inside `deliver_events` events travel as on a site."""
    with capture_events() as outer:
        with capture_events() as inner:
            tracker.track_event("both")
            with deliver_events():
                tracker.track_event("delivered")
        tracker.track_event("outer")
    assert [event.name for event in inner] == ["both"]
    assert [event.name for event in outer] == ["both", "outer"]
    assert [event.name for event in tracker.events().events] == ["delivered"]


@pytest.mark.django_db
def test_a_rollback_takes_nothing_out_of_the_list() -> None:
    """Events count when they are tracked, whatever becomes of the transaction."""
    with capture_events() as events, transaction.atomic():
        tracker.track_event("paid")
        transaction.set_rollback(True)
    assert len(events) == 1


def test_an_assertion_takes_a_part() -> None:
    """Further keys do no harm at any depth; values may be given as they were tracked."""
    with capture_events() as events:
        tracker.track_event(
            "paid",
            {"total": Decimal("9.90"), "on": datetime.date(2026, 5, 17), "cart": {"n": 2, "x": 1}},
            user=7,
        )
    event = assert_tracked(events, "paid", {"total": Decimal("9.90"), "cart": {"n": 2}}, user_id="7")
    assert event is events[0]
    assert_tracked(events, "paid", {"on": datetime.date(2026, 5, 17)})
    assert_not_tracked(events, "paid", {"cart": {"n": 3}})
    assert_not_tracked(events, "paid", user_id="8")
    assert_not_tracked(events, "refunded")


@pytest.mark.parametrize(
    "name, params, said",
    [
        ("piad", None, "'paid'"),
        ("paid", {"total": 43}, "'total': 42"),
        ("paid", {"total": True}, "'total': 42"),
    ],
)
def test_a_failed_assertion_says_what_was_tracked(name: str, params: Any, said: str) -> None:
    """The nearest name, or the params that there were."""
    with capture_events() as events:
        tracker.track_event("paid", {"total": 42})
    with pytest.raises(AssertionError) as caught:
        assert_tracked(events, name, params)
    assert said in str(caught.value)
    with pytest.raises(AssertionError, match="was tracked"):
        assert_not_tracked(events, "paid")
    with pytest.raises(TypeError, match="user_id"):
        assert_tracked(events, "paid", user="7")


def test_the_mixin_catches_for_each_test_alone() -> None:
    """Under Django's test case: bad input raises, the list is the test's own, nothing is delivered."""

    class Case(TrackedEventsMixin, SimpleTestCase):
        def test_one(self) -> None:
            tracker.track_event("paid", {"total": 42})
            self.assert_tracked("paid", {"total": 42})
            self.assert_not_tracked("refunded")

        def test_two(self) -> None:
            assert self.tracked_events == []
            with pytest.raises(InvalidEvent):
                tracker.track_event("paid", {"total": float("nan")})

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])
    assert tracker.events().events == []
