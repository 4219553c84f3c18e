"""The twins of reports for event loops: ``atrend`` of ``trend``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

__all__ = ["twin"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def twin(report: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Return `report` for an event loop: it runs in a thread of its own, beside others."""

    @wraps(report)
    async def ask(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await sync_to_async(report, thread_sensitive=False)(*args, **kwargs)

    ask.__name__ = ask.__qualname__ = f"a{report.__name__}"
    ask.__doc__ = f"See {report.__name__}()."
    return ask
