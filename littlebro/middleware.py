"""The middleware door: one `page-accessed` event a request.

A request flows through to the view and its response back, unchanged but for the anonymous cookie where that
is switched on; one event flows to the default tracker. While the view runs, the request is the ambient one,
so that events tracked inside know who and where. What is recorded of it, `littlebro.privacy` decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import StreamingHttpResponse
from django.utils.cache import patch_vary_headers

from littlebro.conf import setting
from littlebro.delivery.guard import must_raise
from littlebro.delivery.handler import trackers
from littlebro.events.context import Serving, ServingPart
from littlebro.privacy import is_no_visit, issue_anonymous_id, page_params, read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

__all__ = ["TrackerMiddleware"]

_ALIAS: Final = "default"
_NAME: Final = "page-accessed"
_END: Final = object()


class TrackerMiddleware:
    """Record each request, sync and async, with the params of `littlebro.privacy.page_params`.

    Paths that start with an entry of `LITTLEBRO_MIDDLEWARE_IGNORE` are not recorded, nor is what the dashboard's
    pages fetch; events tracked by their views still know the request. The user is known where the view loaded
    one. A streaming response is recorded when it begins; what its parts track knows the request too.
    """

    sync_capable: ClassVar[bool] = True
    async_capable: ClassVar[bool] = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Pass the request on, then record it."""
        if self._is_async:
            return self._acall(request)
        with _Visit(request) as visit:
            try:
                response: HttpResponseBase = self.get_response(request)
            except BaseException as error:
                visit.record(None, error)
                raise
            visit.record(response, None)
        return visit.finish(response)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        """See __call__()."""
        with _Visit(request) as visit:
            try:
                response: HttpResponseBase = await self.get_response(request)
            except GeneratorExit:
                raise  # the coroutine is being thrown away, and may not await anything any more
            except BaseException as error:
                await visit.arecord(None, error)
                raise
            await visit.arecord(response, None)
        return visit.finish(response)


class _Visit(Serving):
    """One request, from its arrival to its event."""

    __slots__ = ("fresh_id", "recorded", "started", "tracker")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.started = perf_counter()
        # Before the view runs: a wrong setting raises here, and not after an order was paid.
        self.tracker = trackers[_ALIAS]
        read_settings()
        self.recorded = not request.path.startswith(setting("LITTLEBRO_MIDDLEWARE_IGNORE"))
        self.fresh_id = issue_anonymous_id(request) if self.recorded else None
        if self.fresh_id is not None:
            setting("LITTLEBRO_ANONYMOUS_COOKIE_AGE")

    def record(self, response: object, error: BaseException | None) -> None:
        """Record the event, if this request is to be recorded."""
        if not self.recorded or is_no_visit(self.request):
            return
        try:
            params = page_params(self.request, response, error, perf_counter() - self.started)
            self.tracker.track_event(_NAME, params, request=self.request)
        except Exception as problem:
            if must_raise(_ALIAS, _NAME, problem, host_failed=error is not None):
                raise

    async def arecord(self, response: object, error: BaseException | None) -> None:
        """See record()."""
        if not self.recorded or is_no_visit(self.request):
            return
        try:
            params = page_params(self.request, response, error, perf_counter() - self.started)
            await self.tracker.atrack_event(_NAME, params, request=self.request)
        except Exception as problem:
            if must_raise(_ALIAS, _NAME, problem, host_failed=error is not None):
                raise

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response: a newcomer's with the cookie, a stream such that its parts know the request."""
        if self.fresh_id is not None:
            self.leave_cookie(response, self.fresh_id)
        # A file is left alone: nothing is tracked while it is read, and servers know a faster way to send it.
        if isinstance(response, StreamingHttpResponse) and getattr(response, "file_to_stream", None) is None:
            # Not `streaming_content`: what that returns holds the response, which would hold it in turn, and a stream
            # that a client left would end when Python looks for cycles.
            stream: Any = response
            serving = partial(ServingPart, self.request, [])
            closers = stream._resource_closers  # noqa: SLF001 - Django runs them where nothing is ambient
            closers[:] = [partial(_close, serving, closer) for closer in closers]
            # A stranger's kind of response may keep its parts elsewhere.
            parts = stream._iterator if hasattr(stream, "_iterator") else stream.streaming_content  # noqa: SLF001 - see above
            response.streaming_content = (_aserve if response.is_async else _serve)(serving, parts)
        return response

    def leave_cookie(self, response: HttpResponseBase, fresh_id: str) -> None:
        """Set the anonymous cookie to the id that this visit issued, unless the view said what it is to be."""
        name = setting("LITTLEBRO_ANONYMOUS_COOKIE")
        if name in response.cookies:
            return
        response.set_cookie(
            name,
            fresh_id,
            max_age=setting("LITTLEBRO_ANONYMOUS_COOKIE_AGE"),
            secure=self.request.is_secure(),
            httponly=True,
            samesite="Lax",
        )
        # Django's cache middleware keeps no response that varies by cookie and sets one for a newcomer; a
        # cached one would give many visitors the same id.
        patch_vary_headers(response, ("Cookie",))


def _serve(serving: Callable[[], Serving], parts: Iterator[object]) -> Iterator[object]:
    """Yield `parts`, and have the request ambient while each is made, but not while the server sends it."""
    while True:
        with serving():
            part = next(parts, _END)
        if part is _END:
            return
        yield part


async def _aserve(serving: Callable[[], Serving], parts: AsyncIterator[object]) -> AsyncIterator[object]:
    """See _serve()."""
    try:
        while True:
            with serving():
                part = await anext(parts, _END)
            if part is _END:
                return
            yield part
    finally:  # perhaps since the client left; what its maker tracks then knows the request too
        if isinstance(parts, AsyncGenerator):
            with serving():
                await parts.aclose()


def _close(serving: Callable[[], Serving], closer: Callable[[], object]) -> None:
    """Run what is to be run when the response is closed, and have the request ambient."""
    with serving():
        closer()
