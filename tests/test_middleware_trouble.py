"""The middleware in trouble: wrong settings, requests thrown away, streams, and a view that has its own way."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings

from littlebro.delivery import losses
from littlebro.delivery.handler import trackers
from littlebro.events.context import bind, current
from littlebro.middleware import TrackerMiddleware
from tests.decorated import aliases, ask, only, stored

__all__ = ["aliases"]  # a fixture, used by every test here

WRONG = [
    {"LITTLEBRO_TRUSTED_PROXIES": "10.0.0.1"},
    {"LITTLEBRO_IP": "of"},
    {"LITTLEBRO_RESPECT": "DNT"},
    {"LITTLEBRO_STRICT": "yes"},
    {"LITTLEBRO_ANONYMOUS_COOKIE": "two words"},
    {"LITTLEBRO_ANONYMOUS_COOKIE": "visitor", "LITTLEBRO_ANONYMOUS_COOKIE_AGE": "1y"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: [*wrong][-1])
def test_wrong_settings_raise_before_the_view_runs(wrong: dict[str, str]) -> None:
    """A wrong setting shows at the first request, and before anything was done in it."""
    ran: list[str] = []
    name = [*wrong][-1]

    def view(request: HttpRequest) -> HttpResponse:
        ran.append(name)
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        return view(request)

    awaited: Any = TrackerMiddleware(aview)
    with override_settings(**wrong):
        with pytest.raises(ImproperlyConfigured, match=f"^{name} must be"):
            TrackerMiddleware(view)(ask("/"))
        with pytest.raises(ImproperlyConfigured, match=f"^{name} must be"):
            asyncio.run(awaited(ask("/")))
    assert ran == []


@override_settings(LITTLEBRO_IP="off", LITTLEBRO_TRUSTED_PROXIES="10.0.0.1")
def test_a_setting_without_a_use_breaks_no_page() -> None:
    """Proxies do not matter where no address is recorded; the system check does not ask for them either."""
    TrackerMiddleware(lambda request: HttpResponse())(ask("/"))
    assert only().context == {}


def test_abandoned_with_its_loop() -> None:
    """A request that outlives its loop is thrown away in another context than it began in, and ends quietly."""

    async def hang(request: HttpRequest) -> HttpResponse:
        with bind(plan="pro"):
            await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def begin() -> Any:
        running: Any = TrackerMiddleware(hang)(ask("/"))
        contextvars.copy_context().run(running.send, None)
        return running

    asyncio.run(begin()).close()
    assert stored() == []


@pytest.mark.parametrize("value", ["chosen", None], ids=["set", "deleted"])
@override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor")
def test_the_view_has_the_last_word_on_the_cookie(value: str | None) -> None:
    """A cookie of that name that the view set or deleted goes out as the view said."""

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse()
        if value is None:
            response.delete_cookie("visitor")
        else:
            response.set_cookie("visitor", value, max_age=5)
        return response

    response: Any = TrackerMiddleware(view)(ask("/"))
    cookie = response.cookies["visitor"]
    assert (cookie.value, cookie["max-age"]) == (("", 0) if value is None else (value, 5))


def _parts(closed: list[str]) -> Iterator[str]:
    try:
        for part in "ab":
            trackers["default"].track_event("part", {"part": part})
            yield part
    finally:
        closed.append("sync")


async def _aparts(closed: list[str]) -> AsyncIterator[str]:
    try:
        for part in "ab":
            await trackers["default"].atrack_event("part", {"part": part})
            yield part
    finally:
        closed.append("async")


async def _aread(response: Any) -> list[bytes]:
    return [part async for part in response]


def streamed(make: Callable[[], Any], **headers: str) -> Any:
    """Return the middleware's response for a view that streams what `make` returns."""
    return TrackerMiddleware(lambda request: StreamingHttpResponse(make()))(ask("/", headers=headers))


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # Django does it, and says so
@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("parts", [_parts, _aparts])
def test_events_of_a_stream_know_the_request(parts: Callable[..., Any], loop: bool) -> None:
    """What is tracked while a streaming body is made belongs to the request: who opted out is not in it."""
    closed: list[str] = []

    def read(**headers: str) -> list[bytes]:
        response = streamed(lambda: parts(closed), **headers)
        return asyncio.run(_aread(response)) if loop else list(response)

    before = losses.pending("default").get("opted-out", 0)
    assert read(**{"user-agent": "Browser/1"}) == read(DNT="1") == [b"a", b"b"]
    assert len(closed) == 2
    assert current().request is None
    assert losses.pending("default")["opted-out"] == before + 3
    assert [(event.params.get("part"), event.context["user_agent"]) for event in stored()] == [
        (None, "Browser/1"),
        ("a", "Browser/1"),
        ("b", "Browser/1"),
    ]


