"""Events as a test sees them: caught between the pipeline and the tracker, and asserted on.

In: what the code under test tracks, in any thread or task of the process. Out: a list of events. Nothing that is
caught is held for a transaction, written or delivered. Knows no test runner.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from typing import Any, Final, cast

from littlebro.conf import nearest
from littlebro.delivery.base import BaseTracker
from littlebro.events.convert import NO_RULE, plain
from littlebro.events.event import Event

__all__ = ["TrackedEventsMixin", "assert_not_tracked", "assert_tracked", "capture_events", "deliver_events"]

_lock: Final = threading.RLock()
# The blocks that are open, outermost first: the list of one that catches, a plain object for one that delivers.
_open: Final[list[MutableSequence[Event] | object]] = []


class _Tap:
    """Stands in `BaseTracker.tap`; a callable that is no function is not bound to the tracker."""

    __slots__ = ()

    def __call__(self, event: Event) -> bool:
        with _lock:
            for events in _catching():
                events.append(event)
        return True


_tap: Final = _Tap()


@contextmanager
def capture_events() -> Iterator[list[Event]]:
    """Catch what is tracked inside the block, through any alias; give the list of events, which grows.

    The events are validated, enriched and redacted as ever, and then go nowhere: `track_event` returns them,
    no tracker sees them. They are in the list at once, inside a transaction too, and stay if it rolls back.
    Blocks nest: what an inner one catches, the outer one has as well.
    """
    events: list[Event] = []
    with _opened(events):
        yield events


def discard_events() -> AbstractContextManager[None]:
    """Catch what is tracked inside the block, and keep none of it: for what is around tests."""
    return _opened(deque(maxlen=0))


@contextmanager
def _opened(block: MutableSequence[Event] | object) -> Iterator[None]:
    with _lock:
        _open.append(block)
        BaseTracker.tap = _tap if _catching() else None
    try:
        yield
    finally:
        with _lock:
            _open[:] = [other for other in _open if other is not block]
            BaseTracker.tap = _tap if _catching() else None


def _catching() -> list[MutableSequence[Event]]:
    """Return the lists of the blocks that catch: those inside the innermost one that delivers."""
    inner = takewhile(lambda block: isinstance(block, MutableSequence), reversed(_open))
    return cast("list[MutableSequence[Event]]", list(inner))


def deliver_events() -> AbstractContextManager[None]:
    """Let events travel inside the block as they do on a site, whatever captures surround it."""
    return _opened(object())


def assert_tracked(
    events: Sequence[Event], name: str, params: Mapping[str, Any] | None = None, **fields: Any
) -> Event:
    """Assert that `events` hold one called `name`; return the first that fits.

    `params` is a part of its params: further keys do no harm, at any depth, and values may be given as they
    were tracked (a Decimal, a date, a tuple). `fields` are other fields of the event that must be equal, but
    for `context`, which is a part like `params`. Raises `AssertionError` with what was tracked instead.
    """
    __tracebackhide__ = True
    unknown = set(fields) - set(Event.__struct_fields__)
    if unknown:
        raise TypeError(f"Event has no {', '.join(sorted(unknown))}.{nearest(min(unknown), _FIELDS)}")
    wanted = {**({} if params is None else {"params": params}), **fields}
    same = [event for event in events if event.name == name]
    for event in same:
        if all(_fits(getattr(event, field), value) for field, value in wanted.items()):
            return event
    asked = f"{name!r}{''.join(f', {field} {value!r}' for field, value in wanted.items())}"
    if same:
        seen = "".join(f"\n  {_described(event, wanted)}" for event in same)
        raise AssertionError(f"No event {asked} was tracked; of that name there are:{seen}")
    names = list(dict.fromkeys(event.name for event in events))
    hint = nearest(name, names).replace(" Known: none.", "").replace("Known:", "Tracked:")
    raise AssertionError(f"No event {asked} was tracked.{hint or ' Nothing was.'}")


def assert_not_tracked(
    events: Sequence[Event], name: str, params: Mapping[str, Any] | None = None, **fields: Any
) -> None:
    """Assert that `events` hold none called `name` with these params and fields, as `assert_tracked` reads them."""
    __tracebackhide__ = True
    try:
        found = assert_tracked(events, name, params, **fields)
    except AssertionError:
        return
    raise AssertionError(f"The event {name!r} was tracked: {_described(found, {'params': None, **fields})}")


_FIELDS: Final = list(Event.__struct_fields__)


def _described(event: Event, wanted: Mapping[str, Any]) -> str:
    fields = dict.fromkeys(["params", *wanted])
    return ", ".join(f"{field} {getattr(event, field)!r}" for field in fields)


def _fits(found: Any, wanted: Any) -> bool:
    """Return whether `wanted` is what was tracked: the value, what it is kept as, or, of an object, a part."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and _fits(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_fits, found, wanted))
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if found == wanted:
        return True
    kept = plain(wanted)
    return kept is not NO_RULE and type(kept) is not type(wanted) and bool(_fits(found, kept))


class TrackedEventsMixin:
    """For Django's test cases: `self.tracked_events` is the list of events of the test that is running.

    ::

        class CheckoutTest(TrackedEventsMixin, TestCase):
            def test_paying(self):
                self.client.post("/pay/")
                self.assert_tracked("order-paid", {"total": 42})

    Strict mode is on unless the settings say otherwise, and nothing is delivered; what is tracked in `setUpClass`
    and `setUpTestData` is in no list. Must stand before the test case among the bases.
    """

    tracked_events: list[Event]

    @classmethod
    def setUpClass(cls) -> None:
        """Isolate the class as its tests are: what is set up for all of them may track as well."""
        from littlebro.testing.isolation import isolated  # noqa: PLC0415 - needs a configured Django

        cls.enterClassContext(isolated())  # type: ignore[attr-defined]  # of the test case, as in run()
        cls.enterClassContext(discard_events())  # type: ignore[attr-defined]  # as above
        super().setUpClass()  # type: ignore[misc]  # as above

    def run(self, result: Any = None) -> Any:
        """Run the test with events captured; set-up and tear-down of the test included."""
        from littlebro.testing.isolation import isolated  # noqa: PLC0415 - needs a configured Django

        with isolated(), capture_events() as self.tracked_events:
            return super().run(result)  # type: ignore[misc]

    def assert_tracked(self, name: str, params: Mapping[str, Any] | None = None, **fields: Any) -> Event:
        """Assert it of this test's events; see the function of that name."""
        __tracebackhide__ = True
        return assert_tracked(self.tracked_events, name, params, **fields)

    def assert_not_tracked(self, name: str, params: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Assert it of this test's events; see the function of that name."""
        __tracebackhide__ = True
        assert_not_tracked(self.tracked_events, name, params, **fields)
