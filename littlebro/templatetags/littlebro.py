"""Reports on pages of one's own: ``{% load littlebro %} … {% littlebro_chart "trend" name="order-paid" %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from littlebro.exceptions import InvalidQuery

register = template.Library()


@register.simple_tag
def littlebro_chart(report: str, *, title: str = "", width: int = 960, **asked: Any) -> SafeString:
    """Draw a report: trend, breakdown, funnel, retention or paths.

    The other arguments are the parameters of the dashboard's addresses: ``range="30d"``, ``name="order-paid"``,
    ``by="params.plan"``, ``s1="signed-up" s2="order-paid"``. `width` in pixels is what it is drawn for;
    it is as wide as the page lets it be. Whoever sees the page sees the report.
    """
    from littlebro.dashboard.embed import draw_report  # noqa: PLC0415 - checks load this library; the pages need accounts

    try:
        return draw_report(report, {**asked, "w": width}, title=title)
    except InvalidQuery as error:
        message = f"littlebro_chart {report!r}: {error}"
        raise template.TemplateSyntaxError(message) from error


@register.simple_tag(takes_context=True)
def littlebro_media(context: Context) -> SafeString:
    """Return the style sheet and the script that charts need, once a page, for its head."""
    nonce = context.get("csp_nonce")  # Django's is made when it is first written, and false until then
    stamp = "" if nonce is None else format_html(' nonce="{}"', nonce)
    return format_html(
        '<link rel="stylesheet" href="{}"{}><script src="{}" defer{}></script>',
        static("littlebro/dashboard.css"), stamp, static("littlebro/dashboard.js"), stamp,
    )  # fmt: skip
