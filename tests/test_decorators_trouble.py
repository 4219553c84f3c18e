"""The decorator in trouble: failing callables, bad input, misuse, and what never reaches the caller."""

import gc
import inspect
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views import View

from littlebro.decorators import TrackedBy, track_event
from littlebro.delivery import losses
from littlebro.exceptions import InvalidEvent
from tests import views_doors
from tests.decorated import aliases, ask, only, stored, timeless
from tests.test_decorators import aadd, add

pytestmark = pytest.mark.urls("tests.urls_doors")
__all__ = ["aliases"]  # a fixture, used by every test here


def _fails(*args: object, **kwargs: object) -> dict[str, object]:
    raise LookupError("in the params function")


@pytest.mark.parametrize("option", ["params", "user"])
@pytest.mark.parametrize("answer", [_fails, lambda *_, **__: 5 / 0])
def test_failing_callable_is_counted(
    option: str, answer: object, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    """In production a failing `params` or `user` function costs its part of the event, and is counted."""
    settings.LITTLEBRO_STRICT = False

    @track_event("seen", **{option: answer})  # type: ignore[arg-type]
    def view(request: HttpRequest) -> str:
        return "fine"

    before = losses.pending("default").get("params-callable", 0)
    assert view(ask("/")) == "fine"
    assert timeless(only())["path"] == "/"
    assert losses.pending("default")["params-callable"] == before + 1
    assert "'seen'" in caplog.text


@pytest.mark.parametrize("option", ["params", "user"])
def test_failing_callable_raises_in_strict_mode(option: str) -> None:
    """In strict mode it raises `InvalidEvent` with its cause, unless the view raised something of its own."""

    @track_event("seen", **{option: _fails})  # type: ignore[arg-type]
    def view(request: HttpRequest, *, ends_well: bool) -> str:
        if not ends_well:
            raise KeyError("of the view")
        return "fine"

    with pytest.raises(InvalidEvent, match=f"^{option}: its function raised LookupError$") as caught:
        view(ask("/"), ends_well=True)
    assert str(caught.value.__cause__) == "in the params function"
    with pytest.raises(KeyError, match="of the view"):
        view(ask("/"), ends_well=False)


async def test_bad_input_raises_in_strict_mode_alone(settings: Any) -> None:
    """Params that cannot be kept raise `InvalidEvent` in strict mode, and never in production."""

    @track_event("seen", params={"total": float("nan")})
    def work() -> str:
        return "fine"

    @track_event("seen", params={"total": float("nan")})
    async def awork() -> str:
        return "fine"

    with pytest.raises(InvalidEvent, match=r"^params\.total: "):
        work()
    with pytest.raises(InvalidEvent, match=r"^params\.total: "):
        await awork()
    settings.LITTLEBRO_STRICT = False
    assert work() == await awork() == "fine"
    assert stored() == []


@pytest.mark.parametrize("bad", [{1: "a"}, "text", 5])
def test_params_function_of_the_wrong_shape(bad: object, settings: Any) -> None:
    """A function that returns no mapping is counted like one that raises; keys are the validator's matter."""
    settings.LITTLEBRO_STRICT = False
    assert track_event("seen", params=lambda result: bad)(lambda: "fine")() == "fine"  # type: ignore[arg-type, return-value]


class _Broken:
    """A tracker with a bug in it."""

    def track_event(self, name: str, **kwargs: object) -> None:
        raise RuntimeError("a bug of ours")

    async def atrack_event(self, name: str, **kwargs: object) -> None:
        raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("strict", [True, False])
async def test_a_bug_of_ours_stays_inside(
    strict: bool, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong while recording is logged and counted, and the view's answer goes out."""
    settings.LITTLEBRO_STRICT = strict
    monkeypatch.setattr("littlebro.decorators.trackers", {"default": _Broken()})
    before = losses.pending("default").get("internal", 0)
    assert add(1, 2) == 3
    assert await aadd(1, 2) == 3
    with pytest.raises(ValueError, match="-1"):
        await aadd(1, -1)
    assert losses.pending("default")["internal"] == before + 3
    assert "a bug of ours" in caplog.text


async def test_wrong_alias_raises_before_the_function_runs() -> None:
    """A wrong setting shows at first use, and before anything was done."""
    ran = []

    @track_event("seen", using="nowhere")
    def work() -> None:
        ran.append("sync")

    @track_event("seen", using="nowhere")
    async def awork() -> None:
        ran.append("async")

    with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['nowhere'\]: "):
        work()
    with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['nowhere'\]: "):
        await awork()
    assert ran == []


@pytest.mark.parametrize(
    "name,value",
    [
        ("LITTLEBRO_TRUSTED_PROXIES", "10.0.0.1"),
        ("LITTLEBRO_IP", "of"),
        ("LITTLEBRO_RESPECT", "DNT"),
        ("LITTLEBRO_ANONYMOUS_COOKIE", "two words"),
    ],
)
async def test_wrong_settings_raise_before_the_view_runs(name: str, value: str, settings: Any) -> None:
    """What a view's event goes by is read before the view runs; a function without a request needs none of it."""
    setattr(settings, name, value)
    ran = []

    @track_event("seen")
    def view(request: HttpRequest | None) -> None:
        ran.append("sync")

    @track_event("seen")
    async def aview(request: HttpRequest) -> None:
        ran.append("async")

    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be"):
        view(ask("/"))
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be"):
        await aview(ask("/"))
    assert ran == []
    view(None)
    assert ran == ["sync"]


@pytest.mark.django_db(transaction=True)
def test_what_raised_is_recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event of a function that raised does not wait for a commit that will not come."""
    given: list[Any] = []

    class Tracker:
        def track_event(self, name: str, **kwargs: object) -> None:
            given.append(kwargs["on_commit"])

    monkeypatch.setattr("littlebro.decorators.trackers", {"default": Tracker()})

    def work(*, ends_well: bool) -> None:
        if not ends_well:
            raise KeyError

    for on_commit in (None, True):
        decorated = track_event("seen", on_commit=on_commit)(work)
        decorated(ends_well=True)
        with pytest.raises(KeyError), transaction.atomic():
            decorated(ends_well=False)
    assert given == [None, False, True, True]


misused: Any = track_event  # mypy would not let these pass


@pytest.mark.parametrize(
    "make,says",
    [
        (lambda: misused("paid", {"total": 42}), r"littlebro\.tracker\.track_event\('paid', \{…\}\)"),
        (lambda: misused("paid", {"total": 42}, "orders"), "all after the name is keyword-only"),
        (lambda: misused(lambda: None), "needs the event's name.*not function"),
        (lambda: misused("paid", params=5), "params is a mapping or a function, not int"),
        (lambda: misused("paid", params=aadd), "must be plain functions"),
        (lambda: misused("paid", user=aadd), "must be plain functions"),
        (lambda: misused("paid", pramas={}), "pramas"),
    ],
)
def test_misuse_is_a_type_error(make: Callable[[], object], says: str) -> None:
    """The method's form on the decorator, and other slips, raise at decoration and say what to write."""
    with pytest.raises(TypeError, match=says):
        make()


def _generator() -> Iterator[int]:
    yield 1


async def _agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    "target,says",
    [
        (views_doors.AsyncPlain, r'method_decorator\(track_event\(\'x\'\), name="dispatch"\)'),
        (_generator, "a generator"),
        (_agenerator, "a generator"),
        (classmethod(lambda cls: None), "below @classmethod"),
        (staticmethod(lambda: None), "below @staticmethod"),
        (5, "int, which is no function"),
    ],
)
def test_what_cannot_be_wrapped_is_a_type_error(target: Any, says: str) -> None:
    """What cannot be timed in a way that means something is refused at decoration."""
    with pytest.raises(TypeError, match=says):
        track_event("x")(target)


def test_never_applied_warns() -> None:
    """A decorator thrown away unapplied warns, with the event's name and the line that made it."""
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with pytest.warns(RuntimeWarning, match=r"track_event\('paid'\) was never applied") as caught:
        track_event("paid", params={"total": 42})
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)
    assert "littlebro.tracker.track_event('paid', …)" in str(caught[0].message)


def test_never_applied_warning_has_the_place_of_allocation() -> None:
    """With tracemalloc on, the warning can show where the object was made, as for a coroutine."""
    tracemalloc.start()
    try:
        with pytest.warns(RuntimeWarning) as caught:
            track_event("paid")
        assert isinstance(caught[0].source, TrackedBy)
        assert tracemalloc.get_object_traceback(caught[0].source) is not None
    finally:
        tracemalloc.stop()


def test_applied_does_not_warn() -> None:
    """Applied, once or often, by hand or by `method_decorator`, it says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        track_event("x")(lambda: None)
        method_decorator(track_event("x"), name="dispatch")(type("V", (View,), {}))
        both = track_event("x")
        both(lambda: None), both(lambda: None)
        del both
        gc.collect()
