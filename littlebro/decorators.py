"""The decorator door: record that a view or a function ran.

A call flows through unchanged; one event flows to the alias's tracker after it returned or raised. What of a
request is recorded, `littlebro.privacy` decides. Nothing that goes wrong in here reaches the decorated
function's caller, but for a wrong setting and, in strict mode, bad input.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import warnings
from collections.abc import Mapping
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar

from asgiref.sync import iscoroutinefunction

from littlebro.conf import strict
from littlebro.delivery import losses
from littlebro.delivery.guard import must_raise
from littlebro.delivery.handler import trackers
from littlebro.exceptions import InvalidEvent
from littlebro.privacy import as_request, page_params, read_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest

    from littlebro.delivery.base import BaseTracker

__all__ = ["track_event"]

_log: Final = logging.getLogger(__name__)
_Function = TypeVar("_Function", bound="Callable[..., Any]")


def track_event(
    name: str,
    *misplaced: Never,
    params: Mapping[str, Any] | Callable[..., Mapping[str, Any] | None] | None = None,
    collection: str | None = None,
    using: str = "default",
    user: object = None,
    on_commit: bool | str | None = None,
) -> TrackedBy:
    """Record an event each time the decorated view or function has run, also when it raised.

    For a view (sync, async, or class-based by ``method_decorator(track_event("…"), name="dispatch")``) the
    event's params are those of `littlebro.privacy.page_params`: path, method, route, status, `duration_ms`.
    For any other function they are `function` (dotted name), `outcome` (``"returned"`` or ``"raised"``),
    `duration_ms` and, if it raised, `exception`. A streaming response is recorded when the view hands it
    over, a template response before it is rendered.

    `params` adds to those and wins over them: a mapping, or a plain function that returns one (or None). It
    is called as ``params(request, response, *args, **kwargs)`` with the view's own arguments, for other
    functions as ``params(result, *args, **kwargs)``; response and result are None if an exception came out.
    If it fails, the event goes without what it gives, counted (in strict mode: `InvalidEvent`). `user` is a
    user, a primary key, or a function that is called in the same way; without it the user counts where the
    view has loaded one. `collection` is the stream, `using` the alias, `on_commit` as in
    `BaseTracker.track_event`; what raised is recorded at once, as its transaction is about to roll back.

    Raises `TypeError` at decoration for what it cannot wrap: generators, classes, a second positional
    argument. This is not the call that records an event now: that is `littlebro.tracker.track_event`.
    """
    called: object = name  # untyped code calls this too, and forgets the parentheses
    if not isinstance(called, str):
        message = (
            f"littlebro.track_event is a decorator that needs the event's name, as in "
            f'@track_event("order-paid"), not {type(name).__name__}.'
        )
        raise TypeError(message)
    if misplaced:
        message = (
            f"littlebro.track_event({name!r}, …) is the decorator: all after the name is keyword-only, "
            f"as in @track_event({name!r}, params={{…}}). To record an event now, call the tracker: "
            f"littlebro.tracker.track_event({name!r}, {{…}})."
        )
        raise TypeError(message)
    given: object = params
    if isinstance(given, Mapping):
        params = dict(given)
    elif given is not None and not callable(given):
        message = f"@track_event({name!r}): params is a mapping or a function, not {type(given).__name__}."
        raise TypeError(message)
    if iscoroutinefunction(params) or iscoroutinefunction(user):
        message = f"@track_event({name!r}): params and user must be plain functions, not async ones."
        raise TypeError(message)
    options = {"name": name, "params": params, "collection": collection, "user": user, "on_commit": on_commit}
    return TrackedBy(options, using)


class TrackedBy:
    """What `track_event` returns: apply it to a function. Warns when it is thrown away unapplied."""

    __slots__ = ("_applied", "_origin", "collection", "name", "on_commit", "params", "user", "using")

    def __init__(self, options: Mapping[str, Any], using: str) -> None:
        self.name: str = options["name"]
        self.params = options["params"]
        self.collection: str | None = options["collection"]
        self.user = options["user"]
        self.on_commit: bool | str | None = options["on_commit"]
        self.using = using
        self._applied = False
        caller = sys._getframe(2)  # noqa: SLF001 - as warnings and logging find their caller
        self._origin = (caller.f_code.co_filename, caller.f_lineno)

    def __call__(self, function: _Function) -> _Function:
        """Return `function`, wrapped; its name, signature and attributes stay."""
        self._applied = True
        _refuse(self.name, function)
        if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004 - its kind is asked, it is not called

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                run = _Run(self, function, args, kwargs)
                return await run.follow(functools.partial(function, *args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                run = _Run(self, function, args, kwargs)
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    run.record(None, error)
                    raise
                if type(result) is CoroutineType:  # isinstance() would load a lazy result
                    # `View.dispatch` of an async view is a plain function that returns a coroutine.
                    return run.follow(lambda: result)
                run.record(result, None)
                return result

        return wrapper  # type: ignore[return-value]

    def __del__(self) -> None:
        if getattr(self, "_applied", True):
            return
        message = (
            f"track_event({self.name!r}) was never applied to a function, so it recorded nothing: it is the "
            f"decorator. To record an event now, call littlebro.tracker.track_event({self.name!r}, …)."
        )
        # `source` lets tracemalloc, where it is on, add the place of the allocation, as for coroutines.
        warnings.warn_explicit(message, RuntimeWarning, *self._origin, source=self)


def _refuse(name: str, function: object) -> None:
    """Raise `TypeError` for what cannot be wrapped in a way that means something."""
    if isinstance(function, type):
        problem = f'a class: on a view, use @method_decorator(track_event({name!r}), name="dispatch")'
    elif isinstance(function, classmethod | staticmethod):
        problem = f"a {type(function).__name__} object: put the decorator below @{type(function).__name__}"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        problem = "a generator: it has hardly begun when its call returns; decorate the function that runs it"
    elif not callable(function):
        problem = f"{type(function).__name__}, which is no function"
    else:
        return
    message = f"@track_event({name!r}) was applied to {problem}."
    raise TypeError(message)


class _Run:
    """One call of a decorated function, from its start to its event."""

    __slots__ = ("args", "asked", "by", "function", "kwargs", "request", "started", "tracker")

    def __init__(
        self, by: TrackedBy, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.by = by
        self.function = function
        self.asked, self.request, self.args, self.kwargs = _split_request(args, kwargs)
        # Before the function runs: a wrong setting raises here, and not after an order was paid.
        self.tracker: BaseTracker = trackers[by.using]
        if self.request is not None:
            read_settings()
        self.started = perf_counter()

    async def follow(self, start: Callable[[], Awaitable[Any]]) -> Any:
        """Await what `start` returns, then record it."""
        try:
            result = await start()
        except GeneratorExit:
            raise  # the coroutine is being thrown away, and may not await anything any more
        except BaseException as error:
            await self.arecord(None, error)
            raise
        await self.arecord(result, None)
        return result

    def record(self, result: object, error: BaseException | None) -> None:
        """Record the event of this call."""
        try:
            self.tracker.track_event(self.by.name, **self.event(result, error))
        except Exception as problem:
            if must_raise(self.by.using, self.by.name, problem, host_failed=error is not None):
                raise

    async def arecord(self, result: object, error: BaseException | None) -> None:
        """See record()."""
        try:
            await self.tracker.atrack_event(self.by.name, **self.event(result, error))
        except Exception as problem:
            if must_raise(self.by.using, self.by.name, problem, host_failed=error is not None):
                raise

    def event(self, result: object, error: BaseException | None) -> dict[str, Any]:
        """Return the arguments for `track_event`."""
        seconds = perf_counter() - self.started
        if self.request is None:
            params = _call_params(self.function, error, seconds)
            seen: tuple[Any, ...] = (result, *self.args)
        else:
            params = page_params(self.request, result, error, seconds)
            # REST framework, whose request this then is, answers its own exceptions with the status that they have.
            status = None if self.asked is self.request else getattr(error, "status_code", None)
            if isinstance(status, int):
                params["status"] = status
            seen = (self.asked, result, *self.args)
        failed = error is not None
        given = self._ask("params", self.by.params, seen, host_failed=failed)
        on_commit = False if failed and self.by.on_commit is None else self.by.on_commit
        return {
            "params": {**params, **given} if given else params,
            "collection": self.by.collection,
            "user": self._ask("user", self.by.user, seen, host_failed=failed),
            "request": self.request,
            "on_commit": on_commit,
        }

    def _ask(self, what: str, given: Any, seen: tuple[Any, ...], *, host_failed: bool) -> Any:
        """Return `given`, or what it returns if it is a function; an error in it leaves only its part out."""
        if not callable(given):
            return given
        try:
            answer = given(*seen, **self.kwargs)
            return dict(answer) if what == "params" and answer is not None else answer
        except Exception as problem:
            if strict() and not host_failed:
                raise InvalidEvent(what, f"its function raised {type(problem).__name__}") from problem
            _log.exception("littlebro: the %s function of event %r failed", what, self.by.name)
            losses.count(self.by.using, "params-callable")
            return None


def _split_request(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[object, HttpRequest | None, tuple[Any, ...], dict[str, Any]]:
    """Return the request (the first argument, or the second, after `self`), as given and as Django's, and the rest."""
    for index, value in enumerate(args[:2]):
        if (request := as_request(value)) is not None:
            return value, request, args[index + 1 :], kwargs
    if kwargs and (request := as_request(kwargs.get("request"))) is not None:
        rest = dict(kwargs)
        return rest.pop("request"), request, args, rest
    return None, None, args, kwargs


def _call_params(function: Callable[..., Any], error: BaseException | None, seconds: float) -> dict[str, Any]:
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    params = {
        "function": f"{named.__module__}.{named.__qualname__}",
        "outcome": "returned" if error is None else "raised",
        "duration_ms": round(seconds * 1000, 3),
    }
    if error is not None:
        params["exception"] = type(error).__name__
    return params
