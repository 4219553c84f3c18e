"""The ambient context: what is known around a call without passing it, request and bound values.

One `contextvars.ContextVar` holds an immutable `Ambient`. asyncio copies it into new tasks, asgiref carries
it through `sync_to_async` and `async_to_sync`; threads start empty, as with any context variable. Doors open
it, the pipeline reads it; it never looks into a request itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.http import HttpRequest

__all__ = ["Ambient", "Serving", "bind", "carried", "current", "inside_delivery"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Ambient(msgspec.Struct, frozen=True):
    """What surrounds a call: `values` bound by `bind`, and the request that is being served, if any.

    `delivering` marks littlebro's own delivery: what is tracked there would go round in circles.
    """

    values: Mapping[str, Any] = _NOTHING
    request: HttpRequest | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    delivering: bool = False


EMPTY: Final = Ambient()
_ambient: Final[ContextVar[Ambient]] = ContextVar("littlebro_ambient", default=EMPTY)

current = _ambient.get


def _leave(token: Token[Ambient]) -> None:
    """Put back what was ambient before `token`."""
    try:  # noqa: SIM105 - suppress() costs each request something, and this nothing
        _ambient.reset(token)
    except ValueError:
        # A coroutine that is thrown away after its loop closed ends in another context: nothing to put back.
        pass


@contextmanager
def bind(**values: Any) -> Iterator[None]:
    """Add `values` to the context of every event tracked inside the block, in this thread or task.

    Blocks nest: an inner value hides an outer one of the same name. Values must be what params may hold;
    one that is not is left out of the events and counted (in strict mode the tracking call raises).
    """
    outer = _ambient.get()
    token = _ambient.set(msgspec.structs.replace(outer, values=MappingProxyType({**outer.values, **values})))
    try:
        yield
    finally:
        _leave(token)


@contextmanager
def carried(
    values: Mapping[str, Any], user_id: str | None = None, anonymous_id: str | None = None
) -> Iterator[None]:
    """Surround the block with what was ambient in the process that started it, and nothing else."""
    token = _ambient.set(Ambient(MappingProxyType(dict(values)), None, user_id, anonymous_id))
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
            Ambient(outer.values, self.request, outer.user_id, outer.anonymous_id, outer.delivering)
        )
        return self

    def __exit__(self, *_: object) -> None:
        _leave(self._token)