def _bound() -> Iterator[str]:
    with bind(export=7):
        try:
            for _ in "ab":
                trackers["default"].track_event("part")
                yield "part"
        finally:
            trackers["default"].track_event("end")


async def _abound() -> AsyncIterator[str]:
    with bind(export=7):
        try:
            for _ in "ab":
                await trackers["default"].atrack_event("part")
                yield "part"
        finally:
            await trackers["default"].atrack_event("end")


async def _aleft_halfway(response: Any) -> None:
    # Not aiter(response): Django's own generator leaves it to Python to close ours.
    async with aclosing(response._iterator) as content:
        await anext(content)


@pytest.mark.django_db  # to close a response looks after open connections
@pytest.mark.parametrize("halfway", [False, True], ids=["to its end", "left halfway"])
@pytest.mark.parametrize("parts", [_bound, _abound])
def test_what_a_stream_binds_stays_bound(parts: Callable[..., Any], halfway: bool) -> None:
    """A block around the parts holds from one part to the next and to its end, and never between them."""
    response = streamed(parts)
    if parts is _abound:
        asyncio.run(_aleft_halfway(response) if halfway else _aread(response))
    elif halfway:
        next(iter(response))
        assert dict(current().values) == {}
        response.close()
    else:
        list(response)
    assert dict(current().values) == {}
    found = [(event.name, event.context.get("export")) for event in stored()]
    assert found[1:] == [("part", 7)] * (1 if halfway else 2) + [("end", 7)]


class _Elsewhere(StreamingHttpResponse):
    """A response that keeps its parts in a place of its own."""

    is_async = False
    parts: Any

    @property
    def streaming_content(self) -> Any:
        return self.parts

    @streaming_content.setter
    def streaming_content(self, value: Any) -> None:
        self.parts = value

    def __iter__(self) -> Iterator[bytes]:
        return map(self.make_bytes, self.parts)


def test_a_strangers_kind_of_stream() -> None:
    """It reaches the visitor, and its parts know the request."""
    middleware = TrackerMiddleware(lambda request: _Elsewhere(_parts([])))
    response: Any = middleware(ask("/", headers={"user-agent": "Browser/1"}))
    assert list(response) == [b"a", b"b"]
    assert [(event.name, event.context["user_agent"]) for event in stored()] == [
        ("page-accessed", "Browser/1"),
        ("part", "Browser/1"),
        ("part", "Browser/1"),
    ]


@pytest.mark.django_db  # to close a response looks after open connections
def test_a_stream_is_closed_halfway() -> None:
    """A body that is not read to its end is closed with its response; between its parts nothing is ambient."""
    closed: list[str] = []
    response = streamed(lambda: _parts(closed))
    assert next(iter(response)) == b"a"
    assert current().request is None
    response.close()
    assert closed == ["sync"]


def _left(ended: asyncio.Event) -> Iterator[bytes]:
    try:
        yield b"a"
    finally:
        trackers["default"].track_event("left")
        ended.set()


async def _aleft(ended: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        yield b"a"
    finally:
        await trackers["default"].atrack_event("left")
        ended.set()


async def _aleave(responses: list[Any], ended: asyncio.Event) -> None:
    """Read a part as Django's handler does, and let go of the response as when sending that part failed."""
    async with aclosing(aiter(responses.pop())) as content:
        assert await anext(content) == b"a"
    await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.django_db  # to close a response looks after open connections
@pytest.mark.parametrize("parts", [_left, _aleft])
def test_what_a_stream_tracks_when_it_is_left_knows_the_request(parts: Callable[..., Any]) -> None:
    """A client gone between two parts changes nothing of whose events they are, nor of who opted out."""

    def leave(**headers: str) -> None:
        ended = asyncio.Event()
        response = streamed(lambda: parts(ended), **headers)
        if response.is_async:
            responses = [response]
            del response
            asyncio.run(_aleave(responses, ended))
        else:
            assert next(iter(response)) == b"a"
            response.close()
            assert ended.is_set()

    before = losses.pending("default").get("opted-out", 0)
    leave(**{"user-agent": "Browser/1"})
    leave(DNT="1")
    assert [event.context["user_agent"] for event in stored() if event.name == "left"] == ["Browser/1"]
    assert losses.pending("default")["opted-out"] == before + 2


def test_a_stream_is_cancelled_halfway() -> None:
    """A client that goes away cancels what makes the next part, at once."""
    ended: list[str] = []

    async def hang() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_aread(response), 0.05)
        assert ended == ["cancelled"]
        assert current().request is None

    response = streamed(hang)
    asyncio.run(leave())


def test_a_file_stays_a_file(tmp_path: Path) -> None:
    """A server that sends files in its own way still gets the file."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        response: Any = TrackerMiddleware(lambda request: FileResponse(file))(ask("/"))
        assert response.file_to_stream is file
        assert response.getvalue() == b"abc"
