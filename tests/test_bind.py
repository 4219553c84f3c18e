"""What `bind` adds to the events around which it stands: nested, carried into tasks and threads, as a decorator."""

import asyncio
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

from littlebro import Event, bind, tracker
from littlebro.delivery import losses
from littlebro.events.context import Serving, current


@pytest.fixture(autouse=True)
def _in_memory(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": request.node.nodeid}}
    losses.drain("default")


def stored() -> list[Event]:
    return tracker.events().events


def test_bound_values_nest() -> None:
    """An inner `bind` adds to the outer and hides its values of the same name, until it ends, also by an error."""
    with bind(plan="pro", a=1):
        with bind(a=2, b=3):
            inner = tracker.track_event("x")
        with pytest.raises(ZeroDivisionError), bind(a=4):
            raise ZeroDivisionError
        outer = tracker.track_event("x")
    bare = tracker.track_event("x")
    assert [event and event.context for event in (inner, outer, bare)] == [
        {"plan": "pro", "a": 2, "b": 3}, {"plan": "pro", "a": 1}, {},
    ]  # fmt: skip
    with pytest.raises(TypeError):
        current().values["x"] = 1  # type: ignore[index]


async def test_bind_decorates_functions() -> None:
    """Around a function, async or not, the values are bound at each call; a generator, which runs later, is refused."""

    @bind(plan="pro")
    def plain() -> dict[str, Any]:
        return dict(current().values)

    @bind(plan="pro")
    async def awaited() -> dict[str, Any]:
        await asyncio.sleep(0)
        return dict(current().values)

    assert [plain(), plain(), await awaited(), await awaited()] == [{"plan": "pro"}] * 4
    assert dict(current().values) == {}
    with pytest.raises(TypeError, match="as a block inside"):

        @bind(plan="pro")
        def generator() -> Any:
            yield


def test_a_bind_is_for_one_block() -> None:
    """One that is kept and entered again is refused, since threads that share it would leave its values behind."""
    kept = bind(plan="pro")
    with kept, pytest.raises(RuntimeError, match="anew"), kept:
        pass
    with pytest.raises(RuntimeError, match="anew"), kept:
        pass
    assert dict(current().values) == {}


async def test_bound_values_reach_what_a_plain_function_leaves_to_await() -> None:
    """`View.dispatch` of an async view is a plain function that returns a coroutine; so is a callable object."""

    @method_decorator(bind(plan="pro"), name="dispatch")
    class Seen(View):
        async def get(self, request: HttpRequest) -> HttpResponse:
            await tracker.atrack_event("x")
            return HttpResponse()

    class Called:
        async def __call__(self) -> Event | None:
            return await tracker.atrack_event("x")

    view: Any = Seen.as_view()
    await view(RequestFactory().get("/"))
    assert [event.context["plan"] for event in stored()] == ["pro"]
    event = await bind(plan="free")(Called())()
    assert event is not None
    assert event.context == {"plan": "free"}
    assert dict(current().values) == {}


async def test_a_generator_may_end_in_another_context() -> None:
    """A stream that binds and is closed by another task, as servers do, ends without an error."""

    async def stream() -> Any:
        with bind(a=1):
            yield 1

    async def first() -> Any:
        return await anext(source)

    source = stream()
    assert await asyncio.create_task(first()) == 1
    await source.aclose()
    assert dict(current().values) == {}


def test_blocks_of_generators_end_in_any_order() -> None:
    """Each takes its own values along, and no others, whoever else binds meanwhile; nothing stays behind."""

    def rows(**values: Any) -> Any:
        with bind(**values):
            yield dict(current().values)
            yield dict(current().values)

    both = {"a": 1, "b": 2}
    assert list(zip(rows(a=1), rows(b=2), strict=False)) == [({"a": 1}, both), (both, both)]
    assert dict(current().values) == {}
    first, second = rows(a=1, c=1), rows(b=2, c=2)
    with bind(c=0):
        next(first)
        next(second)
        first.close()
        assert dict(current().values) == {"b": 2, "c": 2}
        second.close()
        assert dict(current().values) == {"c": 0}


def test_a_generator_that_ends_late_changes_nothing() -> None:
    """One that a request left behind ends in another's: events there still know who is served."""

    def rows() -> Any:
        with bind(a=1):
            yield

    left = rows()
    with Serving(RequestFactory().get("/one")):
        next(left)
    with Serving(RequestFactory().get("/two")) as second:
        left.close()
        assert current().request is second.request
    assert current().request is None


async def test_bound_values_are_carried() -> None:
    """The context goes along into `sync_to_async`, `async_to_sync` and new asyncio tasks, and out of none."""
    from asgiref.sync import async_to_sync, sync_to_async

    async def deeper(**values: Any) -> Any:
        with bind(**values):
            await asyncio.sleep(0)
            event = await tracker.atrack_event("x")
            return event and event.context

    def across() -> Any:
        with bind(b=2):
            return async_to_sync(deeper)(c=3)

    with bind(a=1):
        assert await sync_to_async(across)() == {"a": 1, "b": 2, "c": 3}
        assert await asyncio.gather(*[asyncio.create_task(deeper(task=number)) for number in range(20)]) == [
            {"a": 1, "task": number} for number in range(20)
        ]
        assert await deeper() == {"a": 1}


def test_threads_start_with_nothing_bound() -> None:
    """A thread of its own is no part of the block, as with any context variable."""
    found: list[Any] = []
    with bind(a=1):
        thread = threading.Thread(target=lambda: found.append(current().values))
        thread.start()
        thread.join()
    assert dict(found[0]) == {}
