"""Stored events and dead letters in Django's admin, to be looked at: nothing is changed here.

What is shown came from strangers: it is escaped, and isolated so that a text written right to left does not
turn the line around it. Retention and erasure have their own commands, which count what they remove.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from littlebro.models import DeadLetter, StoredEvent

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

__all__ = ["DeadLetterAdmin", "StoredEventAdmin"]


def as_text(value: str | None) -> SafeString | str:
    """Return foreign text for a page: escaped, and of a direction of its own."""
    return format_html("<bdi>{}</bdi>", value) if value else "-"


def as_json(value: Any) -> SafeString:
    """Return a JSON value for a page: indented and escaped."""
    return format_html(
        '<pre dir="ltr">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False, default=str)
    )


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows and changes none."""

    actions = None
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events come from `track_event`."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: what happened has happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: `littlebro purge` and `littlebro forget` delete."""
        return False


@admin.register(StoredEvent)
class StoredEventAdmin(ReadOnlyAdmin):
    """The events that the backend `simple` has stored, newest first."""

    list_display = ("timestamp", "shown_name", "shown_user", "shown_anonymous", "collection")
    list_display_links = ("timestamp", "shown_name")
    list_filter = ("collection",)
    search_fields = ("event_id__exact", "name__exact", "user_id__exact", "anonymous_id__exact")
    search_help_text = "A whole event id, name, user id or anonymous id."
    ordering = ("-timestamp", "-event_id", "-collection")
    fields = (
        "shown_name", "timestamp", "received_at", "shown_user", "shown_anonymous", "collection", "shown_id",
        "shown_params", "shown_context", "v",
    )  # fmt: skip
    readonly_fields = (
        "shown_name",
        "shown_user",
        "shown_anonymous",
        "shown_id",
        "shown_params",
        "shown_context",
    )

    @admin.display(description="name", ordering="name")
    def shown_name(self, event: StoredEvent) -> SafeString | str:
        """Return the name."""
        return as_text(event.name)

    @admin.display(description="user id", ordering="user_id")
    def shown_user(self, event: StoredEvent) -> SafeString | str:
        """Return the user's id."""
        return as_text(event.user_id)

    @admin.display(description="anonymous id", ordering="anonymous_id")
    def shown_anonymous(self, event: StoredEvent) -> SafeString | str:
        """Return the visitor's id."""
        return as_text(event.anonymous_id)

    @admin.display(description="event id")
    def shown_id(self, event: StoredEvent) -> SafeString | str:
        """Return the event's id."""
        return as_text(event.event_id)

    @admin.display(description="params")
    def shown_params(self, event: StoredEvent) -> SafeString:
        """Return what the caller gave."""
        return as_json(event.params)

    @admin.display(description="context")
    def shown_context(self, event: StoredEvent) -> SafeString:
        """Return what was known around it."""
        return as_json(event.context)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """The events that could not be stored as they are, and why."""

    list_display = ("created_at", "shown_name", "alias", "sink", "shown_reason", "attempts")
    list_display_links = ("created_at", "shown_name")
    list_filter = ("alias", "sink")
    search_fields = ("event_id__exact", "name__exact", "user_id__exact", "anonymous_id__exact")
    search_help_text = "A whole event id, name, user id or anonymous id."
    ordering = ("-created_at", "-id")
    fields = (
        "shown_name", "alias", "sink", "collection", "shown_id", "created_at", "attempts", "shown_reason",
        "shown_body",
    )  # fmt: skip
    readonly_fields = ("shown_name", "shown_id", "shown_reason", "shown_body")

    @admin.display(description="name", ordering="name")
    def shown_name(self, letter: DeadLetter) -> SafeString | str:
        """Return the name of the event."""
        return as_text(letter.name)

    @admin.display(description="event id")
    def shown_id(self, letter: DeadLetter) -> SafeString | str:
        """Return the id of the event."""
        return as_text(letter.event_id)

    @admin.display(description="reason")
    def shown_reason(self, letter: DeadLetter) -> SafeString | str:
        """Return why it was refused."""
        return as_text(letter.reason)

    @admin.display(description="event")
    def shown_body(self, letter: DeadLetter) -> SafeString:
        """Return the event as it was encoded; what is not JSON is shown as the bytes it is."""
        body = bytes(letter.body)
        try:
            return as_json(msgspec.json.decode(body))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return format_html('<pre dir="ltr">{}</pre>', body.decode(errors="backslashreplace"))
