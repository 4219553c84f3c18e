"""Whatever names, keys, values and ids hold, it is text on every page, in every fragment and every file."""

import csv
import io
import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from littlebro.dashboard.export import FORMATS
from littlebro.dashboard.fields import condition_text, path_text
from littlebro.dashboard.panels import PANELS
from littlebro.events.query import Condition
from littlebro.models import Annotation, SavedView
from tests.dashboard.site import BOARD, event, export, panel, store

pytestmark = pytest.mark.django_db

NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "\u202eevil",
    "\u2067isolated",
    "=cmd()",
    "@SUM(1)",
    "-1+1",
    "{{ 7 }}{% now 'Y' %}",
    "%s %(x)s {} {0}",
    "a/b?c=d&e#f",
    "../../../x",
    "__proto__",
    "😀",
    "other",
    "none",
    "W" * 200,
    "\u200b",
]
LONG = "<b>" + "x" * 9_990 + "</b>"


def places(text: str) -> dict[str, str]:
    """Return the panels with a question in which the text is asked for in every way."""
    name, path = quote(text), quote(path_text(("params", text)))
    condition = quote(condition_text(Condition(("params", text), "eq", text)))
    return {
        "figures": f"name={name}", "chart": f"by={path}&f={condition}", "list": f"by={path}", "breakdown": "by=name",
        "funnel": f"s1={name}&s2={name}&s2f={condition}&by={path}&order=any",
        "funnel-people": f"s1={name}&people=1", "retention": f"start={name}", "paths": f"from={name}",
        "people": f"q={name}&range=all", "person": f"who=u:{name}", "live": "",
    }  # fmt: skip


def check_markup(content: str) -> None:
    """Fail where a browser would run something, or turn the direction of what follows."""
    tags = re.sub(r'"[^"]*"', '""', "".join(re.findall(r"<[^>]*>", content)))
    assert "alert" not in tags
    assert "onerror" not in tags
    assert "onload" not in tags
    assert not re.search(r"<script(?![^>]* src=)|<b>x|<style|\sstyle=", content)
    assert "&lt;script&gt;alert" in content or "<script>alert" not in content
    shown = re.sub(r"<[^>]*>", "", content)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize("text", [*NAMES, LONG], ids=lambda text: repr(text[:20]))
def test_hostile_text_is_text_in_every_panel(admin_client: Client, text: str) -> None:
    short = text[:200]
    for number in range(2):
        store(
            event(
                short,
                1 + number,
                user_id=short,
                anonymous_id=short,
                params={text[:900]: text, "t": text, short: text},
            )
        )
    Annotation.objects.create(at=event("x", 1).timestamp, text=short)
    asked = places(short)
    assert set(asked) == set(PANELS)
    for slug, query in asked.items():
        response = admin_client.get(panel(slug, query))
        assert response.status_code == 200, (slug, response.content.decode()[:500])
        check_markup(response.content.decode())


@pytest.mark.parametrize("text", NAMES, ids=lambda text: repr(text[:20]))
def test_hostile_text_is_text_on_every_page(admin_client: Client, text: str) -> None:
    """Also as a filter in a chip, in a form, as the name of a view."""
    store(event(text, 1, user_id=text, params={text: text}))
    SavedView.objects.create(name=text[:100], page="trends", query=f"name={quote(text)}")
    Annotation.objects.create(at=event("x", 1).timestamp, text=text)
    condition = quote(condition_text(Condition(("params", text), "contains", text)))
    name = quote(text)
    query = f"name={name}&f={condition}&q={name}&s1={name}&s1f={condition}&start={name}&from={name}"
    for page in ("", "trends/", "breakdown/", "funnel/", "retention/", "paths/", "people/", "live/"):
        response = admin_client.get(f"{BOARD}{page}?{query}")
        assert response.status_code == 200
        content = response.content.decode()
        check_markup(content[content.index('id="lb-board"') :].replace(f'value="{text}"', ""))


@pytest.mark.parametrize("text", NAMES, ids=lambda text: repr(text[:20]))
def test_links_lead_to_what_they_name(admin_client: Client, text: str) -> None:
    """The link of a row asks for exactly that row."""
    store(
        event("x", 1, user_id="1", params={text: text}), event("x", 1, user_id="2", params={text: "another"})
    )
    content = admin_client.get(panel("list", f"by={quote(path_text(('params', text)))}")).content.decode()
    links = {unescape(link) for link in re.findall(r'href="(\?[^"]*f=[^"]*)"', content)}
    assert len(links) == 2
    for link in links:
        figures = admin_client.get(panel("figures") + link).content.decode()
        assert len(re.findall(r'lb-figure-value">1<', figures)) == 3


@pytest.mark.parametrize(
    "text", [NAMES[0], "=cmd()", "@SUM(1)", '"a"",\r\nb', LONG], ids=lambda text: repr(text[:20])
)
def test_hostile_text_is_text_in_every_file(admin_client: Client, text: str) -> None:
    short = text[:200]
    store(event(short, 1, user_id=short, params={"k": text, short: text}))
    for slug, query in places(short).items():
        for kind in FORMATS:
            response = admin_client.get(export(slug, kind, query))
            assert response.status_code == 200, (slug, kind, response.content[:300])
            assert re.fullmatch(r'attachment; filename="[\w.-]+"', response["Content-Disposition"])
            if kind == "csv":
                rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"), newline="")))
                assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "\t"))]


@pytest.mark.parametrize("query", [
    "f=" + "[" * 3_000, "by=" + "a." * 900, "name=" + "x" * 5_000, "range=%00", "since=%00", "who=%00", "limit=1e9",
    "limit=-1", "limit=²", "w=0", "hide=9999.x", "cursor=%ff", "s1=%00", "person=u:", "by=/params/%00",
    "interval[]=day",
    "f=%5B%22eq%22,%5B%22params%22,%22a%22%5D,1e999%5D", "since=0001-01-01&until=9999-12-31",
])  # fmt: skip
def test_damaged_addresses_are_answered(admin_client: Client, query: str) -> None:
    """With the page or with what is wrong, never with a fault of ours."""
    store(event("x", 1, user_id="1", params={"a": 1}))
    for slug in PANELS:
        assert admin_client.get(panel(slug, query)).status_code in {200, 400}, slug
        assert admin_client.get(export(slug, "csv", query)).status_code in {200, 400}, slug
    for page in ("", "trends/", "funnel/", "retention/", "paths/", "people/", "person/", "live/"):
        response: Any = admin_client.get(f"{BOARD}{page}?{query}")
        assert response.status_code in {200, 302}, page


@pytest.mark.parametrize("length", [1, 60])
def test_an_address_with_a_thousand_filters_makes_no_page_of_megabytes(
    admin_client: Client, length: int
) -> None:
    """Each filter is shown with the address of the page without it."""
    store(event("x", 1))
    query = "&".join(f"name={number:0{length}}" for number in range(990))
    response = admin_client.get(f"{BOARD}?{query}")
    assert response.status_code == 200
    assert "lb-problem" in response.content.decode()
    assert len(response.content) < 3_000_000
