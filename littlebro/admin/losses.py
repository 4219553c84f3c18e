"""Counts of losses: what was dropped or refused, by day, alias and reason."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from littlebro.admin.base import ReadOnlyAdmin
from littlebro.dashboard.shown import as_text
from littlebro.models import LossCount

__all__ = ["LossCountAdmin"]


class LossCountAdmin(ReadOnlyAdmin):
    """A small table, a few rows a day: Django's own list serves it well."""

    list_display = ("day", "shown_alias", "shown_reason", "shown_number")
    list_display_links = None
    list_filter = ("alias", "day")
    ordering = ("-day", "alias", "reason", "source")
    show_full_result_count = False
    fields = ("day", "shown_alias", "shown_reason", "shown_number", "source")
    readonly_fields = ("shown_alias", "shown_reason", "shown_number")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, under a title that does not ask to select anything."""
        return super().changelist_view(request, {"title": "Counts of losses", **(extra_context or {})})

    @admin.display(description="alias", ordering="alias")
    def shown_alias(self, count: LossCount) -> SafeString:
        """Return the alias."""
        return as_text(count.alias)

    @admin.display(description="reason", ordering="reason")
    def shown_reason(self, count: LossCount) -> SafeString:
        """Return why they were lost."""
        return as_text(count.reason)

    @admin.display(description="events", ordering="n")
    def shown_number(self, count: LossCount) -> str:
        """Return how many were lost."""
        return f"{count.n:,}"
