"""Stored events: the list and the page of one."""

from __future__ import annotations

from datetime import UTC
from typing import Any, ClassVar

from django.http import HttpRequest

from littlebro.admin.base import ListingAdmin
from littlebro.admin.filters import EventFilters, Filters
from littlebro.dashboard.shown import as_moment, as_text, as_tree, pretty, summary
from littlebro.models import StoredEvent

__all__ = ["StoredEventAdmin"]

_NAME = 80  # characters of a name in the list
_ID = 40  # characters of an id in the list: a UUID is shown whole
_ALMOST_AT_ONCE = 0.0005  # seconds; below it the page would say 0.000


class StoredEventAdmin(ListingAdmin):
    """The events that the backend `simple` has stored, newest first."""

    filters = EventFilters
    order = ("timestamp", "event_id", "collection")
    change_list_template = "admin/littlebro/storedevent/change_list.html"
    change_form_template = "admin/littlebro/storedevent/change_form.html"
    unlisted: ClassVar = ("received_at", "v")

    def line(self, row: StoredEvent) -> dict[str, Any]:
        """See ListingAdmin.line()."""
        return {
            "url": self.url("change", row.pk),
            "time": as_moment(row.timestamp),
            "name": as_text(row.name, _NAME),
            "summary": summary(row.params, row.context),
            "people": self._people(row, _ID),
            "collection": as_text(row.collection),
        }

    def details(self, request: HttpRequest, row: StoredEvent) -> dict[str, Any]:
        """See ListingAdmin.details()."""
        whole = {
            "id": row.event_id, "name": row.name, "timestamp": row.timestamp.isoformat(),
            "received_at": row.received_at.isoformat(), "params": row.params, "context": row.context,
            "user_id": row.user_id, "anonymous_id": row.anonymous_id, "collection": row.collection, "v": row.v,
        }  # fmt: skip
        late = (row.received_at - row.timestamp).total_seconds()
        return {
            "name": as_text(row.name),
            "event_id": as_text(row.event_id),
            "collection": as_text(row.collection),
            "time": as_moment(row.timestamp),
            "utc": row.timestamp.astimezone(UTC).isoformat(sep=" ", timespec="microseconds"),
            "received": as_moment(row.received_at),
            "late": f"{late:,.3f} s later" if late > _ALMOST_AT_ONCE else "",
            "people": self._people(row),
            "same_name": self.url("changelist", name=row.name),
            "same_collection": self.url("changelist", collection=row.collection),
            "params": as_tree(row.params),
            "context": as_tree(row.context),
            "raw": pretty(whole),
        }

    def _people(self, row: StoredEvent, length: int | None = None) -> list[dict[str, Any]]:
        """Return who it was, each id with the address of all that happened under it."""
        ids = (("user", "User", row.user_id), ("anonymous", "Anonymous", row.anonymous_id))
        return [
            {
                "kind": kind,
                "label": label,
                "text": as_text(value, length),
                "url": self.url("changelist", **{kind: value}),
            }
            for kind, label, value in ids
            if value
        ]

    def chips(self, form: Filters) -> list[dict[str, str]]:
        """See ListingAdmin.chips(): a person is asked for by following a link."""
        labels = {"user": "User", "anonymous": "Anonymous"}
        kept = {name: str(form.data[name]) for name in form.fields if form.data.get(name)}
        return [
            {
                "label": labels[name],
                "text": as_text(kept[name], _ID),
                "url": self.url("changelist", **{other: kept[other] for other in kept if other != name}),
            }
            for name in labels
            if name in kept
        ]
