"""One report on a page of one's own: what the template tag draws, and a view that is a page by itself.

In: the name of a report and what it is asked, in the words of the dashboard's addresses. Out: markup without links
into the dashboard. Who may see it is for the page around to decide; the view asks for a permission.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, ClassVar, Final

from django.contrib.auth.mixins import PermissionRequiredMixin
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import render_to_string
from django.utils.cache import patch_cache_control
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.generic import TemplateView

from littlebro.analysis.question import Path
from littlebro.conf import nearest
from littlebro.dashboard.access import VIEW, Access
from littlebro.dashboard.panels import PANELS, Panel
from littlebro.dashboard.questions import Question, canonical
from littlebro.events.query import Condition
from littlebro.exceptions import InvalidQuery, LittlebroError

__all__ = ["REPORTS", "ChartView", "draw_report"]

_log: Final = logging.getLogger("littlebro.dashboard")

REPORTS: Final[Mapping[str, Panel]] = {
    "trend": PANELS["chart"],
    "breakdown": PANELS["list"],
    "funnel": PANELS["funnel"],
    "retention": PANELS["retention"],
    "paths": PANELS["paths"],
}


class _Linkless(Question):
    """A question on a page that is not ours: there is nowhere to go from it."""

    def url(self, /, **changes: str | Iterable[str] | None) -> str:
        """Return nothing."""
        return ""

    def common(self, /, **changes: str | Iterable[str] | None) -> str:
        """Return nothing."""
        return ""

    def narrowed(self, condition: Condition) -> str:
        """Return nothing."""
        return ""

    def to(self, path: Path, value: Any) -> str | None:
        """Return nothing."""
        return None


def draw_report(
    report: str, asked: Mapping[str, Any], *, title: str = "", now: datetime | None = None
) -> SafeString:
    """Return a report as markup: ``draw_report("trend", {"range": "30d", "name": "order-paid"})``.

    `asked` holds parameters as the dashboard's addresses have them; a list is a parameter that is repeated.
    Raises `InvalidQuery` for what makes no sense; a store that fails is said in the place of the report.
    """
    panel = REPORTS.get(report)
    if panel is None:
        raise InvalidQuery(f"There is no report {report!r}.{nearest(report, list(REPORTS))}")
    question = _Linkless(canonical(_given(asked)), now=now)
    if question.problems:
        raise InvalidQuery(" ".join(question.problems))
    access = Access(persons=False, export=False, manage=False, erase=False)
    context: dict[str, Any] = {"title": title, "access": access, "question": question, "report": report}
    try:
        with _savepoints():
            answer = panel.ask(question)
        shown = {**context, **panel.show(question, answer), "as_of": answer.as_of}
        context["html"] = mark_safe(render_to_string(panel.template, shown))  # noqa: S308 - a template's, escaped
    except InvalidQuery:
        raise
    except (LittlebroError, ImproperlyConfigured) as error:
        context["error"] = str(error)
    except Exception:  # noqa: BLE001 - the page around is somebody's shop, which must not go down with our store
        _log.exception("The report %s could not be drawn", report)
        context["error"] = "The store could not be asked."
    return mark_safe(render_to_string("littlebro/dashboard/embed.html", context))  # noqa: S308 - as above


@contextmanager
def _savepoints() -> Iterator[None]:
    """Keep a store's failure out of the transactions that are open: the page around goes on in them."""
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                stack.enter_context(transaction.atomic(using=connection.alias))
        yield


def _given(asked: Mapping[str, Any]) -> QueryDict:
    given = QueryDict(mutable=True)
    for name, value in asked.items():
        given.setlist(
            name, [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        )
    return given


@method_decorator(xframe_options_sameorigin, name="dispatch")
class ChartView(PermissionRequiredMixin, TemplateView):
    """A page with one report: ``ChartView.as_view(report="trend", asked={"name": "order-paid"}, title="Orders")``.

    `permission_required` is ``littlebro.view_dashboard`` unless it is told otherwise; None lets everyone look. Pages
    of the same site may show it in a frame.
    """

    template_name = "littlebro/dashboard/alone.html"
    permission_required: Any = VIEW
    raise_exception: bool = True
    report: str = "trend"
    asked: ClassVar[Mapping[str, Any]] = {}
    title: str = ""

    def has_permission(self) -> bool:
        """Return whether the visitor may look."""
        return self.permission_required is None or super().has_permission()

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the report."""
        html = draw_report(self.report, self.asked, title=self.title)
        response = self.render_to_response({"html": html, "title": self.title or self.report.capitalize()})
        if self.permission_required is not None:
            patch_cache_control(response, private=True)
        return response
