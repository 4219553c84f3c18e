"""Whole stories in Chromium: a view kept, files that hold what is shown, a report on a page of one's own, unfold."""

import csv
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import duckdb
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from littlebro.dashboard.embed import ChartView
from tests.chromium import Chromium, serious
from tests.dashboard.conftest import cookies_of
from tests.dashboard.looks import PAGES, Complaints, overflow, settle, texts
from tests.dashboard.site import BOARD, event, fill, store
from tests.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent.parent
OWN = """{% load littlebro %}<!doctype html><html lang="en"><head><title>Mine</title>{% littlebro_media %}</head>
<body><h1>Our numbers</h1>{% littlebro_chart "trend" name="signed-up" measure="events" title="Sign-ups" %}
<iframe src="/chart/" title="Orders" width="900" height="500"></iframe></body></html>"""

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def own_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(OWN).render({}, request))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("own/", own_page),
    path(
        "chart/",
        ChartView.as_view(report="funnel", asked={"s1": "signed-up", "s2": "order-paid"}, title="Orders"),
    ),
]


@pytest.fixture
def logged_in(site: str) -> list[dict[str, Any]]:
    fill()
    return cookies_of(User.objects.create_superuser("admin", password="x"), site)


def test_single_keys_can_be_switched_off(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]]
) -> None:
    """The browser remembers it; the list of keys can be opened by its button all the same."""

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}")
        switch, listed = page.get_by_label("Use these keys"), page.locator("#lb-keys")
        for expected in (True, False):
            page.keyboard.press("?")
            assert listed.is_visible() is expected
            if not expected:
                page.get_by_role("button", name="Keyboard shortcuts").click()
            switch.set_checked(not expected)
            page.reload()
        page.keyboard.press("?")
        assert listed.is_visible()

    chromium.tell(story, logged_in)


def test_a_view_is_kept_and_found_again(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]]
) -> None:
    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}trends/?by=params.plan&range=7d")
        settle(page)
        page.keyboard.press("v")
        page.get_by_label("Save this page as").fill("Plans, weekly")
        page.get_by_role("button", name="Save").click()
        page.wait_for_selector("text=Saved as “Plans, weekly”.")
        page.goto(f"{site}{BOARD}")
        page.get_by_text("Views", exact=True).click()
        page.get_by_role("link", name="Plans, weekly").click()
        page.wait_for_url("**trends/?by=params.plan&range=7d")
        settle(page)
        assert "team" in " ".join(texts(page, ".lb-legend li"))
        page.locator(".lb-annotate > summary").click()
        page.get_by_label("What happened").fill("Deployed 4.2")
        page.get_by_role("button", name="Annotate").click()
        settle(page)
        assert "Deployed 4.2" in texts(page, ".lb-notes li")[0]
        page.keyboard.press("v")
        page.get_by_role("button", name="Delete the view Plans, weekly").click()
        page.wait_for_selector("text=is deleted.")

    chromium.tell(story, logged_in, viewport={"width": 1440, "height": 900})


def test_each_file_holds_what_is_shown(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]], tmp_path: Path
) -> None:
    """CSV, JSON lines, JSON and Parquet, fetched by hand from the menu of a sorted list."""

    def story(page: "Page") -> tuple[list[list[str]], dict[str, Path]]:
        page.goto(f"{site}{BOARD}breakdown/?by=params.path&sort=key")
        settle(page)
        shown = [
            [" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()]
            for row in page.locator(".lb-whole tbody tr").all()
        ]
        files = {}
        for label in ("CSV", "JSON lines", "JSON", "Parquet"):
            page.locator(".lb-exports > summary").click()
            with page.expect_download() as wanted:
                page.locator(".lb-exports").get_by_role("link", name=label, exact=True).click()
            files[label] = tmp_path / wanted.value.suggested_filename
            wanted.value.save_as(files[label])
            page.keyboard.press("Escape")
        return shown, files

    shown, files = chromium.tell(story, logged_in, viewport={"width": 1440, "height": 900})
    rows = [row[:3] for row in shown]
    assert len(rows) > 2
    table = list(csv.reader(io.StringIO(files["CSV"].read_text("utf-8-sig"), newline="")))
    names = {name: number for number, name in enumerate(table[0])}
    found = [[row[0], row[names["people"]], row[names["events"]]] for row in table[1:]]
    named = [["None" if row[0] == "(none)" else row[0], *row[1:]] for row in found]
    assert named == rows
    lines = [json.loads(line) for line in files["JSON lines"].read_text().splitlines()]
    assert [[str(line["people"]), str(line["events"])] for line in lines] == [row[1:] for row in rows]
    assert len(json.loads(files["JSON"].read_text())["rows"]) == len(rows)
    with duckdb.connect() as link:
        stored = link.execute(
            "SELECT people, events FROM read_parquet(?)", [str(files["Parquet"])]
        ).fetchall()
    assert [[str(people), str(events)] for people, events in stored] == [row[1:] for row in rows]


def test_what_was_clicked_is_what_is_exported_kept_and_gone_back_to(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]]
) -> None:
    """A column that sorts, a line that is hidden, a page of a list: the address has it, so all of the page has."""
    store(*(event("seen", 1 + number / 100, user_id=f"p{number:02}") for number in range(60)))

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}breakdown/?by=params.path")
        settle(page)
        page.locator(".lb-whole thead a").first.click()
        page.wait_for_url("**sort=key*")
        settle(page)
        assert "sort=key" in str(page.locator(".lb-exports a").first.get_attribute("href"))
        page.go_back()
        page.wait_for_url(lambda url: "sort" not in url)
        page.goto(f"{site}{BOARD}trends/?by=params.plan")
        settle(page)
        page.locator(".lb-legend a").first.click()
        page.wait_for_url("**hide=0")
        assert page.locator(".lb-save [name=query]").input_value() == "by=params.plan&hide=0"
        page.goto(f"{site}{BOARD}people/")
        settle(page)
        newest = texts(page, ".lb-plain-table tbody th")
        page.get_by_role("link", name="Older ›").click()
        page.wait_for_url("**cursor=*")
        settle(page)
        older = texts(page, ".lb-plain-table tbody th")
        assert not set(older) & set(newest)
        page.reload()
        settle(page)
        assert texts(page, ".lb-plain-table tbody th") == older
        page.go_back()
        settle(page)
        assert texts(page, ".lb-plain-table tbody th") == newest

    chromium.tell(story, logged_in, viewport={"width": 1440, "height": 900})


