"""The kit for users' tests: events are caught before any transaction, by any thread, and nothing is delivered."""

import asyncio
import datetime
import decimal
import re
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from django.db import transaction
from django.test import TestCase

from littlebro import Event, tracker, trackers
from littlebro.exceptions import InvalidEvent
from littlebro.models import StoredEvent
from littlebro.storage import backends
from littlebro.testing import (
    TrackedEventsMixin,
    assert_not_tracked,
    assert_tracked,
    capture_events,
    deliver_events,
)
from littlebro.testing.capture import discard_events
from littlebro.testing.isolation import isolated
from tests.installing import Settings


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


# Capture


@pytest.mark.django_db
def test_captured_events_are_returned_and_go_nowhere() -> None:
    """Inside the block `track_event` gives the event, and the list has it, redacted as ever; no row is written."""
    with capture_events() as events:
        event = tracker.track_event("order-paid", {"total": 42, "password": "hunter2"})
        assert events == [event]
    assert events[0].params == {"total": 42, "password": "[redacted]"}
    assert not StoredEvent.objects.exists()
    assert tracker.track_event("order-paid") is not None
    assert StoredEvent.objects.count() == 1
    assert len(events) == 1


@pytest.mark.django_db
def test_captures_nest() -> None:
    """What an inner block catches the outer one has as well, in order."""
    with capture_events() as outer:
        tracker.track_event("one")
        with capture_events() as inner:
            tracker.track_event("two")
        tracker.track_event("three")
    assert (names(outer), names(inner)) == (["one", "two", "three"], ["two"])


@pytest.mark.django_db
def test_a_block_that_fails_ends_its_capture() -> None:
    """An exception inside leaves nothing behind that would catch later events."""
    with pytest.raises(LookupError), capture_events():
        raise LookupError
    assert tracker.track_event("one") is not None
    assert StoredEvent.objects.count() == 1


@pytest.mark.django_db
def test_an_event_in_a_transaction_is_seen_at_once(settings: Settings, journal: Path) -> None:
    """The tap is before the hold: no commit is needed, which a TestCase never has; a rollback takes nothing back."""
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    with capture_events() as events:
        with transaction.atomic():
            tracker.track_event("one")
            assert names(events) == ["one"]
            transaction.set_rollback(True)
        assert names(events) == ["one"]
    assert not journal.exists()


def test_threads_and_tasks_are_caught() -> None:
    """Events of other threads, of tasks and of `atrack_event` are in the list."""
    with capture_events() as events:
        thread = threading.Thread(target=tracker.track_event, args=("thread",))
        thread.start()
        thread.join()

        async def main() -> None:
            await asyncio.gather(*(tracker.atrack_event("task", {"n": n}) for n in range(3)))
            tracker.track_event("loop")

        asyncio.run(main())
    assert sorted(names(events)) == ["loop", "task", "task", "task", "thread"]


def test_every_alias_is_caught(settings: Settings) -> None:
    """A capture is of the process, not of one alias."""
    settings.LITTLEBRO = {"audit": {"TRACKER": "dummy", "BACKEND": "memory", "COLLECTION": "audit"}}
    with capture_events() as events:
        trackers["audit"].track_event("login")
        trackers["default"].track_events([{"name": "one"}, {"name": "two"}])
    assert [(event.name, event.collection) for event in events] == [
        ("login", "audit"), ("one", "littlebro"), ("two", "littlebro"),
    ]  # fmt: skip


def test_refused_input_is_no_event(settings: Settings, journal: Path) -> None:
    """Bad input raises as ever, and outside strict mode leaves no note in a journal."""
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    with capture_events() as events:
        with pytest.raises(InvalidEvent):
            tracker.track_event("one", {"x": float("nan")})
        settings.LITTLEBRO_STRICT = False
        assert tracker.track_event("one", {"x": float("nan")}) is None
    assert events == []
    assert not journal.exists()


