"""Makes the documentation's pictures of the dashboard: ``python -m tests.dashboard.screenshots``, `make screenshots`.

In: the demo's shop with its weeks of history, always up to the same moment, so that the same code gives the same
pictures. Out: one WebP a picture in docs/screenshots. Serves the shop from this process, and asks nothing of other
machines. Says in a sentence what is missing where it cannot work; refuses a page that is empty or tells of an error.
"""

import base64
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest import mock

import msgspec

from littlebro.demo.parts import Parts
from littlebro.demo.stage import open_folder, set_up
from tests.chromium import Chromium
from tests.dashboard.looks import overflow, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["SHOTS", "Shot", "main"]

FOLDER: Final = Path(__file__).resolve().parent.parent.parent / "docs/screenshots"
NOW: Final = datetime(2026, 3, 19, 19, 50, tzinfo=UTC)
QUALITY: Final = 80
MOST_BYTES: Final = 150_000
BOARD: Final = "/admin/littlebro/dashboard/"
TWO_WEEKS: Final = "since=2026-03-06&until=2026-03-19&compare=previous"
SIX_WEEKS: Final = "since=2026-02-09&until=2026-03-19"
STEPS: Final = "s1=product-viewed&s2=basket-added&s3=order-paid&window=7d"
MONEY: Final = "name=order-paid&measure=sum&value=params.total&by=params.delivery"

# What was painted part by part, as the panels came, differs by a shade from one run to the next.
REPAINT: Final = """
async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await document.fonts.ready;
  document.body.hidden = true;
  await frame();
  await frame();
  document.body.hidden = false;
  await frame();
  await frame();
}"""


class Shot(NamedTuple):
    """One picture: its file, its address below the dashboard's, and how it is looked at."""

    name: str
    address: str
    width: int = 1280
    most: int = 1100  # pixels of height; what is below is cut off
    scheme: str = "light"

    @property
    def look(self) -> dict[str, Any]:
        """The options of a browser's context."""
        return {
            "viewport": {"width": self.width, "height": self.most},
            "color_scheme": self.scheme,
            "reduced_motion": "reduce",
            "locale": "en-GB",
            "timezone_id": "UTC",
        }


SHOTS: Final = (
    Shot("overview", f"?{TWO_WEEKS}", most=1250),
    Shot("overview-dark", f"?{TWO_WEEKS}", most=1250, scheme="dark"),
    Shot("overview-narrow", f"?{TWO_WEEKS}", width=390, most=1320),
    Shot("trends", f"trends/?{MONEY}&{SIX_WEEKS}&interval=week&kind=bar"),
    Shot("breakdown", "breakdown/?name=product-viewed&by=params.product", most=900),
    Shot("funnel", f"funnel/?{STEPS}"),
    Shot("retention", f"retention/?{SIX_WEEKS}&start=page-accessed&period=week&periods=6"),
    Shot("paths", "paths/"),
    Shot("people", "people/", most=800),
    Shot("person", "person/?who=u:{customer}"),
    Shot("live", "live/", most=900),
)


class NotPresentable(Exception):
    """No picture can be made, or a page is not what one should show."""


def main() -> int:
    """Make every picture; return 0, or 2 with a sentence on stderr where something is missing or wrong."""
    browser = Chromium()
    try:
        _start(browser)
        with open_folder(None) as folder, mock.patch("django.utils.timezone.now", return_value=NOW):
            password = set_up(folder, Parts())
            customer = tell_history(folder, password)
            with serving() as site:
                for shot in SHOTS:
                    story = _story(shot, site, password, customer)
                    _keep(shot, browser.tell(story, **shot.look))
    except NotPresentable as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 2
    finally:
        browser.stop()
    return 0


def _start(browser: Chromium) -> None:
    """Start the browser; raises `NotPresentable` that says what to install."""
    try:
        browser.start()
    except ModuleNotFoundError as error:
        raise NotPresentable(
            f'{error.name} is not installed: pip install "django-littlebro[test]"'
        ) from error
    except LookupError as error:
        raise NotPresentable(f"{error}: install it, or name its program in that variable") from error
    except Exception as error:  # Playwright's own, which cannot be imported where it is missing
        reason = str(error).strip().partition("\n")[0]
        raise NotPresentable(f"Chromium does not start; is it installed? {reason}") from error


def tell_history(folder: Path, password: str) -> str:
    """Import the weeks up to `NOW`, with their milestones; return the user id of the best customer."""
    from littlebro.demo import accounts, history
    from littlebro.importing import Importer, open_source
    from littlebro.models import Annotation

    events = list(history.weeks(NOW, accounts.create_regulars(password)))
    file = folder / "history.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    with open_source(str(file)) as source:
        Importer("jsonl").run(source)
    for days, text in history.MILESTONES:
        Annotation.objects.create(at=NOW - timedelta(days=days), text=text, author=accounts.ADMIN)
    orders = Counter(event["user_id"] for event in events if event["name"] == "order-paid")
    return str(orders.most_common(1)[0][0])


@contextmanager
def serving() -> Iterator[str]:
    """Serve the shop from threads of this process, which records nothing of the visit; give its address."""
    from django.core.servers.basehttp import ThreadedWSGIServer
    from django.test import override_settings
    from django.test.testcases import QuietWSGIRequestHandler

    from littlebro.demo.wsgi import application

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, name="shop")
    thread.start()
    try:
        with override_settings(LITTLEBRO_MIDDLEWARE_IGNORE=["/"]):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _story(shot: Shot, site: str, password: str, customer: str) -> Callable[["Page"], bytes]:
    def story(page: "Page") -> bytes:
        address = f"{site}{BOARD}{shot.address.format(customer=customer)}"
        page.goto(f"{site}/admin/login/")
        page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
        page.locator("[name=username]").fill("admin")
        page.locator("[name=password]").fill(password)
        page.locator("[type=submit]").click()
        page.wait_for_url("**/admin/")
        page.goto(address)
        settle(page)
        _judge(shot, page)
        height = int(page.evaluate("document.querySelector('#lb-board').getBoundingClientRect().bottom"))
        page.set_viewport_size({"width": shot.width, "height": min(height + 24, shot.most)})
        page.evaluate(REPAINT)
        taken = page.context.new_cdp_session(page).send(
            "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
        )
        return base64.b64decode(taken["data"])

    return story


def _judge(shot: Shot, page: "Page") -> None:
    faults: Sequence[str] = page.locator(".lb-error, .lb-problem, .lb-empty").all_inner_texts()
    if faults:
        raise NotPresentable(f"the page of {shot.name} says: {' '.join(faults[0].split())}")
    if page.locator("[data-lb-panel]").count() == 0:
        raise NotPresentable(f"the page of {shot.name} has no panel")
    if overflow(page) > 0:
        raise NotPresentable(f"the page of {shot.name} is wider than {shot.width} pixels")


def _keep(shot: Shot, picture: bytes) -> None:
    if len(picture) > MOST_BYTES:
        raise NotPresentable(f"the picture of {shot.name} has {len(picture):,} bytes; lower its height")
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{shot.name}.webp"
    file.write_bytes(picture)
    print(f"{file.relative_to(FOLDER.parent.parent)}  {len(picture):,} bytes")


if __name__ == "__main__":
    sys.exit(main())
