"""The decorator: what it records, of which callables, and that it never gets in their way."""

import asyncio
import gc
import inspect
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.views import View

import littlebro
from littlebro.decorators import TrackedBy, track_event
from littlebro.delivery import losses
from littlebro.delivery.handler import trackers
from littlebro.events import Event, EventQuery
from littlebro.exceptions import InvalidEvent
from tests import views_doors

pytestmark = pytest.mark.urls("tests.urls_doors")


@pytest.fixture(autouse=True)
def _aliases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two aliases with a store in memory each, for this test alone."""
    aliases = {
        alias: {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": f"{request.node.nodeid}-{alias}"}
        for alias in ("default", "audit")
    }
    aliases["audit"]["COLLECTION"] = "audit"
    with override_settings(LITTLEBRO=aliases):
        yield


def stored(alias: str = "default", collection: str | None = None) -> list[Event]:
    query = EventQuery(collections=None if collection is None else (collection,))
    return trackers[alias].events(query, 100).events


def only(alias: str = "default") -> Event:
    [event] = stored(alias)
    return event


def timeless(event: Event) -> dict[str, Any]:
    """Return the params without the duration, which is checked to be one."""
    params = dict(event.params)
    duration = params.pop("duration_ms")
    assert isinstance(duration, float)
    assert 0 <= duration < 60_000
    return params


ask = RequestFactory().get


@pytest.mark.parametrize("way", ["order", "aorder"])
def test_view(way: str, client: Client) -> None:
    """A view's event says where, how it ended and how long it took; params add to it."""
    response = client.get(f"/{way}/12/?with=cream")
    assert (response.status_code, response.content) == (201, b"order")
    event = only()
    assert event.name == "order-seen"
    assert timeless(event) == {
        "path": f"/{way}/12/",
        "method": "GET",
        "route": f"{way}/<int:number>/",
        "status": 201,
        "number": 12,
        "answered": True,
        "asked": "cream",
    }


async def test_view_under_an_event_loop(async_client: AsyncClient) -> None:
    """The same, served by the async handler."""
    response = await async_client.get("/aorder/12/")
    assert response.status_code == 201
    assert timeless(only())["route"] == "aorder/<int:number>/"


@pytest.mark.parametrize("path", ["/basket/", "/abasket/"])
def test_class_based_view(path: str, client: Client) -> None:
    """`method_decorator(…, name="dispatch")` records sync and async views when they have answered."""
    assert client.get(path).content == b"basket"
    event = only()
    assert event.name == "basket"
    assert timeless(event) == {"path": path, "method": "GET", "route": path[1:], "status": 200}


async def test_class_based_view_under_an_event_loop(async_client: AsyncClient) -> None:
    """The coroutine that an async view's `dispatch` returns is recorded when it ends, not when it begins."""
    assert (await async_client.get("/abasket/")).status_code == 200
    assert timeless(only())["status"] == 200


def test_methods_of_a_view(client: Client) -> None:
    """A handler method is recorded too, decorated for itself or through `method_decorator`."""
    assert client.post("/basket/").status_code == 202
    assert client.delete("/basket/").status_code == 200
    by_name = {event.name: event for event in stored() if event.name != "basket"}
    assert timeless(by_name["basket-filled"])["by"] == "method"
    assert timeless(by_name["basket-filled"])["status"] == 202
    assert timeless(by_name["basket-emptied"])["method"] == "DELETE"


def test_result_of_as_view(client: Client) -> None:
    """What `as_view` returns can be decorated in the URLs; an async one stays async."""
    assert client.get("/wrapped/").content == b"plain"
    assert only().name == "wrapped"
    assert iscoroutinefunction(track_event("x")(views_doors.AsyncPlain.as_view()))


@pytest.mark.parametrize("how,status", [("bug", 500), ("missing", 404), ("forbidden", 403), ("bad", 400)])
@pytest.mark.parametrize("way", ["broken", "abroken"])
def test_view_that_raises(way: str, how: str, status: int) -> None:
    """An exception goes on unchanged; the event has the status that Django gives it, and its class."""
    kind = views_doors.PROBLEMS[how]
    view: Any = getattr(views_doors, way)
    with pytest.raises(kind, match="no good") as caught:
        asyncio.run(view(ask("/", {"how": how}))) if way == "abroken" else view(ask("/", {"how": how}))
    assert caught.value.__cause__ is None
    assert timeless(only()) == {
        "path": "/",
        "method": "GET",
        "route": None,
        "status": status,
        "exception": kind.__name__,
    }


async def test_async_class_based_view_that_raises(async_client: AsyncClient) -> None:
    """The same from inside the coroutine that `dispatch` returned."""
    async_client.raise_request_exception = False
    assert (await async_client.post("/abasket/")).status_code == 500
    assert timeless(only())["exception"] == "ZeroDivisionError"


def test_streaming_response(client: Client) -> None:
    """A streaming response is recorded when the view hands it over, before it is read."""
    response = client.get("/stream/")
    assert only().name == "streamed"
    assert response.getvalue() == b"ab"


@track_event("sum", params=lambda result, *args, **kwargs: {"result": result, "n": len(args) + len(kwargs)})
def add(first: int, second: int) -> int:
    """Add."""
    if second < 0:
        raise ValueError(second)
    return first + second


@track_event("sum", params={"kind": "async"})
async def aadd(first: int, second: int) -> int:
    await asyncio.sleep(0)
    if second < 0:
        raise ValueError(second)
    return first + second


