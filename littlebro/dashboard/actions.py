"""What is done in the dashboard, by POST: views and annotations kept, persons erased; and the pages of plugins."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.http import urlencode
from django.utils.safestring import mark_safe

from littlebro.analysis.erasure import forget
from littlebro.analysis.question import Person
from littlebro.dashboard import keeping
from littlebro.dashboard.access import ERASE, MANAGE, PERSONS, access_of
from littlebro.dashboard.accounts import Accounts
from littlebro.dashboard.pages import PAGES, Page
from littlebro.dashboard.plugins import added
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_text
from littlebro.dashboard.views import Views, told
from littlebro.exceptions import InvalidQuery

__all__ = ["Dashboard"]

_ADDED: Final = "littlebro/dashboard/added.html"


class Dashboard(Views):
    """All views of the dashboard in one admin site."""

    def save(self, request: HttpRequest) -> HttpResponse:
        """Keep a page under a name."""
        access_of(request, MANAGE)
        return keeping.save_view(request, self._back(request))

    def forget(self, request: HttpRequest, key: int) -> HttpResponse:
        """Delete a saved view."""
        access_of(request, MANAGE)
        return keeping.forget_view(request, key, self._back(request))

    def annotate(self, request: HttpRequest) -> HttpResponse:
        """Keep an annotation."""
        access_of(request, MANAGE)
        return keeping.annotate(request, self._back(request))

    def unannotate(self, request: HttpRequest, key: int) -> HttpResponse:
        """Delete an annotation."""
        access_of(request, MANAGE)
        return keeping.unannotate(request, key, self._back(request))

    def _back(self, request: HttpRequest) -> str:
        """Return the page that the form stood on; never an address of somebody else's choice."""
        slug, query = request.POST.get("page", ""), request.POST.get("query", "")
        address = self.page_url(slug if slug in PAGES else "overview")
        return f"{address}?{query}" if query else address

    def erase(self, request: HttpRequest) -> HttpResponse:
        """Ask before a person is erased from the alias; by POST, erase."""
        access = access_of(request, PERSONS, ERASE)
        given = request.POST if request.method == "POST" else request.GET
        question = Question(request.GET)
        try:
            if question.problems:  # an alias that is not there must not become another one
                raise InvalidQuery(" ".join(question.problems))
            person = Person.parse(given.get("who", ""))
        except InvalidQuery as error:
            raise Http404 from error
        if request.method == "POST":
            return self._erase(request, question, person)
        page = Page("person", "Erase a person?", lambda _: [])
        accounts = Accounts(self.site, request).look_up([person.user_id] if person.user_id else [])
        return self.answer(
            request, "littlebro/dashboard/erase.html", page, access, question, person=person,
            names=[as_text(account.name) for account in accounts.values()],
            shown=as_text(person.user_id or person.anonymous_id), alias=question.alias,
        )  # fmt: skip

    def _erase(self, request: HttpRequest, question: Question, person: Person) -> HttpResponse:
        if request.POST.get("confirmed") != "yes":
            raise PermissionDenied
        try:
            erased = forget(question.alias, person.user_id, person.anonymous_id)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the page says it
            messages.error(
                request, f"Not all is erased: {told(error, question)[0]} Erase again when it is mended."
            )
            return HttpResponseRedirect(
                f"{self.url('erase')}?{urlencode({'alias': question.alias, 'who': person.key})}"
            )
        kept = [place for place, number in erased.items() if number < 0]
        said = ", ".join(f"{place}: {number:,}" for place, number in erased.items() if number >= 0)
        messages.success(request, f"Erased. {said}.")
        if kept:
            messages.warning(request, f"These cannot delete, and may hold events still: {', '.join(kept)}.")
        return HttpResponseRedirect(self.page_url("people"))

    def added(self, request: HttpRequest, slug: str) -> HttpResponse:
        """Show a page that a plugin adds."""
        access = access_of(request)
        panel = added().panels.get(slug)
        if panel is None:
            raise Http404
        if not request.user.has_perm(panel.permission):
            raise PermissionDenied
        page = Page(panel.slug, panel.title, lambda _: [])
        question = Question(request.GET.__class__(mutable=True))
        request.current_app = self.site.name
        # By itself: the plugin's names are its own, and the page has names of other meanings.
        html = render_to_string(panel.template, dict(panel.get_context(request)), request)
        shown = mark_safe(html)  # noqa: S308 - a template's, escaped
        return self.answer(request, _ADDED, page, access, question, html=shown, bare=True)
