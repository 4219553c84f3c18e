"""The decorator: what it records, of which callables, and that it never gets in their way."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.utils.functional import SimpleLazyObject
from django.views import View

import littlebro
from littlebro.decorators import track_event
from tests import views_doors
from tests.decorated import aliases, ask, only, stored, timeless

pytestmark = pytest.mark.urls("tests.urls_doors")
__all__ = ["aliases"]  # a fixture, used by every test here


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


class RestRequest:
    """A request as Django REST framework has it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request


def test_exceptions_of_rest_framework_have_their_status() -> None:
    """Around them they are answered with the status that they have; in another view Django answers 500."""

    class ValidationError(Exception):
        status_code = 400

    @track_event("seen")
    def view(request: object, error: Exception) -> HttpResponse:
        raise error

    for request, error in (
        (RestRequest(ask("/")), ValidationError()),
        (RestRequest(ask("/")), KeyError()),
        (RestRequest(ask("/")), Http404()),
        (ask("/"), ValidationError()),
    ):
        with pytest.raises(type(error)):
            view(request, error)
    assert [event.params["status"] for event in stored()] == [400, 500, 404, 500]


class Lazy:
    """A user that nobody may load."""

    def __init__(self) -> None:
        self.loads = 0
        self.user: Any = SimpleLazyObject(self.load)

    def load(self) -> User:
        self.loads += 1
        return User(pk=7)


@pytest.mark.parametrize("keyword", [False, True])
async def test_lazy_arguments_stay_lazy(keyword: bool) -> None:
    """What a function is given or returns is not looked into: a user that it does not touch is not loaded."""

    @track_event("welcomed")
    def welcome(request: object) -> object:
        return request

    @track_event("welcomed")
    async def awelcome(request: object) -> object:
        return request

    @track_event("found")
    def find(request: object, user: object) -> object:
        return user

    lazy = Lazy()
    given: dict[str, Any] = {"request": lazy.user}
    welcome(**given) if keyword else welcome(lazy.user)
    await (awelcome(**given) if keyword else awelcome(lazy.user))
    assert find(ask("/found/"), lazy.user) is lazy.user
    assert lazy.loads == 0
    assert [event.params.get("outcome") for event in stored()] == ["returned", "returned", None]
    assert timeless(stored()[2])["status"] is None


@pytest.mark.parametrize("strange", [Mock(), Mock(spec=HttpRequest)], ids=["mock", "mock of a request"])
def test_strange_arguments(strange: Any) -> None:
    """An object that has whatever it is asked for is no request."""
    track_event("seen")(lambda given: None)(strange)
    assert timeless(only())["outcome"] == "returned"


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
