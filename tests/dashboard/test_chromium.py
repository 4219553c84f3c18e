"""Every page in Chromium: light and dark, wide and narrow, under a strict policy, judged by axe-core, by keyboard."""

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from tests.chromium import Chromium, serious
from tests.dashboard.conftest import cookies_of
from tests.dashboard.looks import PAGES, STEPS, Complaints, overflow, settle, texts
from tests.dashboard.site import BOARD, event, fill, store

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def admin(site: str) -> list[dict[str, Any]]:
    """Give the cookies of a superuser of a filled site."""
    fill()
    store(event("<script>alert(1)</script>", 1, user_id="<b>1</b>", params={"plan": "\u202e" + "x" * 3_000}))
    user = User.objects.create_superuser("admin", password="x")
    return cookies_of(user, site)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_page_fits_keeps_the_policy_and_has_nothing_serious(
    chromium: Chromium, site: str, admin: list[dict[str, Any]], scheme: str, width: int
) -> None:
    """Nothing is wider than the window, the console is silent.

    axe-core looks at each page with all its tables open, and at the list of keys.
    """

    def story(page: "Page") -> None:
        complaints = Complaints(page)
        for address in PAGES:
            page.goto(f"{site}{BOARD}{address}")
            settle(page)
            assert overflow(page) <= 0, address
            assert page.locator(".lb-error").count() == 0
            assert page.locator(".lb-problem").count() == ("never" in address)
            for summary in page.locator(".lb-data > summary").all():
                summary.click()
            assert overflow(page) <= 0, f"{address}, its tables open"
            assert serious(page) == [], address
            assert complaints.heard == [], address
        page.keyboard.press("?")
        assert page.locator("#lb-keys").is_visible()
        assert serious(page) == []

    chromium.tell(story, admin, viewport={"width": width, "height": 900}, color_scheme=scheme)