def test_without_script_a_list_goes_on(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]]
) -> None:
    store(*(event("seen", 1 + number / 100, user_id=f"p{number:02}") for number in range(60)))

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}people/")
        page.wait_for_url("**every=1*")
        newest = texts(page, ".lb-plain-table tbody th")
        page.get_by_role("link", name="Older ›").click()
        page.wait_for_url("**cursor=*every=1")
        older = texts(page, ".lb-plain-table tbody th")
        assert older
        assert not set(older) & set(newest)

    chromium.tell(story, logged_in, java_script_enabled=False)


@pytest.mark.urls(__name__)
def test_a_report_stands_on_a_page_of_ones_own(
    chromium: Chromium, site: str, logged_in: list[dict[str, Any]]
) -> None:
    """Under the same policy, with hover and keyboard, and in a frame."""

    def story(page: "Page") -> None:
        complaints = Complaints(page)
        page.goto(f"{site}/own/")
        page.wait_for_selector(".lb-embed .lb-svg")
        page.locator(".lb-chart").focus()
        page.keyboard.press("End")
        assert page.locator(".lb-tip").is_visible()
        frame = page.frame_locator("iframe")
        assert "37.5%" in " ".join(frame.locator(".lb-headline").all_inner_texts())
        assert complaints.heard == []

    chromium.tell(story, logged_in, viewport={"width": 1440, "height": 900})


@pytest.fixture
def unfold() -> Iterator[str]:
    """Give the address of the same site in the theme django-unfold, served by a process of its own."""
    pytest.importorskip("unfold", reason="django-unfold is not installed; the extra 'test' brings it")
    fill()
    User.objects.create_superuser("admin", password="x")
    port = free_port()
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "tests.dashboard.unfold_settings",
        "LITTLEBRO_TEST_DATABASE_URL": f"sqlite://{quote(str(connection.settings_dict['NAME']))}",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "django",
        "runserver",
        "--noreload",
        "--nothreading",
        f"127.0.0.1:{port}",
    ]
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{address}/admin/login/").close()
                break
            except OSError:
                assert child.poll() is None, "the server has ended"
                time.sleep(0.1)
        yield address
    finally:
        child.terminate()
        child.wait()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_in_unfold(chromium: Chromium, unfold: str, scheme: str) -> None:
    """Both widths, in the theme's light and dark, judged by axe-core; the theme's own needs are allowed it."""
    cookies = cookies_of(User.objects.get(), unfold)

    def story(page: "Page") -> None:
        complaints = Complaints(page)
        page.goto(f"{unfold}/admin/login/")
        page.evaluate(f"localStorage.setItem('adminTheme', JSON.stringify('{scheme}'))")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for address in PAGES:
                page.goto(f"{unfold}{BOARD}{address}")
                settle(page)
                assert overflow(page) <= 0, address
                assert complaints.heard == [], address
                assert serious(page) == [], address
        dark = page.evaluate("document.documentElement.classList.contains('dark')")
        assert dark is (scheme == "dark")

    chromium.tell(story, cookies, color_scheme=scheme)
