"""The plugins' hooks as the two halves of the flow call them, and the merging of the facts they return.

Each implementation is called by itself with a copy of the event, so that one that fails or meddles harms
nobody: enrichers fail open, redactors fail closed, both counted. Where two plugins give the same key the
first wins. An alias without plugins never comes here (`in_caller`, `in_delivery` are False).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from littlebro.delivery import losses
from littlebro.events.event import Event, decode, encode
from littlebro.plugins import REMOVE
from littlebro.plugins.manager import HookImpl, hooks

__all__ = ["HookRunner"]

logger = logging.getLogger("littlebro")

AddContext = Callable[[dict[str, Any], Mapping[str, Any]], None]


class HookRunner:
    """Calls the hooks for one alias."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._hooks = hooks()
        self.in_caller = bool(self._hooks.drop_event or self._hooks.enrich_event or self._hooks.redact_event)
        self.in_delivery = bool(self._hooks.enrich_stored)

    def before_sending(self, event: Event, request: HttpRequest | None, add: AddContext) -> Event | None:
        """Drop, enrich and redact an event in the caller; None where a plugin dropped it."""
        for impl in self._hooks.drop_event:
            reason = self._call(impl, event, request=request)
            if reason and not isinstance(reason, str):
                self._failed(impl, f"returned {type(reason).__name__}, not the reason as text")
            elif reason:
                losses.count(self._alias, f"dropped:{reason}")
                return None
        event = self._enriched(event, self._hooks.enrich_event, add, request=request)
        return self.redacted(event)

    def before_storing(self, event: Event, add: AddContext) -> Event | None:
        """Enrich and redact an event on the delivering side; None where a redactor failed."""
        return self.redacted(self._enriched(event, self._hooks.enrich_stored, add))

    def _enriched(self, event: Event, impls: Sequence[HookImpl], add: AddContext, **more: Any) -> Event:
        context = dict(event.context)
        for impl in impls:
            facts = self._call(impl, event, **more)
            if not facts:
                continue
            if not isinstance(facts, Mapping):
                self._failed(impl, f"returned {type(facts).__name__}, not a mapping")
                continue
            fresh = {key: value for key, value in facts.items() if key not in context}
            if len(fresh) < len(facts):
                losses.count(self._alias, f"hook-conflict:{impl.plugin_name}", len(facts) - len(fresh))
            add(context, fresh)
        return event.with_context(context, event.user_id, event.anonymous_id)

    def redacted(self, event: Event) -> Event | None:
        """Return the event without what redactors remove; None, counted, where one of them failed."""
        done: set[tuple[Any, ...]] = set()
        for impl in self._hooks.redact_event:
            try:
                changes = impl.function(alias=self._alias, event=_copy(event)) or {}
                fresh = {tuple(path): value for path, value in changes.items() if tuple(path) not in done}
                if len(fresh) < len(changes):
                    losses.count(self._alias, f"hook-conflict:{impl.plugin_name}", len(changes) - len(fresh))
                event = _changed(event, fresh)
                done.update(fresh)
            except Exception:
                logger.exception(
                    "Redactor %s failed; event %r (%s) is dropped.", impl.plugin_name, event.name, event.id
                )
                losses.count(self._alias, f"redactor-failed:{impl.plugin_name}")
                return None
        return event

    def _call(self, impl: HookImpl, event: Event, **more: Any) -> Any:
        try:
            return impl.function(alias=self._alias, event=_copy(event), **more)
        except Exception as error:  # noqa: BLE001 - a plugin's failure is its own
            self._failed(impl, f"raised {type(error).__name__}", trace=True)
            return None

    def _failed(self, impl: HookImpl, what: str, *, trace: bool = False) -> None:
        logger.error("Plugin %s %s; its part is left out.", impl.plugin_name, what, exc_info=trace)
        losses.count(self._alias, f"hook-failed:{impl.plugin_name}")

    def stored(self, events: Sequence[Event]) -> None:
        """Tell plugins that a batch is stored."""
        for impl in self._hooks.events_stored:
            self._tell(impl, events=[_copy(event) for event in events])

    def failed(self, events: Sequence[Event], reason: str) -> None:
        """Tell plugins that a batch could not be stored, and why."""
        for impl in self._hooks.events_failed:
            self._tell(impl, events=[_copy(event) for event in events], reason=reason)

    def _tell(self, impl: HookImpl, **arguments: Any) -> None:
        try:
            impl.function(alias=self._alias, **arguments)
        except Exception as error:  # noqa: BLE001 - a plugin's failure is its own
            self._failed(impl, f"raised {type(error).__name__}", trace=True)


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
