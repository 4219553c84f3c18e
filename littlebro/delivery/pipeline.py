"""From a call's arguments to an event and its line: drop, enrich, redact, validate, encode.

Runs in the caller's thread, once an event, for every tracker alike. In: what the caller passed, the ambient
context, the request. Out: the event and its encoded line, or nothing where the event was dropped (counted).
Raises `InvalidEvent`. Touches no database, no broker and no file.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.http import HttpRequest

from littlebro import privacy
from littlebro.conf import AliasConfig, strict
from littlebro.delivery import losses
from littlebro.delivery.hooks import HookRunner
from littlebro.events.context import EMPTY, Ambient, current
from littlebro.events.event import Event, encode, new_id
from littlebro.events.validator import Validator
from littlebro.exceptions import InvalidEvent

__all__ = ["Built", "Pipeline"]

Built = tuple[Event, bytes]

_BACKSLASH: Final = 92
_NUL: Final = b"\\u0000"


class Pipeline:
    """The steps between a call and its tracker, for one alias."""

    def __init__(self, config: AliasConfig) -> None:
        self._alias = config.alias
        self._collection = config.collection
        self._validator = Validator()
        self._max_bytes = self._validator.max_bytes
        self.hooks = HookRunner(config.alias, self.add_context, self._fit)

    def run(
        self,
        name: str,
        params: Any = None,
        collection: str | None = None,
        user: Any = None,
        anonymous_id: str | None = None,
        request: HttpRequest | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        received_at: datetime | None = None,
    ) -> Built | None:
        """Return the event and its line, or None where it was dropped.

        Raises `InvalidEvent` with the path of what cannot be kept.
        """
        validator = self._validator
        now = datetime.now(UTC) if received_at is None else validator.timestamp(received_at, "received_at")
        event = Event(
            id=new_id() if event_id is None else validator.identifier(event_id, "id"),
            name=validator.name(name),
            timestamp=now if timestamp is None else validator.timestamp(timestamp),
            received_at=now,
            params=validator.snapshot(params),
            context={},
            user_id=None if user is None else validator.person(user),
            anonymous_id=None if anonymous_id is None else validator.identifier(anonymous_id, "anonymous_id"),
            collection=self._collection if collection is None else validator.collection(collection),
        )
        ambient = current()
        if ambient is not EMPTY or request is not None or context is not None:
            request = ambient.request if request is None else _request_of(request)
            surrounded = self._surround(event, ambient, request, context)
            if surrounded is None:
                return None
            event = surrounded
        if self.hooks.in_caller:
            return self._past_plugins(event, request)
        return event, self.line(event)

    def _past_plugins(self, event: Event, request: HttpRequest | None) -> Built | None:
        """Return the event as plugins leave it; without what enrichers added, where that makes it unfit."""
        self.line(event)  # or plugins would be blamed for what only the bytes show
        seen = self.hooks.before_sending(event, request)
        if seen is None:
            return None
        try:
            seen = self.checked(seen)
            return seen, self.line(seen)
        except InvalidEvent:
            if strict():
                raise
        seen = self.hooks.redacted(event)
        if seen is None:
            return None
        seen = self.checked(seen)
        line = self.line(seen)
        losses.count(self._alias, "invalid-context")
        return seen, line

    def checked(self, event: Event) -> Event:
        """Return the event with params and context walked again, after plugins changed them."""
        snapshot = self._validator.snapshot
        return event.with_params(snapshot(event.params), snapshot(event.context, "context"))

    def line(self, event: Event) -> bytes:
        """Return the encoded event; raises `InvalidEvent` for what only the bytes show: NUL, size."""
        try:
            line = encode(event)
        except (UnicodeError, TypeError):
            self._find_unfit(event)
            raise
        if _BACKSLASH in line and _NUL in line:  # a single byte is found ten times faster
            self._find_unfit(event)
        if len(line) > self._max_bytes:
            larger = "context" if 2 * len(encode(event.context)) > len(line) else "params"
            raise InvalidEvent(larger, f"the event has {len(line)} bytes; at most {self._max_bytes} are kept")
        return line

    def _find_unfit(self, event: Event) -> None:
        self._validator.find_unfit(event.params, "params")
        self._validator.find_unfit(event.context, "context")

    def _surround(
        self, event: Event, ambient: Ambient, request: HttpRequest | None, given: Mapping[str, Any] | None
    ) -> Event | None:
        """Return the event with what the request and the bound values add; None where it is to be dropped."""
        if ambient.delivering:
            losses.count(self._alias, "inside-delivery")
            return None
        context: dict[str, Any] = {}
        user_id, anonymous_id = event.user_id or ambient.user_id, event.anonymous_id or ambient.anonymous_id
        if request is not None:
            if privacy.opted_out(request):
                losses.count(self._alias, "opted-out")
                return None
            facts = privacy.request_facts(request)
            if self._validator.are_harmless(facts):
                context.update(facts)  # text that is clean already, under keys that are fit and not redacted
            else:
                self.add_context(context, facts)
            if user_id is None and (loaded := privacy.loaded_user_id(request)) is not None:
                user_id = self._optional(loaded)
            if anonymous_id is None and (known := privacy.anonymous_id(request)) is not None:
                anonymous_id = self._optional(known)
        for more in (ambient.values, given):
            if more:
                self.add_context(context, more)
        return event.with_context(context, user_id, anonymous_id)

    def _optional(self, value: str) -> str | None:
        """Return an id that the request suggested, or None where it is not fit to be one."""
        try:
            return self._validator.identifier(value, "id")
        except InvalidEvent:
            losses.count(self._alias, "invalid-context")
            return None

    def add_context(self, context: dict[str, Any], more: Mapping[str, Any]) -> None:
        """Add checked values to `context`; one that is unfit is left out and counted (strict: raises)."""
        try:
            context.update(self._fit(more))
        except InvalidEvent:
            if strict():
                raise
        else:
            return
        for key, value in more.items():
            try:
                context.update(self._fit({key: value}))
            except InvalidEvent:
                losses.count(self._alias, "invalid-context")

    def _fit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        snapshot = self._validator.snapshot(dict(values), "context")
        self._validator.find_unfit(snapshot, "context")
        return snapshot


def _request_of(given: object) -> HttpRequest:
    """Return Django's request for the one that the call was given."""
    request = privacy.as_request(given)
    if request is None:
        raise InvalidEvent("request", f"must be a request of Django's, not {type(given).__name__}")
    return request
