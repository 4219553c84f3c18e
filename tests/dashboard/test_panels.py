"""Each page has its frame at once and its panels one by one; figures are the reports', errors stand in their place."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from littlebro.analysis.reports.breakdown import breakdown
from littlebro.analysis.reports.trend import trend
from littlebro.dashboard import views
from littlebro.dashboard.panels import PANELS
from littlebro.dashboard.questions import Question
from littlebro.events.query import EventQuery
from littlebro.exceptions import AnalysisTimeout
from littlebro.models import Annotation
from littlebro.storage.handler import backends
from tests.dashboard.site import BOARD, PAGES, STEPS, event, fill, panel, store

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    """Return what a reader of a page or fragment reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", response.content.decode())))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_there_before_its_panels(admin_client: Client, page: str) -> None:
    """The frame asks no report: its panels are places with the address to fetch."""
    fill()
    response = admin_client.get(BOARD + page)
    assert response.status_code == 200
    found = re.findall(r'data-lb-panel="([^"]+)"', response.content.decode())
    assert found
    for address in found:
        fragment = admin_client.get(unescape(address))
        assert fragment.status_code == 200, text_of(fragment)
        assert fragment["X-Littlebro"] == "panel"
        assert "<html" not in fragment.content.decode()


@pytest.mark.parametrize("slug", PANELS)
def test_a_panel_needs_no_aware_times_of_the_site(admin_client: Client, settings: Any, slug: str) -> None:
    """Without USE_TZ, Django's own moments have no zone; the figures are the same."""
    fill()
    address = panel(slug, f"{STEPS}&who=u:1&people=1&range=all")
    aware = text_of(admin_client.get(address))
    settings.USE_TZ = False
    response = admin_client.get(address)
    assert response.status_code == 200, text_of(response)
    clock = re.compile(r"as of [0-9:]+|\d+ (s|min|h|d) ago")
    assert clock.sub("", text_of(response)) == clock.sub("", aware)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_the_ends_of_the_calendar_take_no_page_along(admin_client: Client, settings: Any, zone: str) -> None:
    """Where no clock can show a moment or a range, its event is there all the same, or a sentence says why not."""
    settings.TIME_ZONE = zone
    for edge in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 20, tzinfo=UTC)):
        store(event("edge", timestamp=edge, user_id="1"))
    for slug, query in (("live", ""), ("person", "who=u:1"), ("people", "range=all"), ("list", "range=all")):
        response = admin_client.get(panel(slug, query))
        assert (response.status_code, "edge" in text_of(response) or slug == "people") == (200, True)
    for query in ("range=all&compare=previous", "range=all", "since=0002-01-02&until=2026-01-01"):
        assert admin_client.get(panel("chart", query)).status_code == 400
        assert admin_client.get(f"{BOARD}?{query}").status_code == 200
    for query in ("since=0001-01-01T00:00:00%2B14:00", "since=9999-12-30T00:00Z&until=9999-12-31T23:59:59Z"):
        page = admin_client.get(f"{BOARD}trends/?{query}")
        assert (page.status_code, b"lb-problem" in page.content) == (200, True)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_without_a_script(admin_client: Client, page: str) -> None:
    """A browser without script is led to the page with everything drawn."""
    fill()
    frame = admin_client.get(BOARD + page).content.decode()
    refresh = re.search(r'<noscript><meta http-equiv="refresh" content="0; url=([^"]+)">', frame)
    assert refresh
    address = unescape(refresh[1])
    whole = admin_client.get(BOARD + page.split("?", maxsplit=1)[0] + address)
    content = whole.content.decode()
    assert "lb-skeleton" not in content
    assert "<noscript>" not in content
    assert "lb-error" not in content


def test_the_figures_are_those_of_the_report(admin_client: Client) -> None:
    fill()
    query = Question(admin_client.get(BOARD).wsgi_request.GET)
    people = trend(query.query, measure="people", interval="day")
    fragment = text_of(admin_client.get(panel("figures")))
    assert f"People {people.series[0].total}" in fragment
    names = breakdown(query.query, by=("name",))
    shown = text_of(admin_client.get(panel("list", "by=name")))
    for row in names.rows:
        assert f"{row.key.label} {row.people} {row.events}" in shown


