"""The middleware: one event a request, sync and async, that costs the page no query and never its answer."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from littlebro.delivery import losses
from littlebro.delivery.handler import trackers
from littlebro.events import Event, EventQuery
from littlebro.events.context import current
from littlebro.exceptions import InvalidEvent
from littlebro.middleware import TrackerMiddleware

pytestmark = pytest.mark.urls("tests.urls_doors")

OURS = "littlebro.middleware.TrackerMiddleware"
SESSION = "sessionid=opened-by-somebody"


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the middleware first, before a store in memory for this test alone."""
    aliases = {"default": {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": request.node.nodeid}}
    with override_settings(LITTLEBRO=aliases, MIDDLEWARE=[OURS, *django_settings.MIDDLEWARE]):
        yield


def stored() -> list[Event]:
    return trackers["default"].events(EventQuery(), 100).events


def only() -> Event:
    [event] = stored()
    return event


def lost(reason: str) -> int:
    return losses.pending("default").get(reason, 0)


async def get(path: str, *, loop: bool, visitor: str = "", **headers: str) -> Any:
    """Ask for a page through the async handler or the sync one; return the response."""
    cookies = {"visitor": visitor} if visitor else {}
    if loop:
        aclient = AsyncClient(raise_request_exception=False)
        aclient.cookies.load(cookies)
        return await aclient.get(path, headers=headers)
    client = Client(raise_request_exception=False)
    client.cookies.load(cookies)
    return await asyncio.to_thread(lambda: client.get(path, headers=headers))


both = pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])


@both
async def test_page_accessed(loop: bool) -> None:
    """One event a request: path, method, route, status and duration; address and headers in its context."""
    headers = {"user-agent": "Browser/1", "referer": "https://a.example/x?q=hidden"}
    response = await get("/order/12/?with=hidden", loop=loop, **headers)
    assert response.status_code == 201
    event = next(event for event in stored() if event.name == "page-accessed")
    duration = event.params.pop("duration_ms")
    assert 0 <= duration < 60_000
    assert event.params == {
        "path": "/order/12/",
        "method": "GET",
        "route": "order/<int:number>/",
        "status": 201,
    }
    assert event.context == {
        "ip": "127.0.0.0",
        "user_agent": "Browser/1",
        "referrer": "https://a.example/x",
    }
    assert (event.user_id, event.anonymous_id, event.collection) == (None, None, "littlebro")


@both
@pytest.mark.parametrize(
    "path,status,route",
    [("/missing/", 404, "missing/"), ("/nowhere/", 404, None), ("/broken/?how=bug", 500, "broken/")],
)
async def test_failures_have_their_status(path: str, status: int, route: str | None, loop: bool) -> None:
    """Pages that are missing, unknown or broken are recorded with the status that went out."""
    assert (await get(path, loop=loop)).status_code == status
    event = next(event for event in stored() if event.name == "page-accessed")
    assert (event.params["status"], event.params["route"]) == (status, route)


@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError])
def test_exceptions_pass_unchanged(kind: type[BaseException]) -> None:
    """What is raised through the middleware is recorded, then goes on as it was."""

    def fail(request: HttpRequest) -> HttpResponse:
        raise kind("no good")

    async def afail(request: HttpRequest) -> HttpResponse:
        raise kind("no good")

    request = RequestFactory().get("/")
    awaited: Any = TrackerMiddleware(afail)
    with pytest.raises(kind, match="no good"):
        TrackerMiddleware(fail)(request)
    with pytest.raises(kind, match="no good"):
        asyncio.run(awaited(request))
    status = 500 if issubclass(kind, Exception) else None
    assert [(event.params["status"], event.params["exception"]) for event in stored()] == [
        (status, kind.__name__)
    ] * 2
    assert current().request is None


