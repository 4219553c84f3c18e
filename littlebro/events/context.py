"""The ambient context: what is known around a call without passing it, request and bound values.

One `contextvars.ContextVar` holds an immutable `Ambient`. asyncio copies it into new tasks, asgiref carries
it through `sync_to_async` and `async_to_sync`; threads start empty, as with any context variable. Doors open
it, the pipeline reads it; it never looks into a request itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from types import CoroutineType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import msgspec
from asgiref.sync import iscoroutinefunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from django.http import HttpRequest

__all__ = ["Ambient", "Serving", "ServingPart", "bind", "carried", "current", "inside_delivery"]

_F = TypeVar("_F", bound=Callable[..., Any])
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Ambient(msgspec.Struct, frozen=True):
    """What surrounds a call: `values` bound by `bind`, and the request that is being served, if any.

    `delivering` marks littlebro's own delivery: what is tracked there would go round in circles. `blocks` are what
    `values` are made of, one entry a block that has not ended.
    """

    values: Mapping[str, Any] = _NOTHING
    request: HttpRequest | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    delivering: bool = False
    blocks: tuple[Mapping[str, Any], ...] = ()


EMPTY: Final = Ambient()
_ambient: Final[ContextVar[Ambient]] = ContextVar("littlebro_ambient", default=EMPTY)

current = _ambient.get


def _leave(token: Token[Ambient]) -> None:
    """Put back what was ambient before `token`."""
    try:  # noqa: SIM105 - suppress() costs each request something, and this nothing
        _ambient.reset(token)
    except ValueError:
        # A coroutine thrown away after its loop closed, a generator closed by somebody else, ends in another context
        # than it began in: nothing to put back.
        pass


def bind(**values: Any) -> _Bound:
    """Add `values` to the context of every event tracked inside the block, in this thread or task.

    Blocks nest: an inner value hides an outer one of the same name. Values must be what params may hold;
    one that is not is left out of the events and counted (in strict mode the tracking call raises). Also a
    decorator of functions, ``async def`` included.
    """
    return _Bound(values)


class _Bound:
    """The block of `bind`; as a decorator, a new one at each call."""

    __slots__ = ("_inside", "_outer", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)  # one of its own, by which it is known among the blocks
        self._inside: Ambient | None = None

    def __enter__(self) -> None:
        if self._inside is not None:  # shared by two threads, the values of one would stay in the other
            raise RuntimeError("A bind() is entered once; each block calls it anew.")
        self._outer = _ambient.get()
        self._inside = _binding(self._outer, (*self._outer.blocks, self._values))
        _ambient.set(self._inside)

    def __exit__(self, *_: object) -> None:
        now = _ambient.get()
        if now is self._inside:
            _ambient.set(self._outer)
            return
        # A generator ends after others that began later, or where its block was never entered: in another context.
        rest = tuple(block for block in now.blocks if block is not self._values)
        if len(rest) < len(now.blocks):
            _ambient.set(_binding(now, rest))

    def __call__(self, function: _F) -> _F:
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                "bind() binds nothing around a generator, which runs later: use it as a block inside."
            )
        values = self._values

        @wraps(function)
        def bound(*args: Any, **kwargs: Any) -> Any:
            with _Bound(values):
                result = function(*args, **kwargs)
            # `View.dispatch` of an async view is a plain function that returns a coroutine.
            return _within(values, result) if type(result) is CoroutineType else result

        @wraps(function)
        async def abound(*args: Any, **kwargs: Any) -> Any:
            with _Bound(values):
                return await function(*args, **kwargs)

        return cast("_F", abound if iscoroutinefunction(function) else bound)


def _binding(ambient: Ambient, blocks: tuple[Mapping[str, Any], ...]) -> Ambient:
    """Return `ambient` with the values of `blocks`, of which the later ones hide the earlier."""
    values: dict[str, Any] = {}
    for block in blocks:
        values |= block
    return msgspec.structs.replace(ambient, values=MappingProxyType(values), blocks=blocks)


async def _within(values: Mapping[str, Any], coroutine: Awaitable[Any]) -> Any:
    """Await the coroutine with `values` bound."""
    with _Bound(values):
        return await coroutine


@contextmanager
def carried(
    values: Mapping[str, Any], user_id: str | None = None, anonymous_id: str | None = None
) -> Iterator[None]:
    """Surround the block with what was ambient in the process that started it, and nothing else."""
    token = _ambient.set(_binding(Ambient(user_id=user_id, anonymous_id=anonymous_id), (dict(values),)))
    try:
        yield
    finally:
        _leave(token)


@contextmanager
def inside_delivery() -> Iterator[None]:
    """Mark the block as part of delivery: events tracked in it are dropped and counted."""
    token = _ambient.set(msgspec.structs.replace(_ambient.get(), delivering=True))
    try:
        yield
    finally:
        _leave(token)


class Serving:
    """A context manager that makes `request` the ambient one, so that events inside know who and where.

    No generator, as the others are: once a request, what that costs is worth to be saved (two thirds of it are).
    """

    __slots__ = ("_token", "request")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def __enter__(self) -> Self:
        outer = _ambient.get()
        self._token = _ambient.set(
            Ambient(
                outer.values,
                self.request,
                outer.user_id,
                outer.anonymous_id,
                outer.delivering,
                outer.blocks,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        _leave(self._token)


class ServingPart(Serving):
    """One part of a stream: what is bound where a part ends is bound when the next is made, and not in between.

    The parts share `kept`, which is empty before the first.
    """

    __slots__ = ("_kept",)

    def __init__(self, request: HttpRequest, kept: list[Ambient]) -> None:
        super().__init__(request)
        self._kept = kept

    def __enter__(self) -> Self:
        if not self._kept:
            return super().__enter__()
        self._token = _ambient.set(self._kept.pop())
        return self

    def __exit__(self, *_: object) -> None:
        self._kept[:] = (_ambient.get(),)
        _leave(self._token)