def test_a_site_that_is_written_right_to_left(
    chromium: Chromium, site: str, admin: list[dict[str, Any]], settings: Any
) -> None:
    """What is said in English reads from the left, and no label of a chart leaves its place."""
    settings.LANGUAGE_CODE = "ar"
    places = """() => [...document.querySelectorAll('.lb-svg')].flatMap((svg) => {
      const [left, right] = [svg.getBoundingClientRect().left, svg.getBoundingClientRect().right];
      const plot = left + Number(svg.dataset.left || 0);
      return [...svg.querySelectorAll('text')].filter((text) => {
        const box = text.getBoundingClientRect();
        const scale = text.matches('.lb-tick[text-anchor=end]') && box.right < plot + 10;
        return box.left < left - 2 || box.right > right + 2 || (scale && box.right > plot);
      }).map((text) => text.textContent);
    })"""

    def story(page: "Page") -> None:
        for address in ("?compare=previous", "trends/", "retention/?start=signed-up", "paths/"):
            page.goto(f"{site}{BOARD}{address}")
            settle(page)
            assert page.evaluate("document.documentElement.dir") == "rtl"
            assert page.evaluate(places) == [], address
        for address in (BOARD, "/admin/littlebro/storedevent/"):
            page.goto(f"{site}{address}")
            language, direction = page.locator(":is(.lb, .lb-board)").evaluate(
                "(board) => [board.lang, getComputedStyle(board.querySelector('button')).direction]"
            )
            assert (language, direction) == ("en", "ltr"), address

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_what_opens_stays_on_a_small_phone(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    def story(page: "Page") -> None:
        for address in ("trends/?compare=previous", "live/"):
            page.goto(f"{site}{BOARD}{address}")
            settle(page)
            for menu in page.locator("details.lb-menu").all():
                menu.locator("summary").click()
                box = menu.locator(".lb-menu-list").bounding_box()
                assert box is not None
                assert 0 <= box["x"] <= box["x"] + box["width"] <= 320, (address, menu.inner_text(), box)
                page.keyboard.press("Escape")

    chromium.tell(story, admin, viewport={"width": 320, "height": 700})


def test_heads_end_where_their_numbers_do(chromium: Chromium, site: str, admin: list[dict[str, Any]]) -> None:
    """The arrow of the column that sorts pushes no words aside, nor up or down."""
    places = """() => ['thead th', 'tbody tr:first-child > *'].map((cells) =>
      [...document.querySelectorAll(`.lb-whole ${cells}`)].slice(1, 4).map((cell) => {
        const words = document.createRange();
        words.selectNodeContents((cell.querySelector('a') || cell).firstChild);
        const place = words.getBoundingClientRect();
        return {end: Math.round(place.right), top: Math.round(place.top)};
      }))"""

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}breakdown/?by=params.path&sort=events")
        settle(page)
        heads, numbers = page.evaluate(places)
        assert [head["end"] for head in heads] == [number["end"] for number in numbers]
        assert len({head["top"] for head in heads}) == 1

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_the_theme_that_is_chosen_wins_over_the_systems(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    def story(page: "Page") -> tuple[str, str]:
        found = []
        for theme in ("light", "dark"):
            page.goto(f"{site}{BOARD}")
            page.evaluate(f"localStorage.setItem('theme', '{theme}')")
            page.goto(f"{site}{BOARD}")
            settle(page)
            found.append(page.locator(".lb-panel").last.evaluate("e => getComputedStyle(e).backgroundColor"))
        return found[0], found[1]

    assert chromium.tell(story, admin, color_scheme="dark") == ("rgb(255, 255, 255)", "rgb(26, 27, 30)")


def test_in_colours_of_the_readers_own_choice_a_chart_can_be_read(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    """Forced colours, dark ones, where the admin's theme is light: words, lines' colours, where one is."""
    colour = "(part, name) => getComputedStyle(part)[name]"

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}")
        page.evaluate("localStorage.setItem('theme', 'light')")
        page.goto(f"{site}{BOARD}trends/?by=params.plan")
        settle(page)
        words = page.locator("body").evaluate(colour, "color")
        assert page.locator(".lb-tick").first.evaluate(colour, "fill") == words
        swatches = page.locator(".lb-legend .lb-swatch").all()
        lines = page.locator(".lb-line .lb-solid").all()[::-1]
        told = [swatch.evaluate(colour, "backgroundColor") for swatch in swatches]
        assert told == [line.evaluate(colour, "stroke") for line in lines]
        assert len(set(told)) == len(told) > 2
        tabs = [tab.evaluate(colour, "borderBottomColor") for tab in page.locator(".lb-tabs a").all()]
        assert tabs.count(tabs[1]) == 1

    chromium.tell(
        story, admin, forced_colors="active", color_scheme="dark", viewport={"width": 1440, "height": 900}
    )


def test_on_paper_it_is_dark_on_white_whatever_the_theme(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    """What one cannot press on paper is left out, and no panel is cut in two."""
    colours = """() => [...document.querySelectorAll('#lb-board, .lb-panel, .lb-foot, .lb-tick')].map((part) =>
      Math.max(...getComputedStyle(part).color.match(/\\d+/g).slice(0, 3).map(Number)))"""

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}")
        page.evaluate("localStorage.setItem('theme', 'dark')")
        page.goto(f"{site}{BOARD}trends/")
        settle(page)
        assert max(page.evaluate(colours)) > 200
        page.emulate_media(media="print")
        assert max(page.evaluate(colours)) < 128
        for part in (".lb-tools", ".lb-exports", ".lb-builder", ".lb-step", ".lb-annotate"):
            assert not page.locator(part).first.is_visible(), part
        assert page.locator(".lb-svg").first.is_visible()

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_the_keyboard_alone_leads_everywhere(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    """Shortcuts, a filter that is added, a range, a comparison, a walk along the chart and into a day of it."""

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}")
        settle(page)
        for key, place in (
            ("t", "trends/"),
            ("b", "breakdown/"),
            ("n", "funnel/"),
            ("u", "people/"),
            ("o", ""),
        ):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"**{BOARD}{place}")
        settle(page)
        page.keyboard.press("?")
        assert page.locator("#lb-keys").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#lb-keys").is_visible()
        page.keyboard.press("f")
        assert page.evaluate("document.activeElement.id") == "lb-name"
        page.keyboard.type("signed-up")
        page.keyboard.press("Enter")
        page.wait_for_url("**name=signed-up*")
        assert texts(page, ".lb-chips li span") == ["Event is signed-up"]
        page.keyboard.press("c")
        page.wait_for_url("**compare=previous*")
        settle(page)
        page.keyboard.press("[")
        page.wait_for_url("**since=*")
        with page.expect_navigation():  # a key pressed while a page leaves is nobody's
            page.keyboard.press("]")
        page.keyboard.press("x")
        page.wait_for_url(lambda url: "name=" not in url)
        page.goto(f"{site}{BOARD}?range=7d&measure=events")
        settle(page)
        page.locator("[data-lb-chart]").focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        tip = texts(page, ".lb-tip")[0]
        rows = page.locator(".lb-data tbody tr").all_text_contents()
        assert page.locator(".lb-on").count() == 1
        assert tip.split(" Events")[0] in rows[-2]
        page.keyboard.press("Enter")
        page.wait_for_url("**since=*")
        page.keyboard.press("/")
        page.keyboard.type("VISIT")
        page.keyboard.press("Enter")
        page.wait_for_url("**people/**")
        settle(page)
        assert "0" in texts(page, ".lb-plain-table tbody th")[0]

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_whatever_is_focused_can_be_seen(chromium: Chromium, site: str, admin: list[dict[str, Any]]) -> None:
    """Tab reaches menus, figures, chart and lists, each with a ring."""

    def story(page: "Page") -> list[str]:
        page.goto(f"{site}{BOARD}")
        settle(page)
        page.locator(".lb-tabs a").first.focus()
        ringless = []
        for _ in range(45):
            page.keyboard.press("Tab")
            ring = page.evaluate(
                "() => { const e = document.activeElement; const s = getComputedStyle(e);"
                " return e.closest('#lb-board') && s.outlineStyle === 'none' ? e.outerHTML.slice(0, 120) : '' }"
            )
            ringless.append(ring)
        return [text for text in ringless if text]

    assert chromium.tell(story, admin, viewport={"width": 1440, "height": 900}) == []