def test_delivery_can_be_let_through(settings: Settings) -> None:
    """Inside `deliver_events` events travel as on a site, whatever surrounds it."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "kit"}}
    with capture_events() as events:
        tracker.track_event("caught")
        with deliver_events():
            tracker.track_event("stored")
        tracker.track_event("caught")
    assert names(events) == ["caught", "caught"]
    assert names(tracker.events().events) == ["stored"]
    backends["default"].clear()  # type: ignore[attr-defined]


def test_blocks_may_end_in_any_order(settings: Settings) -> None:
    """Fixtures and threads do not end what they began as blocks do: each open block counts, and none that ended."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "any-order"}}
    outer, delivering, inner = capture_events(), deliver_events(), capture_events()
    caught = outer.__enter__()
    delivering.__enter__()
    outer.__exit__(None, None, None)
    caught_inside = inner.__enter__()
    delivering.__exit__(None, None, None)
    tracker.track_event("inner")
    inner.__exit__(None, None, None)
    with deliver_events():
        tracker.track_event("delivered")
        assert [event.name for event in tracker.events().events] == ["delivered"]
    assert (caught, [event.name for event in caught_inside]) == ([], ["inner"])


# Assertions

PARAMS = {
    "total": decimal.Decimal("9.50"), "day": datetime.date(2026, 3, 29), "n": 1, "paid": True, "tags": ("a", "b"),
    "shop": {"id": 7, "city": "Kathmandu"}, "nothing": None,
}  # fmt: skip


@pytest.fixture
def events() -> Any:
    with capture_events() as caught:
        tracker.track_event("order-paid", {"total": 1}, user="1")
        tracker.track_event("order-paid", PARAMS, user="7", anonymous_id="x")
        yield caught


@pytest.mark.parametrize(
    "wanted",
    [
        None, {}, {"n": 1}, {"total": decimal.Decimal("9.50")}, {"total": "9.50"}, {"day": datetime.date(2026, 3, 29)},
        {"shop": {"city": "Kathmandu"}}, {"tags": ("a", "b")}, {"tags": ["a", "b"]}, {"paid": True}, {"n": 1.0},
        {"nothing": None}, {"n": ANY}, PARAMS,
    ],
    ids=repr,
)  # fmt: skip
def test_a_part_of_the_params_is_enough(events: list[Event], wanted: Any) -> None:
    """Params may be given in part, at any depth, and as they were tracked."""
    assert assert_tracked(events, "order-paid", wanted, user_id="7") is events[1]


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 2}, {"n": True}, {"n": "1"}, {"paid": 1}, {"shop": {"city": "Pokhara"}}, {"shop": {"street": None}},
        {"tags": ["a"]}, {"tags": ["b", "a"]}, {"nothing": False}, {"missing": None}, {"shop": 7},
    ],
    ids=repr,
)  # fmt: skip
def test_what_differs_is_not_taken(events: list[Event], wanted: Any) -> None:
    """A value that differs, in its type too, is another; the message shows what was tracked."""
    with pytest.raises(AssertionError, match=r"No event 'order-paid', params .* of that name there are:"):
        assert_tracked(events, "order-paid", wanted)
    assert_not_tracked(events, "order-paid", wanted)


def test_messages_help(events: list[Event]) -> None:
    """A wrong name says which is the nearest and what was tracked, a wrong field that there is none."""
    with pytest.raises(AssertionError, match=re.escape("Did you mean 'order-paid'? Tracked: order-paid.")):
        assert_tracked(events, "order-payed")
    with pytest.raises(AssertionError, match=r"'x' was tracked. Nothing was."):
        assert_tracked([], "x")
    with pytest.raises(TypeError, match=r"Event has no user\. Did you mean 'user_id'"):
        assert_tracked(events, "order-paid", user=1)
    with pytest.raises(AssertionError, match=r"The event 'order-paid' was tracked: params \{'total': 1}"):
        assert_not_tracked(events, "order-paid")
    assert_not_tracked(events, "other")
    assert assert_tracked(events, "order-paid", collection="littlebro", context={}) is events[0]


# Settings of a test run


