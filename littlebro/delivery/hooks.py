"""The plugins' hooks as the two halves of the flow call them, and the merging of the facts they return.

Each implementation is called by itself with a copy of the event, so that one that fails or meddles harms
nobody: enrichers fail open, redactors fail closed, both counted. Where two plugins give the same key the
first wins. An alias without plugins never comes here (`in_caller`, `in_delivery` are False).
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.http import HttpRequest

from littlebro.delivery import losses
from littlebro.events.event import Event, decode, encode
from littlebro.plugins import REMOVE
from littlebro.plugins.manager import HookImpl, hooks

__all__ = ["HookRunner"]

logger = logging.getLogger("littlebro")

_Read = TypeVar("_Read")


class HookRunner:
    """Calls the hooks for one alias.

    `add` adds facts to a context, checked; `check` raises for values that are no JSON.
    """

    def __init__(
        self,
        alias: str,
        add: Callable[[dict[str, Any], Mapping[str, Any]], None],
        check: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._alias = alias
        self._add = add
        self._check = check
        self._hooks = hooks()
        self.in_caller = bool(self._hooks.drop_event or self._hooks.enrich_event or self._hooks.redact_event)
        self.in_delivery = bool(self._hooks.enrich_stored)

    def before_sending(self, event: Event, request: HttpRequest | None) -> Event | None:
        """Drop, enrich and redact an event in the caller; None where a plugin dropped it."""
        for impl in self._hooks.drop_event:
            reason = self._call(impl, _reason, event=_copy(event), request=request)
            if reason:
                losses.count(self._alias, f"dropped:{reason}")
                return None
        return self.redacted(self._enriched(event, self._hooks.enrich_event, request=request))

    def before_storing(self, event: Event) -> Event | None:
        """Enrich and redact an event on the delivering side; None where a redactor failed."""
        return self.redacted(self._enriched(event, self._hooks.enrich_stored))

    def _enriched(self, event: Event, impls: Sequence[HookImpl], **more: Any) -> Event:
        context = dict(event.context)
        for impl in impls:
            facts = self._call(impl, _facts, event=_copy(event), **more) or {}
            fresh = {key: value for key, value in facts.items() if key not in context}
            if len(fresh) < len(facts):
                losses.count(self._alias, f"hook-conflict:{impl.plugin_name}", len(facts) - len(fresh))
            self._add(context, fresh)
        return event.with_context(context, event.user_id, event.anonymous_id)

    def redacted(self, event: Event) -> Event | None:
        """Return the event without what redactors remove; None, counted, where one of them failed."""
        done: set[tuple[Any, ...]] = set()
        for impl in self._hooks.redact_event:
            try:
                changes = _changes(impl.function(alias=self._alias, event=_copy(event)))
                fresh = {path: value for path, value in changes.items() if path not in done}
                if len(fresh) < len(changes):
                    losses.count(self._alias, f"hook-conflict:{impl.plugin_name}", len(changes) - len(fresh))
                for value in fresh.values():
                    if value is not REMOVE:
                        self._check({"value": value})
                event = _changed(event, fresh)
                done.update(fresh)
            except (Exception, SystemExit) as error:
                if _stops_the_process(error):
                    raise
                logger.exception(
                    "Redactor %s failed; event %r (%s) is dropped.", impl.plugin_name, event.name, event.id
                )
                losses.count(self._alias, f"redactor-failed:{impl.plugin_name}")
                return None
        return event

    def _call(self, impl: HookImpl, read: Callable[[Any], _Read], **arguments: Any) -> _Read | None:
        """Return what `read` makes of a plugin's answer; None, counted, where either fails."""
        try:
            return read(impl.function(alias=self._alias, **arguments))
        except (Exception, SystemExit) as error:
            if _stops_the_process(error):
                raise
            logger.exception("Plugin %s failed; its part is left out.", impl.plugin_name)
            losses.count(self._alias, f"hook-failed:{impl.plugin_name}")
            return None

    def stored(self, events: Sequence[Event]) -> None:
        """Tell plugins that a batch is stored."""
        for impl in self._hooks.events_stored:
            self._call(impl, _nothing, events=[_copy(event) for event in events])

    def failed(self, events: Sequence[Event], reason: str) -> None:
        """Tell plugins that a batch could not be stored, and why."""
        for impl in self._hooks.events_failed:
            self._call(impl, _nothing, events=[_copy(event) for event in events], reason=reason)


def _stops_the_process(error: BaseException) -> bool:
    """Return whether an exception may not be the plugin's own: signal handlers call `sys.exit` in the main thread."""
    return isinstance(error, SystemExit) and threading.current_thread() is threading.main_thread()


def _reason(answer: Any) -> str | None:
    if answer is None or isinstance(answer, str):
        return answer
    message = f"it returned {type(answer).__name__}, not the reason as text"
    raise TypeError(message)


def _facts(answer: Any) -> dict[Any, Any]:
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        message = f"it returned {type(answer).__name__}, not a mapping"
        raise TypeError(message)
    return dict(answer)


def _changes(answer: Any) -> dict[tuple[Any, ...], Any]:
    return {tuple(path): value for path, value in _facts(answer).items()}


def _nothing(_answer: Any) -> None:
    """Read nothing: a result is ignored."""


def _copy(event: Event) -> Event:
    """Return a copy that shares no dict: a frozen struct still holds mutable ones."""
    return decode(encode(event))


def _changed(event: Event, changes: Mapping[tuple[Any, ...], Any]) -> Event:
    """Return `event` with values replaced or removed by path, each starting with ``params`` or ``context``."""
    if not changes:
        return event
    copy = _copy(event)
    roots = {"params": copy.params, "context": copy.context}
    for path, value in changes.items():
        if len(path) < 2 or path[0] not in roots:
            raise ValueError(f"a redactor's path {path!r} leads nowhere")
        found: Any = roots
        for part in path[:-1]:
            found = found[part] if _holds(found, part) else None
        last = path[-1]
        if _holds(found, last):
            if value is not REMOVE:
                found[last] = value
            elif isinstance(found, list):
                found[last] = None
            else:
                del found[last]
    return copy


def _holds(value: Any, part: Any) -> bool:
    """Return whether `part` is a key, or a place, that is there; what is not there needs no redaction."""
    if isinstance(value, list):
        return type(part) is int and 0 <= part < len(value)
    return isinstance(value, dict) and part in value
