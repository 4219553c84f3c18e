"""What the pages of events and of dead letters share: who may look, the list, the page of one row.

The pages are Django's in look and address (`…_changelist`, `…_change`) and our own in how they read: see
`littlebro.admin.paging`. They read the database that the routers name for the model. The templates fill the
blocks `content`, `extrastyle` and `extrahead` alone, since other themes drop the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from littlebro.admin.filters import Filters
from littlebro.admin.paging import Count, Page, count_all, read_page

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

__all__ = ["ListingAdmin", "ReadOnlyAdmin"]


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows and changes none."""

    actions = None
    list_per_page = 50

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may view; Django would let in those who may change as well, which nobody may."""
        codename = get_permission_codename("view", self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events come from `track_event`."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: what happened has happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: `littlebro purge` and `littlebro forget` delete, and count what they delete."""
        return False


class ListingAdmin(ReadOnlyAdmin):
    """A list with filters, paged by key, and a page for each row."""

    filters: ClassVar[type[Filters]]
    order: ClassVar[tuple[str, ...]]  # descending; no two rows may share all of it
    unlisted: ClassVar[tuple[str, ...]] = ()  # columns that the list does not read

    def url(self, page: str, *arguments: Any, **query: str) -> str:
        """Return the address of a page of this model in this admin site."""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}"
        address = reverse(name, args=arguments, current_app=self.admin_site.name)
        return f"{address}?{urlencode(query)}" if query else address

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, narrowed to what the URL asks for."""
        self.check_may_view(request)
        rows = self.get_queryset(request)
        form = self.filters(request.GET.dict(), rows)
        page, total = Page([], None, None), Count(0)
        problems = [f"There is no filter {name!r}." for name in form.unknown]
        if form.is_valid() and not problems:
            page, total, problems = self._read(request, rows, form)
        return self.answer(
            request, self.change_list_template, extra_context,
            title=str(self.opts.verbose_name_plural).capitalize(), form=form, total=total, problems=problems,
            readable=form.is_valid() and not form.unknown,
            lines=[self.line(row) for row in page.rows], chips=self.chips(form) if form.is_valid() else [],
            newest=_moved(request) if "before" in request.GET or "after" in request.GET else None,
            newer=_moved(request, after=page.newer), older=_moved(request, before=page.older),
            reset=self.url("changelist"), zone=timezone.get_current_timezone_name(),
        )  # fmt: skip

    def _read(
        self, request: HttpRequest, rows: QuerySet[Any], form: Filters
    ) -> tuple[Page, Count, list[str]]:
        size, problems = self.list_per_page, []
        before, after = request.GET.get("before"), request.GET.get("after")
        total = form.total() if form.by_count else None
        few = total is not None and total.exact
        sources = [source.defer(*self.unlisted) for source in form.sources(few=few)]
        try:
            page = read_page(sources, self.order, size, before=before, after=after)
        except ValueError:
            problems = ["The address of this page is damaged; these are the newest."]
            page = read_page(sources, self.order, size)
        if total is None:
            total = self._total(rows, form, page)
        return page, total, problems

    def _total(self, rows: QuerySet[Any], form: Filters, page: Page) -> Count:
        """Return how many rows are asked for; a page beside which there is none has them all."""
        if page.newer is None and page.older is None:
            return Count(len(page.rows))
        return form.total() if form.narrowed else count_all(rows)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one row; nothing is taken by POST."""
        self.check_may_view(request)
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self.missing(request)
        return self.answer(
            request, self.change_form_template, extra_context,
            title=str(self.opts.verbose_name).capitalize(), list_url=self.url("changelist"),
            row=self.details(request, row), zone=timezone.get_current_timezone_name(),
        )  # fmt: skip

    def check_may_view(self, request: HttpRequest) -> None:
        """Raise `PermissionDenied` for staff who may not look at this model."""
        if not self.has_view_permission(request):
            raise PermissionDenied

    def missing(self, request: HttpRequest) -> HttpResponse:
        """Say that a row is not there, on the list; it may have gone since the page with the link was made."""
        self.message_user(
            request, f"This {self.opts.verbose_name} is not there (any more).", messages.WARNING
        )
        return HttpResponseRedirect(self.url("changelist"))

    def answer(
        self, request: HttpRequest, template: Any, extra: dict[str, Any] | None, **context: Any
    ) -> HttpResponse:
        """Return a page of `template`, with what each page of the admin site shows besides."""
        request.current_app = self.admin_site.name
        shared = self.admin_site.each_context(request)
        return TemplateResponse(request, template, {**shared, "opts": self.opts, **context, **(extra or {})})

    def line(self, row: Any) -> dict[str, Any]:
        """Return what the list's template shows of a row."""
        raise NotImplementedError

    def details(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the page's template shows of a row."""
        raise NotImplementedError

    def chips(self, form: Filters) -> list[dict[str, str]]:
        """Return the filters that have no field of their own: label, value, the address without it."""
        return []


def _moved(request: HttpRequest, **cursor: str | None) -> str | None:
    """Return the query string of this list at another place, None where there is nothing."""
    if None in cursor.values():
        return None
    given = request.GET.copy()
    for name in ("before", "after"):
        given.pop(name, None)
    for name in [name for name, value in given.items() if not value]:
        del given[name]
    given.update({name: value for name, value in cursor.items() if value})
    return f"?{given.urlencode()}"
