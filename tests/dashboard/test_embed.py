"""A report on a page of one's own: by the template tag, and as a page by itself."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import OperationalError, transaction
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client
from django.urls import path
from django.utils.html import strip_tags

from littlebro.dashboard.embed import REPORTS, ChartView, draw_report
from littlebro.exceptions import InvalidQuery
from tests.dashboard.site import VIEW, AwayStore, event, fill, staff, store

pytestmark = pytest.mark.django_db

urlpatterns = [
    path("admin/", admin.site.urls),
    path(
        "orders/",
        ChartView.as_view(
            report="trend", asked={"name": ["order-paid"], "measure": "events"}, title="Orders"
        ),
    ),
    path("open/", ChartView.as_view(report="breakdown", asked={"by": "name"}, permission_required=None)),
]
ASKED: dict[str, dict[str, Any]] = {
    "trend": {"by": "params.plan", "compare": "previous"}, "breakdown": {"by": "user_id"},
    "funnel": {"s1": "signed-up", "s2": "order-paid"}, "retention": {"start": "signed-up"}, "paths": {},
}  # fmt: skip


def render(text: str, **context: Any) -> str:
    return Template("{% load littlebro %}" + text).render(Context(context))


@pytest.mark.parametrize("report", REPORTS)
def test_each_report_can_be_put_on_a_page(report: str) -> None:
    """Without links, which would lead nowhere from there, and with nothing inline."""
    fill()
    html = draw_report(report, ASKED[report], title="<Mine>")
    assert "&lt;Mine&gt;" in html
    assert "lb-error" not in html
    assert not re.search(r'href=""|href="\?|<a |data-href|\sstyle=|<script', html)


def test_the_tag_draws_what_it_is_asked() -> None:
    fill()
    html = render('{% littlebro_chart "trend" name="order-paid" measure="events" title="Orders" width=600 %}')
    assert 'viewBox="0 0 600 ' in html
    assert "Events 3" in re.sub(r"\s+", " ", strip_tags(html))
    names = render(
        '{% littlebro_chart "breakdown" by="name" name=names %}', names=["signed-up", "order-paid"]
    )
    assert "order-paid" in names
    assert "page-accessed" not in names


@pytest.mark.parametrize(
    "text, said",
    [
        ('"trnd"', "Did you mean 'trend'"),
        ('"trend" range="never"', "no range"),
        ('"trend" colour="red"', "no parameter"),
        ('"trend" by="plan"', "no field"),
        ('"funnel"', "Name the first step"),
    ],
)
def test_a_mistake_in_the_tag_is_an_error_of_the_template(text: str, said: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=said):
        render("{% littlebro_chart " + text + " %}")
    with pytest.raises(InvalidQuery):
        draw_report("trend", {"by": "plan"})


def test_a_store_that_fails_does_not_take_the_page_along(settings: Any) -> None:
    settings.LITTLEBRO = {"default": {"BACKEND": "log", "LOCATION": "/nowhere/events.jsonl"}}
    assert 'role="alert"' in render('{% littlebro_chart "trend" %}')


def test_style_and_script_come_once_with_the_nonce_of_the_page() -> None:
    plain = render("{% littlebro_media %}")
    assert "littlebro/dashboard.css" in plain
    assert "nonce" not in plain
    assert render("{% littlebro_media %}", csp_nonce="abc").count('nonce="abc"') == 2


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    "address", ["/open/", "/admin/littlebro/dashboard/", "/admin/littlebro/storedevent/"]
)
def test_all_that_is_ours_has_the_nonce_of_djangos_policy(
    admin_client: Client, settings: Any, address: str
) -> None:
    """Under a policy that trusts nothing else, as the admin itself works since Django 6.1."""
    csp: Any = pytest.importorskip("django.utils.csp", reason="Django has policies of its own since 6.0").CSP
    settings.MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *settings.MIDDLEWARE]
    settings.SECURE_CSP = {"script-src": [csp.NONCE], "style-src": [csp.NONCE]}
    (engine,) = settings.TEMPLATES
    processors = [*engine["OPTIONS"]["context_processors"], "django.template.context_processors.csp"]
    settings.TEMPLATES = [engine | {"OPTIONS": {"context_processors": processors}}]
    response = admin_client.get(address)
    nonce = response["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
    ours = re.findall(r'<(?:script|link)[^>]*"/?static/littlebro/[^>]*>', response.content.decode())
    assert len(ours) == 2
    assert all(f'nonce="{nonce}"' in tag for tag in ours)


@pytest.mark.urls(__name__)
def test_a_report_is_a_page_by_itself(client: Client) -> None:
    """It asks for the dashboard's permission unless it is told otherwise; a frame of the same site may show it."""
    fill()
    assert client.get("/orders/").status_code == 403
    client.force_login(staff(VIEW))
    response = client.get("/orders/")
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert "<title>Orders</title>" in response.content.decode()
    assert "Events 3" in re.sub(r"\s+", " ", strip_tags(response.content.decode()))
    assert response["Cache-Control"] == "private"  # no cache that is shared may give it to others
    client.logout()
    response = client.get("/open/")
    assert response.status_code == 200
    assert "Cache-Control" not in response


def test_hostile_text_is_text_there_too() -> None:
    store(event("<script>alert(1)</script>", 1, user_id="1"))
    html = draw_report("breakdown", {"by": "name"}, title="<script>alert(1)</script>")
    assert "<script>" not in html


class _Refusing(AwayStore):
    """Does something in the database before it fails, as far as one can see from outside."""

    def scan(self, query: Any, after: Any = None) -> Any:
        Group.objects.create(name="half-way")
        raise OperationalError("canceling statement due to statement timeout")

    def scan_stored(self, after: Any = None) -> Any:
        return self.scan(None)


def test_a_store_that_fails_leaves_the_pages_transaction_alone(settings: Any) -> None:
    """Rolled back to where the report began: PostgreSQL would refuse all that the page asks afterwards."""
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": f"{__name__}._Refusing"}}
    with transaction.atomic():
        Group.objects.create(name="the page's own")
        assert "could not be asked" in draw_report("trend", {})
        assert [group.name for group in Group.objects.all()] == ["the page's own"]
