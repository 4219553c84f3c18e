"""Dead letters: the list, the page of one, and the two things that may be done with them.

Replaying and deleting take a permission each. Both go to the admin's log, by id and name of the event and
never with what is in it.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from littlebro.admin.base import ListingAdmin
from littlebro.admin.filters import LetterFilters
from littlebro.dashboard.shown import as_moment, as_text, as_tree, shorten, visible
from littlebro.delivery.deadletters import replay
from littlebro.events.event import decode
from littlebro.exceptions import InvalidEvent, NewerFormat
from littlebro.models import DeadLetter

__all__ = ["DeadLetterAdmin"]

_NAME: Final = 80  # characters of a name in the list
_REASON: Final = 200  # characters of a reason in the list


class DeadLetterAdmin(ListingAdmin):
    """The events that could not be stored as they are, and why."""

    filters = LetterFilters
    order = ("id",)
    change_list_template = "admin/littlebro/deadletter/change_list.html"
    change_form_template = "admin/littlebro/deadletter/change_form.html"
    delete_confirmation_template = "admin/littlebro/deadletter/delete_confirmation.html"
    unlisted: ClassVar = ("body",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may view, and has the permission `littlebro.delete_deadletter`."""
        return self.has_view_permission(request) and request.user.has_perm("littlebro.delete_deadletter")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Return whether the user has the permission `littlebro.replay_deadletter`."""
        return bool(request.user.has_perm("littlebro.replay_deadletter"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; by POST, replay or delete the letters that are ticked."""
        self.check_may_view(request)
        if request.method == "POST":
            return self._act(request)
        return super().changelist_view(request, {**self._may(request), **(extra_context or {})})

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask before one letter is deleted, as the list does for several."""
        self.check_may_view(request)
        if not self.has_delete_permission(request):
            raise PermissionDenied
        letter = self.get_object(request, unquote(object_id))
        if letter is None:
            return self.missing(request)
        return self._delete(request, self._writable(request).filter(pk=letter.pk))

    def _may(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "may_replay": self.has_replay_permission(request),
            "may_delete": self.has_delete_permission(request),
        }

    def _writable(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the letters where they are written: a replica may lag behind, and takes no DELETE."""
        return self.get_queryset(request).using(router.db_for_write(DeadLetter))

    def _act(self, request: HttpRequest) -> HttpResponse:
        """Do what was asked for with the letters that were ticked."""
        action = request.POST.get("action", "")
        allowed = {"replay": self.has_replay_permission, "delete": self.has_delete_permission}
        if action not in allowed or not allowed[action](request):
            raise PermissionDenied
        ticked = [text for text in request.POST.getlist("letter") if text.isascii() and text.isdigit()]
        letters = self._writable(request).filter(pk__in=[int(text) for text in ticked if len(text) < 19])
        if not letters.exists():
            self.message_user(request, "No such letter is there (any more): tick some.", messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        return self._replay(request, letters) if action == "replay" else self._delete(request, letters)

    def _replay(self, request: HttpRequest, letters: QuerySet[Any]) -> HttpResponse:
        self._log(request, letters, CHANGE, "Replayed.")
        stored, kept = replay(letters)
        said = f"{_number(stored, 'event')} stored."
        if kept:
            stay = "stays, and says why" if kept == 1 else "stay, and say why"
            said = f"{said} {_number(kept, 'letter')} {stay}."
        self.message_user(request, said, messages.WARNING if kept else messages.SUCCESS)
        alone = request.POST.get("from") == "page" and letters.all().first()
        return HttpResponseRedirect(self.url("change", alone.pk) if alone else request.get_full_path())

    def _delete(self, request: HttpRequest, letters: QuerySet[Any]) -> HttpResponse:
        if request.POST.get("confirmed") != "yes":
            lines = [self.line(letter) for letter in letters.defer("body").order_by("-id")]
            return self.answer(
                request, self.delete_confirmation_template, None,
                title="Are you sure?", lines=lines, list_url=self.url("changelist"), target=self.url("changelist"),
            )  # fmt: skip
        self._log(request, letters, DELETION, "Deleted.")
        number = letters.delete()[0]
        self.message_user(request, f"{_number(number, 'dead letter')} deleted.", messages.SUCCESS)
        return HttpResponseRedirect(self.url("changelist"))

    def _log(self, request: HttpRequest, letters: QuerySet[Any], flag: int, said: str) -> None:
        """Note in the admin's log who did it; the letters themselves may be gone afterwards."""
        LogEntry.objects.log_actions(
            user_id=request.user.pk,  # type: ignore[arg-type]  # the admin lets nobody in without one
            queryset=letters,
            action_flag=flag,
            change_message=said,
        )

    def line(self, row: DeadLetter) -> dict[str, Any]:
        """See ListingAdmin.line()."""
        return {
            "pk": str(row.pk),  # a number would be written with separators, where the site uses them
            "url": self.url("change", row.pk),
            "time": as_moment(row.created_at),
            "name": as_text(row.name or "(no name)", _NAME),
            "event_id": as_text(row.event_id),
            "alias": as_text(row.alias),
            "sink": as_text(row.sink) if row.sink else "",
            "reason": as_text(shorten(row.reason, _REASON)),
            "attempts": row.attempts,
        }

    def details(self, request: HttpRequest, row: DeadLetter) -> dict[str, Any]:
        """See ListingAdmin.details()."""
        body = bytes(row.body)
        try:
            tree = as_tree(json.loads(body.decode()))
        except (ValueError, RecursionError):
            tree = None
        return {
            **self._may(request), **self.line(row),
            "delete_url": self.url("delete", row.pk),
            "target": self.url("changelist"),
            "name": as_text(row.name or "(no name)"),
            "reason": as_text(row.reason),
            "collection": as_text(row.collection),
            "user": as_text(row.user_id) if row.user_id else None,
            "anonymous": as_text(row.anonymous_id) if row.anonymous_id else None,
            "tree": tree,
            "raw": visible(body.decode(errors="backslashreplace")),
            "hopeless": _hopeless(body),
        }  # fmt: skip


def _hopeless(body: bytes) -> bool:
    """Return whether no replay can help: the body is a note about refused input, or a damaged line."""
    try:
        decode(body)
    except NewerFormat:
        return False
    except InvalidEvent:
        return True
    return False


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
