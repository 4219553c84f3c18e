"""What the dashboard's own templates need of the code: changes, moments, addresses, hidden fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.template import Context
from django.utils.dateformat import format as written
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from littlebro.analysis.question import at_or_now
from littlebro.dashboard.numbers import Change
from littlebro.dashboard.pages import kept
from littlebro.dashboard.shown import local

register = template.Library()

_ARROWS = {"up": "▲", "down": "▼", "same": ""}
_WORDS = {"up": "more by", "down": "less by", "same": "unchanged"}


@register.simple_tag(name="change")
def show_change(given: Change | None) -> SafeString:
    """Return how a figure moved, told by more than its colour."""
    if given is None:
        return mark_safe("")
    if given.text == "new":
        return mark_safe('<span class="lb-change lb-up">new</span>')
    return format_html(
        '<span class="lb-change lb-{}" title="before: {}"><span aria-hidden="true">{}</span>'
        '<span class="lb-unseen">{} </span>{}</span>',
        given.tone, given.before, _ARROWS[given.tone], _WORDS[given.tone], given.text,
    )  # fmt: skip


@register.filter
def moment(given: datetime) -> str:
    """Return a moment of today by its time, any other by day and time."""
    here = local(given)
    today = here.date() == local(at_or_now(None)).date()
    return f"{here:%H:%M:%S}" if today else written(here, "j M Y, H:i")


@register.simple_tag(takes_context=True)
def page_url(context: Context, slug: str) -> str:
    """Return the address of a page of the dashboard that the panel stands in."""
    return str(context["dashboard"].page_url(slug))


@register.simple_tag(takes_context=True)
def person_url(context: Context, key: str) -> str:
    """Return the address of a person's page, in the alias that is looked at."""
    question = context["question"]
    given = {"who": key} | ({"alias": question.alias} if question.alias != "default" else {})
    return f"{context['dashboard'].page_url('person')}?{urlencode(given)}"


@register.simple_tag(takes_context=True)
def erase_url(context: Context, key: str) -> str:
    """Return the address that asks before a person is erased."""
    question = context["question"]
    given = {"who": key} | ({"alias": question.alias} if question.alias != "default" else {})
    return f"{context['dashboard'].url('erase')}?{urlencode(given)}"


@register.simple_tag(takes_context=True)
def kept_but(context: Context, but: str) -> list[tuple[str, Any]]:
    """Return the parameters that a form takes along, without those it has fields for."""
    return list(kept(context["question"], *but.split()))