def test_a_click_is_a_filter_and_a_legend_hides(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}")
        settle(page)
        page.get_by_role("link", name="signed-up").click()
        page.wait_for_url("**name=signed-up*")
        settle(page)
        assert texts(page, ".lb-figure-value")[0] == "8"
        page.locator(".lb-chips a").click()
        page.wait_for_url(lambda url: "name=" not in url)
        page.goto(f"{site}{BOARD}trends/?by=name&measure=events")
        settle(page)
        before = page.locator(".lb-line").count()
        page.locator(".lb-legend a").first.click()
        page.wait_for_url("**hide=0")
        settle(page)
        assert page.locator(".lb-line").count() == before - 1
        page.locator(".lb-hit").nth(3).hover()
        assert page.locator(".lb-tip").is_visible()
        assert page.locator(".lb-tip").inner_text().split("\n")[0] in page.locator(".lb-data").inner_html()

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_a_funnel_is_built_by_hand(chromium: Chromium, site: str, admin: list[dict[str, Any]]) -> None:
    """Steps with a condition; names and fields are proposed, people stand behind the numbers."""

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}funnel/")
        settle(page)
        page.get_by_text("Leave out who did something in between…").click()
        said = page.locator("label", has_text="after step").bounding_box()
        assert said is not None
        assert said["width"] > 40  # a number without a word says nothing to who sees
        page.locator("#lb-s1").focus()
        page.wait_for_selector("#lb-names option[value='signed-up']", state="attached")
        page.locator("#lb-s1").fill("signed-up")
        page.locator("#lb-s2").fill("order-paid")
        page.locator(".lb-stepper").nth(1).locator("summary").click()
        page.locator("#lb-s2p").fill("params.total")
        page.locator("#lb-s2o").select_option("ge")
        page.locator("#lb-s2v").fill("20")
        page.get_by_role("button", name="Show the funnel").click()
        settle(page)
        assert "25.0%" in texts(page, ".lb-headline")[0]
        page.get_by_role("link", name="2 people").click()
        settle(page)
        assert sorted(texts(page, ".lb-people a")) == ["1", "2"]
        page.locator(".lb-people a").first.click()
        settle(page)
        page.locator(".lb-timeline summary").first.click()
        assert "total" in page.locator(".lb-event").first.inner_text()

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_what_happens_is_seen_within_three_seconds(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    """The live view asks by itself, until it is told to pause."""
    from concurrent.futures import ThreadPoolExecutor

    ready: list[Any] = []

    def story(page: "Page") -> None:
        page.goto(f"{site}{BOARD}live/")
        settle(page)
        ready.append(True)
        page.wait_for_selector("text=just-now", timeout=3_000 + 5_000)  # a busy machine gets some more
        assert "lb-new" in (page.locator("tr", has_text="just-now").get_attribute("class") or "")
        page.get_by_role("button", name="Pause").click()
        assert page.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(chromium.tell, story, admin)
        while not ready and not told.done():
            pass
        store(event("just-now", user_id="1"))
        told.result()


def test_waiting_and_trouble_are_shown_in_place(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    """A skeleton while a panel is on its way; a server that is away, and one that does not know us any more."""

    def story(page: "Page") -> None:
        page.route("**/panel/chart/**", lambda route: route.abort())
        page.goto(f"{site}{BOARD}")
        page.wait_for_selector("text=The server does not answer.")
        page.unroute("**/panel/chart/**")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".lb-svg")
        held: list[Any] = []
        page.route("**/panel/figures/**", lambda route: held.append(route))  # noqa: PLW0108 - Playwright wants one of its own
        page.goto(f"{site}{BOARD}", wait_until="commit")
        page.wait_for_selector(".lb-skeleton-figures")
        page.wait_for_selector(".lb-svg")
        assert page.locator(".lb-skeleton-figures").is_visible()
        held[0].continue_()
        settle(page)
        page.unroute("**/panel/figures/**")
        page.context.clear_cookies()
        page.keyboard.press("r")
        page.wait_for_selector("text=You are not logged in any more.")

    chromium.tell(story, admin, viewport={"width": 1440, "height": 900})


def test_without_script_there_is_everything(
    chromium: Chromium, site: str, admin: list[dict[str, Any]]
) -> None:
    def story(page: "Page") -> None:
        for address in ("", "breakdown/?by=params.plan", f"funnel/?{STEPS}"):
            page.goto(f"{site}{BOARD}{address}")
            page.wait_for_url("**every=1*")
            assert page.locator(".lb-skeleton").count() == 0
            assert page.locator(".lb-table").count() + page.locator(".lb-funnel").count() > 0
        page.goto(f"{site}{BOARD}?every=1")
        page.get_by_role("link", name="signed-up").first.click()
        page.wait_for_url("**name=signed-up*")

    chromium.tell(story, admin, java_script_enabled=False)