class Adder:
    @track_event("sum")
    def add(self, first: int, second: int) -> int:
        return first + second

    async def __call__(self, first: int, second: int) -> int:
        return first + second


def test_function() -> None:
    """A plain function's event has its name, outcome and duration; params see the result and arguments."""
    assert add(1, second=2) == 3
    function = f"{__name__}.add"
    assert timeless(only()) == {"function": function, "outcome": "returned", "result": 3, "n": 2}
    assert only().context == {}
    with pytest.raises(ValueError, match="-1"):
        add(1, -1)
    assert timeless(stored()[1]) == {
        "function": function,
        "outcome": "raised",
        "exception": "ValueError",
        "result": None,
        "n": 2,
    }


async def test_async_function() -> None:
    """The same for a coroutine function, which stays one."""
    assert iscoroutinefunction(aadd)
    assert await aadd(1, 2) == 3
    assert timeless(only()) == {"function": f"{__name__}.aadd", "outcome": "returned", "kind": "async"}
    with pytest.raises(ValueError, match="-1"):
        await aadd(1, -1)
    assert timeless(stored()[1])["exception"] == "ValueError"


def test_methods_and_callable_objects() -> None:
    """A method of any class is named by its qualified name, a callable object by its class."""
    assert Adder().add(1, 2) == 3
    assert asyncio.run(track_event("sum")(Adder())(1, 2)) == 3
    assert [timeless(event)["function"] for event in stored()] == [
        f"{__name__}.Adder.add",
        f"{__name__}.Adder",
    ]


async def test_cancelled_task() -> None:
    """A task that is cancelled is recorded as such, and stays cancelled."""
    started = asyncio.Event()

    @track_event("waited")
    async def wait(request: HttpRequest) -> None:
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(wait(ask("/")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timeless(only())["exception"] == "CancelledError"
    assert timeless(only())["status"] is None


def test_abandoned_coroutine() -> None:
    """A coroutine thrown away half-way ends quietly: it may not await, so nothing is recorded."""

    @track_event("waited")
    async def wait() -> None:
        await asyncio.sleep(60)

    async def begin() -> None:
        running = wait()
        running.send(None)
        running.close()

    asyncio.run(begin())
    assert stored() == []


def test_request_by_keyword_and_inside_another() -> None:
    """A request counts as a keyword too, and inside Django REST framework's own request."""

    class RestRequest:
        def __init__(self, request: HttpRequest) -> None:
            self._request = request

    seen: list[Any] = []

    def remember(request: object, response: object, *args: object, **kwargs: object) -> None:
        seen.append((request, args, kwargs))

    @track_event("seen", params=remember)
    def view(request: object, number: int) -> HttpResponse:
        return HttpResponse()

    plain, rest = ask("/plain/"), RestRequest(ask("/rest/"))
    view(request=plain, number=1)
    view(rest, 2)
    assert [timeless(event)["path"] for event in stored()] == ["/plain/", "/rest/"]
    assert seen == [(plain, (), {"number": 1}), (rest, (2,), {})]


def test_name_signature_and_attributes_stay() -> None:
    """A decorated callable looks as it did, to people and to Django."""
    assert inspect.signature(add) == inspect.signature(inspect.unwrap(add))
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add.", __name__)
    assert views_doors.order.csrf_exempt is True  # type: ignore[attr-defined]
    assert track_event("x")(views_doors.order).csrf_exempt is True  # type: ignore[attr-defined]
    assert views_doors.Basket.dispatch.__doc__ == View.dispatch.__doc__
    assert not iscoroutinefunction(add)


def test_public_places() -> None:
    """The decorator is `littlebro.track_event` and `littlebro.decorators.track_event`."""
    assert littlebro.track_event is track_event


def test_alias_and_collection() -> None:
    """`using` picks the alias, `collection` the stream."""

    @track_event("kept", using="audit")
    @track_event("kept", collection="orders")
    def work() -> None: ...

    work()
    assert only("audit").collection == "audit"
    assert [event.collection for event in stored("default", "orders")] == ["orders"]


@pytest.mark.parametrize(
    "user,known",
    [
        (7, "7"),
        ("ada", "ada"),
        (lambda request, response, number: number, "12"),
        (lambda *_, **__: None, None),
    ],
)
def test_user(user: object, known: str | None) -> None:
    """A user may be given, or named by a function of what the view had."""

    @track_event("seen", user=user)
    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse()

    view(ask("/"), number=12)
    assert only().user_id == known


@pytest.mark.django_db
def test_loaded_user(client: Client, django_assert_num_queries: Callable[..., Any]) -> None:
    """Without `user` the event names the user that the view itself loaded, and loads none."""
    client.get("/log-in/")
    with django_assert_num_queries(0):
        client.get("/order/1/")
    client.get("/my-order/")
    assert [event.user_id for event in stored()] == [None, str(User.objects.get().pk)]


def test_params_are_a_snapshot() -> None:
    """A mapping given at decoration is copied; changing it later changes no event."""
    given = {"plan": "pro"}

    @track_event("seen", params=given)
    def work() -> None: ...

    given["plan"] = "free"
    work()
    assert timeless(only())["plan"] == "pro"


def test_params_win() -> None:
    """A key of the caller's own replaces the recorded one."""

    @track_event("seen", params={"path": "/hidden/"})
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    view(ask("/secret/token/"))
    assert timeless(only())["path"] == "/hidden/"


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
