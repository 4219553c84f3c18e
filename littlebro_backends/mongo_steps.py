"""Operations of `mongo`, written once for pymongo's blocking client and for its asyncio one.

An operation is a generator: it yields calls, functions of a database, and is sent their results, or thrown
their errors. What a call returns is the result itself from a blocking database, and to be awaited from the
other: that is all the two drivers here know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, TypeVar

__all__ = ["Call", "Reading", "Steps", "arun", "astream", "run", "stream"]

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")

Call = Callable[[Any], Any]
Steps = Generator[Call, Any, _Result]
Reading = Generator[Call | list[_Item], Any, None]
"""Yields calls, and between them lists of what was asked for."""


def run(steps: Steps[_Result], database: Any) -> _Result:
    """Take an operation to its end on a blocking database."""
    try:
        call = next(steps)
        while True:
            try:
                reply = call(database)
            except Exception as error:  # noqa: BLE001 - the operation's to judge
                call = steps.throw(error)
            else:
                call = steps.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result


async def arun(steps: Steps[_Result], database: Any) -> _Result:
    """Take an operation to its end on an asyncio database."""
    try:
        call = next(steps)
        while True:
            try:
                reply = await call(database)
            except Exception as error:  # noqa: BLE001 - the operation's to judge
                call = steps.throw(error)
            else:
                call = steps.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result


def stream(reading: Reading[_Item], database: Callable[[], Any]) -> Iterator[_Item]:
    """Yield what is read, one by one; the database is asked for anew each time, since a client may be closed."""
    reply: Any = None
    try:
        while True:
            step = reading.send(reply)
            if isinstance(step, list):
                yield from step
                reply = None
            else:
                reply = step(database())
    except StopIteration:
        return


async def astream(reading: Reading[_Item], database: Callable[[], Awaitable[Any]]) -> AsyncIterator[_Item]:
    """See stream()."""
    reply: Any = None
    try:
        while True:
            step = reading.send(reply)
            if isinstance(step, list):
                for item in step:
                    yield item
                reply = None
            else:
                reply = await step(await database())
    except StopIteration:
        return