async def test_abandoned_request() -> None:
    """A request whose coroutine is thrown away ends quietly: it may not await any more."""

    async def hang(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(60)
        raise AssertionError("unreachable")

    running: Any = TrackerMiddleware(hang)(RequestFactory().get("/"))
    running.send(None)
    running.close()
    assert stored() == []


async def test_follows_what_it_wraps() -> None:
    """The middleware is a coroutine function exactly where what it wraps is one."""

    async def aview(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(TrackerMiddleware(aview))
    assert not iscoroutinefunction(TrackerMiddleware(lambda request: HttpResponse()))
    assert TrackerMiddleware.sync_capable
    assert TrackerMiddleware.async_capable


@both
async def test_events_inside_know_the_request(loop: bool) -> None:
    """What a view tracks by the plain call carries the context of its request."""
    await get("/inner/", loop=loop, **{"user-agent": "Browser/1"})
    inner, page = sorted(stored(), key=lambda event: event.name)
    assert (inner.name, page.name) == ("inner", "page-accessed")
    assert inner.context == page.context == {"ip": "127.0.0.0", "user_agent": "Browser/1"}
    assert current().request is None


@pytest.mark.django_db
def test_anonymous_page_costs_no_query(client: Client, django_assert_num_queries: Callable[..., Any]) -> None:
    """No query for a visitor without a session, nor for one whose session the view did not open."""
    with django_assert_num_queries(0):
        client.get("/")
        client.get("/", headers={"cookie": SESSION})
    assert [event.user_id for event in stored()] == [None, None]


@pytest.mark.django_db
def test_user_counts_where_the_view_loaded_one(
    client: Client, django_assert_num_queries: Callable[..., Any]
) -> None:
    """The page that looks at its user costs the two queries it always did, and its event names the user."""
    client.get("/log-in/")
    with django_assert_num_queries(2):
        client.get("/me/")
    client.get("/")
    client.get("/log-out/")
    known = str(User.objects.get().pk)
    assert [(event.params["path"], event.user_id) for event in stored()] == [
        ("/log-in/", known),
        ("/me/", known),
        ("/", None),
        ("/log-out/", None),
    ]


def test_nothing_private_is_recorded(client: Client) -> None:
    """Bodies, query strings, cookies and credentials are in no event."""
    client.post(
        "/?q=hidden-query",
        {"password": "hidden-body"},
        headers={"authorization": "Basic hidden", "cookie": "a=hidden-cookie"},
    )
    event = only()
    assert "hidden" not in repr(event)
    assert event.params["method"] == "POST"


def test_facts_under_sensitive_keys_are_redacted(client: Client) -> None:
    """What the request says is redacted as params are: in the first event, and once its keys are known."""
    with override_settings(LITTLEBRO_SENSITIVE_KEYS=["user_agent"]):
        for _ in range(2):
            client.get("/", headers={"user-agent": "Firefox", "referer": "https://example.org/"})
        contexts = [event.context for event in stored()]
    expected = {"user_agent": "[redacted]", "referrer": "https://example.org/"}
    assert [{key: context[key] for key in expected} for context in contexts] == [expected, expected]


@both
@pytest.mark.parametrize(
    "path", ["/free/a%00b%0ac", "/free/" + "a" * 9000, "/free/%e6%bc%a2/%ff", "/free/%ed%a0%80"]
)
async def test_strange_paths_are_kept(path: str, loop: bool) -> None:
    """A path with control characters, or of any length, is recorded in a form that can be kept."""
    await get(path, loop=loop)
    kept = only().params["path"]
    assert kept.startswith("/free/")
    assert len(kept) <= 2000
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in kept)


def test_strange_method_and_status() -> None:
    """A method made up by a client is cut and cleaned; a status that is no number is not recorded."""
    request = RequestFactory().generic("GET", "/")
    request.method = "BREW\x00" * 100

    class Odd(HttpResponse):
        status_code = "teapot"  # type: ignore[assignment]

    TrackerMiddleware(lambda request: Odd())(request)
    assert only().params["method"] == ("BREW" * 100)[:32]
    assert only().params["status"] is None


@both
async def test_ignored_paths(loop: bool) -> None:
    """Ignored prefixes give no `page-accessed`; what their views track is recorded, with its context."""
    with override_settings(LITTLEBRO_MIDDLEWARE_IGNORE=["/static/", "/health"]):
        await get("/static/site.css", loop=loop)
        await get("/health/", loop=loop)
        await get("/", loop=loop)
    assert [(event.name, event.context.get("ip")) for event in stored()] == [
        ("inner", "127.0.0.0"),
        ("page-accessed", "127.0.0.0"),
    ]


@pytest.mark.parametrize("ignore", ["/static/", [b"/static/"]])
def test_wrong_ignore_list_is_an_error(ignore: Any, client: Client) -> None:
    """A bare string would ignore paths by its letters; it is an error instead."""
    with (
        override_settings(LITTLEBRO_MIDDLEWARE_IGNORE=ignore),
        pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO_MIDDLEWARE_IGNORE must be a list"),
    ):
        client.get("/")


@both
@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
async def test_opted_out_visitor(header: str, loop: bool) -> None:
    """Who asks not to be tracked gets the page, no event and no cookie; the drop is counted."""
    before = lost("opted-out")
    with override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor"):
        response = await get("/", loop=loop, **{header: "1"})
    assert response.status_code == 200
    assert not response.cookies
    assert stored() == []
    assert lost("opted-out") == before + 1


def test_no_cookie_by_default(client: Client) -> None:
    """No cookie is set unless the setting names one."""
    assert not client.get("/").cookies
    assert only().anonymous_id is None


@both
@override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor", LITTLEBRO_ANONYMOUS_COOKIE_AGE=60)
async def test_anonymous_cookie(loop: bool) -> None:
    """A newcomer's cookie is first-party, for the server alone, and its id is in this request's events."""
    response = await get("/inner/", loop=loop)
    cookie = response.cookies["visitor"]
    assert cookie["httponly"] is True
    assert (cookie["samesite"], cookie["max-age"], cookie["path"], cookie["domain"]) == ("Lax", 60, "/", "")
    assert not cookie["secure"]
    assert "Cookie" in response["Vary"]
    assert {event.anonymous_id for event in stored()} == {cookie.value}
    again = await get("/", loop=loop, visitor=cookie.value)
    assert not again.cookies
    assert len(stored()) == 3
    assert {event.anonymous_id for event in stored()} == {cookie.value}


@override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor", LITTLEBRO_MIDDLEWARE_IGNORE=["/static/"])
def test_anonymous_cookie_elsewhere() -> None:
    """The cookie is secure over HTTPS; a bad one is replaced; an ignored path sets none."""
    assert Client().get("/", secure=True).cookies["visitor"]["secure"] is True
    assert not Client().get("/static/site.css").cookies
    fresh = Client().get("/", headers={"cookie": "visitor=" + "a" * 201}).cookies["visitor"].value
    assert 20 <= len(fresh) < 200


@both
async def test_bad_input_raises_in_strict_mode_alone(loop: bool, settings: Any) -> None:
    """With a limit that no page meets, strict mode says so and production answers, counting it."""
    settings.LITTLEBRO_MAX_EVENT_BYTES = 10
    assert (await get("/", loop=loop)).status_code == 500
    settings.LITTLEBRO_STRICT = False
    before = lost("invalid")
    assert (await get("/", loop=loop)).status_code == 200
    assert lost("invalid") == before + 1


@both
async def test_a_bug_of_ours_stays_inside(
    loop: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong while recording is logged and counted, and the page goes out."""

    def fail(*args: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("littlebro.middleware.page_params", fail)
    before = lost("internal")
    assert (await get("/", loop=loop)).content == b"front"
    assert (await get("/broken/", loop=loop)).status_code == 500
    assert lost("internal") == before + 2
    assert "a bug of ours" in caplog.text


def test_an_exception_of_the_view_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the view raised comes out, even where recording fails in strict mode."""

    def refuse(*args: object) -> None:
        raise InvalidEvent("params", "no good")

    def fail(request: HttpRequest) -> HttpResponse:
        raise KeyError("of the view")

    async def afail(request: HttpRequest) -> HttpResponse:
        raise KeyError("of the view")

    monkeypatch.setattr("littlebro.middleware.page_params", refuse)
    request = RequestFactory().get("/")
    awaited: Any = TrackerMiddleware(afail)
    with pytest.raises(KeyError, match="of the view"):
        TrackerMiddleware(fail)(request)
    with pytest.raises(KeyError, match="of the view"):
        asyncio.run(awaited(request))
