"""The dashboard's views: pages, panels as fragments, exports, proposals for forms.

A request that the admin let in as staff's flows in; each view asks for the dashboard's own permission first. What
is wrong with a question, or with the store, is said in the place where the answer would stand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from littlebro.analysis.engine import NEEDS_DUCKDB
from littlebro.analysis.question import at_or_now
from littlebro.dashboard import known
from littlebro.dashboard.access import EXPORT, Access, access_of, needs_persons
from littlebro.dashboard.accounts import Accounts
from littlebro.dashboard.export import FORMATS
from littlebro.dashboard.fields import parse_path, path_text
from littlebro.dashboard.pages import PAGES, Page, Slot, frame
from littlebro.dashboard.panels import PANELS, Panel
from littlebro.dashboard.plugins import added
from littlebro.dashboard.questions import Question, canonical
from littlebro.dashboard.shown import as_text, local, visible
from littlebro.dashboard.times import ago
from littlebro.exceptions import InvalidQuery, LittlebroError
from littlebro.models import Annotation, SavedView
from littlebro.storage.handler import backends

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite

__all__ = ["Views", "told"]

_log: Final = logging.getLogger("littlebro.dashboard")
_FEW: Final = 100  # saved views in the menu


class Views:
    """The views of the dashboard in one admin site."""

    def __init__(self, site: AdminSite) -> None:
        self.site = site

    def url(self, name: str, *arguments: Any) -> str:
        """Return the address of a page, panel or action in this admin site."""
        return reverse(
            f"{self.site.name}:littlebro_dashboard_{name}", args=arguments, current_app=self.site.name
        )

    def page_url(self, slug: str) -> str:
        """Return the address of a page."""
        return self.url("changelist") if slug == "overview" else self.url("page", slug)

    # Pages

    def page(self, request: HttpRequest, slug: str = "overview", **more: Any) -> HttpResponse:
        """Show a page: its frame, and places that the panels are fetched into."""
        access = access_of(request)
        page = PAGES.get(slug)
        if page is None:
            raise Http404
        if page.persons and not access.persons:
            raise PermissionDenied
        moved = self._canonical(request)
        if isinstance(moved, HttpResponse):
            return moved
        question = self._admitted(request, Question(request.GET), access)
        question.problems += moved
        # Where the question makes no sense, that is said once, and not in each place again.
        asked = () if question.problems else page.slots(question)
        slots = [slot for slot in asked if access.persons or not slot.persons]
        return self.answer(
            request, page.template, page, access, question,
            slots=[self._slot(request, slot, question, access) for slot in slots], **self._welcome(question), **more,
        )  # fmt: skip

    def answer(
        self,
        request: HttpRequest,
        template: str,
        page: Page,
        access: Access,
        question: Question,
        **context: Any,
    ) -> HttpResponse:
        """Return a page of `template`, with the frame around it and what the admin shows besides."""
        request.current_app = self.site.name
        base = self.page_url(page.slug)
        return TemplateResponse(request, template, {
            **self.site.each_context(request), **frame(question, base),
            "title": page.title, "page": page, "question": question, "access": access,
            "nav": self._nav(request, page.slug, question, access), "views": self._views(access),
            "notes": self._notes(page, question),
            "links": {name: self.url(name) for name in ("suggest", "save", "annotate")},
            "people_url": self.page_url("people"), "trends_url": self.page_url("trends"),
            "builder": page.builder(question) if page.builder else {},
            "address": request.GET.urlencode(), "dashboard": self, "zone": timezone.get_current_timezone_name(),
            **context,
        })  # fmt: skip

    def _canonical(self, request: HttpRequest) -> HttpResponse | list[str]:
        """Return where to go for an address that came from a form, or what is wrong with it."""
        try:
            found = canonical(request.GET)
        except InvalidQuery as error:
            return [str(error)]
        if dict(found.lists()) == dict(request.GET.lists()):
            return []
        return HttpResponseRedirect(f"{request.path}?{found.urlencode()}" if found else request.path)

    def _admitted(self, request: HttpRequest, question: Question, access: Access) -> Question:
        if needs_persons(question) and not access.persons:
            raise PermissionDenied
        question.persons = access.persons
        question.accounts = Accounts(self.site, request) if access.persons else None
        return question

    def _nav(
        self, request: HttpRequest, current: str, question: Question, access: Access
    ) -> list[dict[str, Any]]:
        pages = [
            {
                "title": page.title, "slug": page.slug, "key": page.key, "current": page.slug == current,
                "url": self.page_url(page.slug) + question.common(),
            }
            for page in PAGES.values()
            if page.key and (access.persons or not page.persons)
        ]  # fmt: skip
        return pages + [
            {
                "title": panel.title,
                "slug": panel.slug,
                "key": "",
                "current": panel.slug == current,
                "url": self.url("added", panel.slug),
            }
            for panel in added().panels.values()
            if request.user.has_perm(panel.permission)
        ]

    def _notes(self, page: Page, question: Question) -> list[dict[str, Any]]:
        """Return the annotations that the page of trends lists, the newest first."""
        if page.slug != "trends":
            return []
        notes = Annotation.objects.filter(at__lt=question.range.end).order_by("-at")[:_FEW]
        return [
            {
                "at": local(note.at),
                "text": as_text(note.text),
                "plain": visible(note.text),
                "author": note.author,
                "delete": self.url("unannotate", note.pk),
            }
            for note in notes
        ]

    def _views(self, access: Access) -> list[dict[str, Any]]:
        """Return the saved views; one that is about persons names them, and is for those who may see them."""
        return [
            {
                "name": as_text(view.name), "plain": visible(view.name), "url": self._view_url(view),
                "author": view.author, "delete": self.url("forget", view.pk),
            }
            for view in SavedView.objects.order_by("name")[:_FEW]
            if access.persons or not _personal(view)
        ]  # fmt: skip

    def _view_url(self, view: SavedView) -> str:
        slug = view.page if view.page in PAGES else "overview"
        return f"{self.page_url(slug)}?{view.query}" if view.query else self.page_url(slug)

    def _welcome(self, question: Question) -> dict[str, Any]:
        """Return what a page says instead of panels: how to begin, or why nothing can be read."""
        try:
            if find_spec("duckdb") is None:
                return {"obstacle": NEEDS_DUCKDB}
            if not backends[question.alias].supports_scan:
                return {"obstacle": f"The backend of the alias {question.alias!r} cannot be read from."}
            return {"first": not known.has_events(question.alias)}
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the page says it
            return {"obstacle": told(error, question)[0]}

    def _slot(self, request: HttpRequest, slot: Slot, question: Question, access: Access) -> dict[str, Any]:
        address = question.url(cursor=question.text("cursor"), **slot.asks)
        place = {
            "slot": slot, "address": address, "title": slot.title,
            "url": self.url("panel", slot.panel) + address,
            "exports": self._exports(slot.panel, address, access),
        }  # fmt: skip
        if request.GET.get("every"):  # no script asks for it: draw it here
            place["html"] = self._fragment(request, PANELS[slot.panel], self._asked(question, slot), access)[
                0
            ]
        return place

    def _asked(self, question: Question, slot: Slot) -> Question:
        given = question.given.copy()
        given.pop("every", None)
        for name, value in slot.asks.items():
            given[name] = value
        asked = Question(given, now=question.now)
        asked.persons, asked.accounts = question.persons, question.accounts
        return asked

    def _exports(self, panel: str, address: str, access: Access) -> list[dict[str, str]]:
        if not access.export or not PANELS[panel].exports:
            return []
        return [
            {"label": kind.label, "url": self.url("export", panel, slug) + address}
            for slug, kind in FORMATS.items()
        ]

    # Panels

    def panel(self, request: HttpRequest, slug: str) -> HttpResponse:
        """Return one panel as a fragment of a page."""
        panel, access = self._panel(request, slug)
        question = self._admitted(request, Question(request.GET), access)
        html, status = self._fragment(request, panel, question, access)
        return HttpResponse(html, status=status, headers={"X-Littlebro": "panel"})

    def _panel(self, request: HttpRequest, slug: str, *needed: str) -> tuple[Panel, Access]:
        access = access_of(request, *needed)
        panel = PANELS.get(slug)
        if panel is None:
            raise Http404
        if panel.persons and not access.persons:
            raise PermissionDenied
        return panel, access

    def _fragment(
        self, request: HttpRequest, panel: Panel, question: Question, access: Access
    ) -> tuple[str, int]:
        try:
            if question.problems:
                raise InvalidQuery(" ".join(question.problems))
            answer = panel.ask(question)
            context = {
                **panel.show(question, answer), "access": access, "question": question,
                "as_of": answer.as_of, "age": ago(answer.as_of, at_or_now(None)), "dashboard": self,
            }  # fmt: skip
            return render_to_string(panel.template, context, request), 200
        except Exception as error:  # noqa: BLE001 - one panel that fails must not take the page along
            said, status = told(error, question)
            context = {"message": said, "again": status != 400}
            return render_to_string("littlebro/dashboard/panels/error.html", context, request), status

    # Exports and proposals

    def export(self, request: HttpRequest, slug: str, kind: str) -> HttpResponse:
        """Return what a panel shows as a file."""
        panel, access = self._panel(request, slug, EXPORT)
        form = FORMATS.get(kind)
        if form is None or not panel.exports:
            raise Http404
        question = self._admitted(request, Question(request.GET), access)
        try:
            if question.problems:
                raise InvalidQuery(" ".join(question.problems))
            content = form.write(panel.ask(question))
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the answer says it
            said, status = told(error, question)
            return HttpResponse(said, status=status, content_type="text/plain; charset=utf-8")
        name = f"littlebro-{slug}-{question.now.astimezone(question.zone):%Y-%m-%d}.{kind}"
        return HttpResponse(
            content,
            content_type=form.media,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def suggest(self, request: HttpRequest) -> HttpResponse:
        """Return, as JSON, what a form may propose: names and fields, or the values of one field."""
        access = access_of(request)
        question = self._admitted(request, Question(request.GET), access)
        try:
            field = question.text("by")
            if field:
                return JsonResponse({"values": self._values(question, field)})
            names = known.names(question.alias, question.collections)
            paths = known.fields(question.alias, question.collections)
        except Exception as error:  # noqa: BLE001 - as above
            said, status = told(error, question)
            return JsonResponse({"error": said}, status=status)
        plain = ["name", "collection", *(["user_id", "anonymous_id"] if access.persons else [])]
        return JsonResponse({"names": names, "fields": [*map(path_text, paths), *plain]})

    def _values(self, question: Question, field: str) -> Sequence[str]:
        path = parse_path(field)
        if len(path) == 1:
            return []
        found = known.values(question.alias, path, question.collections)
        return [
            value if isinstance(value, str) else str(value)
            for value in found
            if not isinstance(value, dict | list)
        ]


def _personal(view: SavedView) -> bool:
    page = PAGES.get(view.page)
    try:
        return (page is not None and page.persons) or needs_persons(Question(QueryDict(view.query)))
    except SuspiciousOperation:  # more parameters than Django reads: an address of no page
        return True


def told(error: Exception, question: Question) -> tuple[str, int]:
    """Return what is said of an error, and the answer's status; the words of a stranger's go to the log alone."""
    if isinstance(error, InvalidQuery):
        return str(error), 400
    if isinstance(error, LittlebroError | ImproperlyConfigured):
        return str(error), 503
    _log.error("The store of %r could not be asked", question.alias, exc_info=error)
    return (
        f"The store of {question.alias!r} could not be asked ({type(error).__name__}); the log says more.",
        500,
    )