def test_what_is_clicked_is_a_filter(admin_client: Client) -> None:
    """A row of a list leads to the page of that row alone, with its type: the number 1 and the text "1" are two."""
    store(event("a", 1, user_id="u", params={"n": 1}), event("a", 1, user_id="u", params={"n": "1"}))
    content = admin_client.get(panel("breakdown", "by=params.n")).content.decode()
    links = [unescape(link) for link in re.findall(r'<a href="(\?[^"]*f=[^"]*)"', content)]
    assert len(set(links)) == 2
    for link in links:
        figures = text_of(admin_client.get(panel("figures") + link))
        assert "Events 1 " in figures
        chips = admin_client.get(BOARD + link)
        assert "params.n" in text_of(chips)


def test_lists_are_sorted_as_asked(admin_client: Client) -> None:
    """What is no value stays below the values, whatever the order."""
    for number in range(4):
        store(*[event("x", 1, user_id=f"{n}", params={"k": f"v{number}"}) for n in range(number + 1)])
    store(event("x", 1, user_id="9", params={"k": ""}))

    def keys(query: str) -> list[str]:
        content = admin_client.get(panel("breakdown", f"by=params.k&{query}")).content.decode()
        return re.findall(r"<tbody>.*?</tbody>", content, re.DOTALL) and [
            text_of(type("R", (), {"content": row.encode()})).strip()
            for row in re.findall(r'<span class="lb-cell">(.*?)</span>\s*<svg', content, re.DOTALL)
        ]

    assert keys("") == ["v3", "v2", "v1", "v0", "None"]
    assert keys("sort=events&dir=asc") == ["v0", "v1", "v2", "v3", "None"]
    assert keys("sort=key") == ["v0", "v1", "v2", "v3", "None"]
    assert keys("sort=key&dir=desc") == ["v3", "v2", "v1", "v0", "None"]
    assert keys("limit=2") == ["v3", "v2", "Other", "None"]


def test_comparisons_are_shown_in_figures_chart_and_lists(admin_client: Client) -> None:
    store(event("a", 1, user_id="1"), event("a", 8, user_id="1"), event("a", 8, user_id="2"))
    asked = "range=7d&compare=previous"
    assert "less by 50.0%" in text_of(admin_client.get(panel("figures", asked))).replace("50%", "50.0%")
    assert "lb-past" in admin_client.get(panel("chart", asked)).content.decode()
    assert "50%" in text_of(admin_client.get(panel("list", f"{asked}&by=name")))
    assert "50%" in text_of(admin_client.get(panel("breakdown", f"{asked}&by=name")))


def test_a_series_is_hidden_by_the_address(admin_client: Client) -> None:
    """The scale follows what is shown; the table keeps all."""
    store(*[event("a", 1, user_id="1") for _ in range(50)], event("b", 1, user_id="2"))
    both = admin_client.get(panel("chart", "by=name&measure=events")).content.decode()
    one = admin_client.get(panel("chart", "by=name&measure=events&hide=0")).content.decode()
    assert both.count('class="lb-line ') == 2
    assert one.count('class="lb-line ') == 1
    assert one.count('<th scope="col" class="lb-number"') == 2
    assert "lb-off" in one
    assert '"lb-tick"' in one
    assert "50</text>" not in one


def test_series_are_hidden_by_decimal_numbers_alone(admin_client: Client) -> None:
    """A superscript two is a digit, and no number."""
    fill()
    for text in ("\u00b2", "0.\u00b2", "-1", "99999", "."):
        assert admin_client.get(panel("chart", f"by=name&hide={text}")).status_code == 200


def test_annotations_stand_in_the_chart(admin_client: Client) -> None:
    Annotation.objects.create(at=timezone.now() - timedelta(days=3), text="Deployed <4.2>")
    Annotation.objects.create(at=timezone.now() - timedelta(days=300), text="long ago")
    fill()
    content = admin_client.get(panel("chart")).content.decode()
    assert content.count('class="lb-mark-line"') == 1
    assert content.count("Deployed &lt;4.2&gt;") == 2
    assert "long ago" not in content