@pytest.mark.django_db(transaction=True)
def test_journals_of_a_test_run_are_its_own(settings: Settings, tmp_path: Path) -> None:
    """Strict mode is on unless the settings say otherwise, and no journal of the settings is touched."""
    real = tmp_path / "real"
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": str(real), "FSYNC": "event"},
        },
        "plain": {"BACKEND": "memory"},
    }  # fmt: skip
    settings.LITTLEBRO_STRICT = None
    with isolated():
        tracker.track_event("one")
        assert tracker.flush(10)
        options = trackers["default"].config.tracker_options
        assert options["FSYNC"] == "event"
        assert Path(options["JOURNAL"]).exists()
        with pytest.raises(InvalidEvent):
            tracker.track_event("")
        with isolated():
            assert trackers["default"].config.tracker_options == options
    assert not Path(options["JOURNAL"]).exists()
    assert not real.exists()
    settings.LITTLEBRO_STRICT = False
    with isolated():
        assert tracker.track_event("") is None


class MixinTest(TrackedEventsMixin, TestCase):
    """A test case of Django's, with the mixin: works without super() in setUp."""

    def setUp(self) -> None:
        tracker.track_event("set-up")

    def test_events_are_caught_under_atomic(self) -> None:
        """Set-up's events and the test's are there, though nothing ever commits."""
        tracker.track_event("order-paid", {"total": 42, "n": 1})
        self.assert_tracked("set-up")
        event = self.assert_tracked("order-paid", {"total": 42})
        self.assert_not_tracked("order-paid", {"total": 43})
        assert self.tracked_events[1] is event
        assert not StoredEvent.objects.exists()
        with pytest.raises(AssertionError):
            self.assert_not_tracked("order-paid")

    async def test_async_tests_are_caught(self) -> None:
        """Each test has a list of its own."""
        await tracker.atrack_event("order-paid")
        assert names(self.tracked_events) == ["set-up", "order-paid"]


def test_what_sets_a_class_up_is_isolated_too(settings: Settings, tmp_path: Path) -> None:
    """With the mixin, `setUpClass` and `tearDownClass` are strict, touch no real journal, and are in no test's list."""
    real = tmp_path / "real"
    settings.LITTLEBRO = {
        "default": {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": {"JOURNAL": str(real)}}
    }
    settings.LITTLEBRO_STRICT = None
    waiting = real / "default" / "0000000000000000000-left.sealed"
    waiting.parent.mkdir(parents=True)
    waiting.write_text("{}\n")

    class Around(TrackedEventsMixin, unittest.TestCase):
        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            assert tracker.track_event("class")
            assert tracker.flush(5)
            with pytest.raises(InvalidEvent):
                tracker.track_event("")

        @classmethod
        def tearDownClass(cls) -> None:
            assert tracker.track_event("class")
            assert tracker.flush(5)

        def test_it(self) -> None:
            tracker.track_event("one")
            assert names(self.tracked_events) == ["one"]

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Around).run(result)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    assert [path for path in real.rglob("*") if path.is_file()] == [waiting]
    assert Path(trackers["default"].config.tracker_options["JOURNAL"]) == real
    assert trackers["default"].tap is None


@pytest.mark.django_db
def test_what_is_discarded_is_in_no_list() -> None:
    """Around tests events are caught and not kept; a capture inside has its own alone."""
    with discard_events():
        assert tracker.track_event("before") is not None
        with capture_events() as events:
            tracker.track_event("inside")
        assert tracker.track_event("after") is not None
    assert names(events) == ["inside"]
    assert tracker.events().events == []


def test_the_mixin_works_in_a_bare_test_case(settings: Settings) -> None:
    """Without Django's test runner and without a database: strict, and the list is each test's own."""

    class Bare(TrackedEventsMixin, unittest.TestCase):
        def test_it(self) -> None:
            tracker.track_event("one")
            self.assert_tracked("one")

        def test_other(self) -> None:
            self.assert_not_tracked("one")
            with pytest.raises(InvalidEvent):
                tracker.track_event("one", {"total": float("nan")})

    settings.LITTLEBRO_STRICT = None
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Bare).run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])
