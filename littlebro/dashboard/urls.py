"""The dashboard's addresses below its place in the admin, each admitted by the admin site."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin import AdminSite
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST, require_safe

from littlebro.dashboard.actions import Dashboard
from littlebro.privacy import mark_no_visit

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = ["urls"]

_NAME: Final = "littlebro_dashboard_"


def urls(site: AdminSite) -> list[URLPattern]:
    """Return the addresses for one admin site; what they need besides being staff, the views ask for."""
    views = Dashboard(site)

    def read(view: Callable[..., HttpResponse]) -> Any:
        return apart(require_safe(view))

    def fetched(view: Callable[..., HttpResponse]) -> Any:
        """Wrap what a page asks for by itself, every two seconds maybe: looking at events must not make more."""
        admitted = read(view)

        @wraps(admitted)
        def answer(request: HttpRequest, **arguments: Any) -> HttpResponse:
            mark_no_visit(request)
            response: HttpResponse = admitted(request, **arguments)
            return response

        return answer

    def write(view: Callable[..., HttpResponse]) -> Any:
        return site.admin_view(require_POST(view))

    def apart(view: Callable[..., HttpResponse]) -> Any:
        """Wrap what is done in no transaction, of ATOMIC_REQUESTS.

        A question that a store refuses would take what the page asks afterwards along, and who delivers meanwhile must
        know at once that a person is forgotten.
        """
        admitted = site.admin_view(view)
        for alias in connections:
            admitted = non_atomic_requests(using=alias)(admitted)
        return admitted

    return [
        path("", read(views.page), name=f"{_NAME}changelist"),
        path("panel/<slug:slug>/", fetched(views.panel), name=f"{_NAME}panel"),
        path("export/<slug:slug>/<slug:kind>/", read(views.export), name=f"{_NAME}export"),
        path("suggest/", fetched(views.suggest), name=f"{_NAME}suggest"),
        path("erase/", apart(views.erase), name=f"{_NAME}erase"),
        path("save/", write(views.save), name=f"{_NAME}save"),
        path("forget/<int:key>/", write(views.forget), name=f"{_NAME}forget"),
        path("annotate/", write(views.annotate), name=f"{_NAME}annotate"),
        path("unannotate/<int:key>/", write(views.unannotate), name=f"{_NAME}unannotate"),
        path("more/<slug:slug>/", site.admin_view(require_safe(views.added)), name=f"{_NAME}added"),
        path("<slug:slug>/", read(views.page), name=f"{_NAME}page"),
    ]
