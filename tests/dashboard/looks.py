"""How the tests look at pages: what a browser complains of, and whether all panels have come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Page

STEPS = "s1=signed-up&s2=order-paid"
PAGES = (
    "", "trends/?by=params.plan&compare=previous", "trends/?kind=bar&interval=week&range=90d",
    "breakdown/?by=params.path", f"funnel/?{STEPS}&by=params.plan&people=1", "retention/?start=signed-up",
    "paths/", "people/", "person/?who=u:1", "live/", "erase/?who=u:1", "trends/?range=never",
    '?f=["eq",["params","plan"],"team"]&name=signed-up',
)  # fmt: skip


class Complaints:
    """What the console of a page has said; a missing picture of the site is nobody's fault of ours."""

    def __init__(self, page: "Page") -> None:
        self.heard: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("dialog", self._refuse)

    def _hear(self, message: "ConsoleMessage") -> None:
        if message.type in {"error", "warning"} and "favicon" not in message.location.get("url", ""):
            self.heard.append(f"{message.type}: {message.text}")

    def _refuse(self, dialog: "Dialog") -> None:
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def settle(page: "Page") -> None:
    """Wait until every panel has its answer."""
    page.wait_for_selector("#lb-board")
    page.wait_for_selector(".lb-skeleton", state="detached")
    page.wait_for_selector("[aria-busy=true]", state="detached")


def overflow(page: "Page") -> int:
    """Return by how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def texts(page: "Page", selector: str) -> Sequence[str]:
    """Return what the elements say."""
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]