def test_what_makes_no_sense_is_said_in_place(admin_client: Client) -> None:
    for query, said in (
        ("range=never", "no range"),
        ("measure=sum", "Name a number"),
        ("by=plan", "no field"),
        ("measure=x", "measure is one of"),
    ):
        response = admin_client.get(panel("chart", query))
        assert response.status_code == 400
        assert 'role="alert"' in response.content.decode()
        assert said in text_of(response)
    assert "Name the first step" in text_of(admin_client.get(panel("funnel")))
    fill()
    page = admin_client.get(f"{BOARD}?range=never&every=1")
    assert page.status_code == 200
    assert text_of(page).count("no range") == 1
    assert b"data-lb-panel" not in page.content
    assert admin_client.get(f"{BOARD}?fp=plan&fv=1").status_code == 200


def test_trouble_is_said_in_place(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that is out of time says so; the words of a stranger's error go to the log alone."""
    fill()

    def raise_(error: Exception) -> Any:
        def ask(question: Any) -> None:
            raise error

        broken = {slug: _with(found, ask) for slug, found in PANELS.items()}
        monkeypatch.setattr(views, "PANELS", broken)

    raise_(AnalysisTimeout("The question took longer than 30 seconds."))
    response = admin_client.get(panel("chart"))
    assert (response.status_code, "longer than 30 seconds" in text_of(response)) == (503, True)
    raise_(RuntimeError("password=hunter2"))
    response = admin_client.get(panel("chart"))
    assert response.status_code == 500
    assert "hunter2" not in response.content.decode()
    assert "RuntimeError" in text_of(response)
    assert admin_client.get(f"{BOARD}?every=1").status_code == 200


def _with(found: Any, ask: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(found, ask=ask)


def test_an_empty_installation_shows_how_to_begin(admin_client: Client, tmp_path: Path) -> None:
    """The command that it proposes is one that works."""
    page = text_of(admin_client.get(BOARD))
    assert "No event yet" in page
    assert 'tracker.track_event("order-paid"' in page
    log = tmp_path / "access.log"
    log.write_text('192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "x"\n')
    command = re.search(r"python manage.py (littlebro import .*? access\.log)", page)
    assert command
    call_command(*command[1].replace("access.log", str(log)).split())
    assert "No event yet" not in text_of(admin_client.get(BOARD))


def test_a_store_that_cannot_be_read_is_said_to_be_so(
    admin_client: Client, settings: Any, tmp_path: Any
) -> None:
    settings.LITTLEBRO = {"default": {"BACKEND": "log", "LOCATION": str(tmp_path / "events.jsonl")}}
    assert "cannot be read from" in text_of(admin_client.get(BOARD))
    settings.LITTLEBRO = {"default": {"BACKEND": "nothing-of-the-kind"}}
    assert "nothing-of-the-kind" in text_of(admin_client.get(BOARD))


def test_the_live_page_asks_again_where_numbers_have_separators(admin_client: Client, settings: Any) -> None:
    fill()
    settings.USE_THOUSAND_SEPARATOR = True
    assert 'data-lb-poll="2000"' in admin_client.get(f"{BOARD}live/").content.decode()


def test_without_duckdb_the_page_names_the_extra(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "find_spec", lambda name: None)
    assert 'which is not installed: pip install "django-littlebro[analytics]"' in text_of(
        admin_client.get(BOARD)
    )


def test_another_alias_can_be_looked_at(admin_client: Client, settings: Any) -> None:
    settings.LITTLEBRO = {"default": {}, "audit": {"BACKEND": "memory"}}
    fill()
    store(event("looked-at", 1, user_id="7"), alias="audit")
    assert "audit" in text_of(admin_client.get(BOARD))
    shown = text_of(admin_client.get(panel("list", "alias=audit&by=name")))
    assert "looked-at" in shown
    assert "signed-up" not in shown


def test_collections_are_a_filter(admin_client: Client) -> None:
    store(event("here", 1, user_id="1"), event("there", 1, user_id="1", collection="shop"))
    assert "there" not in text_of(admin_client.get(panel("list", "by=name")))
    assert "there" in text_of(admin_client.get(panel("list", "by=name&collection=shop")))
    assert admin_client.get(panel("list", "by=name&collection=%20")).status_code == 400


def test_forms_are_helped_with_what_is_known(admin_client: Client) -> None:
    fill()
    found = json.loads(admin_client.get(f"{BOARD}suggest/").content)
    assert found["names"][0] == "page-accessed"
    assert {"params.plan", "params.total", "context.country", "user_id"} <= set(found["fields"])
    found = json.loads(admin_client.get(f"{BOARD}suggest/?by=params.plan").content)
    assert set(found["values"]) == {"free", "team"}
    assert json.loads(admin_client.get(f"{BOARD}suggest/?by=name").content) == {"values": []}
    assert admin_client.get(f"{BOARD}suggest/?by=nothing").status_code == 400


def test_all_time_begins_with_the_first_event(admin_client: Client) -> None:
    store(event("a", 400, user_id="1"), event("a", 1, user_id="1"))
    assert "Events 2" in text_of(admin_client.get(panel("figures", "range=all")))
    assert "By month" in text_of(admin_client.get(panel("chart", "range=all")))
    assert admin_client.get(f"{BOARD}?range=all").status_code == 200


def test_a_funnel_names_those_behind_its_numbers(admin_client: Client) -> None:
    fill()
    content = text_of(admin_client.get(panel("funnel", STEPS)))
    assert "37.5%" in content
    assert "8 people" in content
    assert "3 people" in content
    assert "5 went no further" in content
    paid = text_of(admin_client.get(panel("funnel-people", f"{STEPS}&people=2")))
    assert re.search(r"Reached step 2, order-paid Close ([012] ){3}", paid)
    left = admin_client.get(panel("funnel-people", f"{STEPS}&people=1&side=dropped")).content.decode()
    assert sorted(re.findall(r"who=u%3A(\d)", left)) == list("34567")
    grouped = text_of(admin_client.get(panel("funnel", f"{STEPS}&by=params.plan&order=any&window=30d")))
    assert "team" in grouped


def test_a_funnel_leaves_out_who_did_something_in_between(admin_client: Client) -> None:
    fill()
    store(event("complained", 4, user_id="0"))
    assert "25.0%" in text_of(admin_client.get(panel("funnel", f"{STEPS}&x1=complained&x1a=1")))


def test_retention_marks_what_still_runs(admin_client: Client) -> None:
    fill()
    content = admin_client.get(panel("retention", "start=signed-up&period=day&range=7d"))
    assert "lb-running" in content.content.decode()
    assert "100%" in text_of(content)
    assert b"None%" not in content.content
    assert b"<title>day 13: not over yet</title>" in content.content
    assert b">100%</text>" in content.content  # the scale
    assert "selected" in admin_client.get(f"{BOARD}retention/?period=day").content.decode()


def test_paths_lead_on_from_what_is_clicked(admin_client: Client) -> None:
    store(event("a", timedelta(minutes=9), user_id="1"), event("b", timedelta(minutes=8), user_id="1"))
    forward = admin_client.get(panel("paths", "from=a")).content.decode()
    assert "from=b" in forward
    backward = text_of(admin_client.get(panel("paths", "to=b")))
    assert "1 before" in backward


@pytest.mark.parametrize("slug", ["nothing", "figures-"])
def test_there_is_no_other_page_or_panel(admin_client: Client, slug: str) -> None:
    for address in (
        f"{BOARD}{slug}/",
        panel(slug),
        f"{BOARD}export/{slug}/csv/",
        f"{BOARD}export/chart/xls/",
        f"{BOARD}more/{slug}/",
    ):
        assert admin_client.get(address).status_code == 404


def test_nothing_is_inline(admin_client: Client, admin_user: User) -> None:
    """Pages and panels work under `default-src 'self'`."""
    fill()
    for page in PAGES:
        content = admin_client.get(BOARD + page + ("&" if "?" in page else "?") + "every=1").content.decode()
        board = content[content.index('id="lb-board"') :]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)|javascript:", board)


def test_what_a_page_fetches_is_no_page_view(client: Client, settings: Any) -> None:
    """Looking at events makes no more of them, every two seconds, whoever is admitted; opening a page is a visit."""
    settings.MIDDLEWARE = ["littlebro.middleware.TrackerMiddleware", *settings.MIDDLEWARE]
    fetched = (panel("live"), panel("list", "by=name"), f"{BOARD}suggest/")
    for address in fetched:
        assert client.get(address).status_code == 302
    client.force_login(User.objects.create_superuser("root"))
    for address in (*fetched, BOARD):
        assert client.get(address).status_code == 200
    assert [event.params["path"] for event in backends["default"].scan(EventQuery())] == [BOARD]
