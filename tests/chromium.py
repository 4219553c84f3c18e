"""Chromium for the tests that look at pages as a person does: found, or installed under continuous integration.

The browser lives in a thread of its own, since Playwright's loop and Django's ORM do not share one: a test hands over
a story, a function that is given a page, and gets back what it returns.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.services import demanded

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["AXE", "Chromium", "find_chromium", "serious"]

T = TypeVar("T")
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def find_chromium() -> str:
    """Return the path of Chromium, or raise `LookupError` with the reason why there is none."""
    given = os.environ.get("LITTLEBRO_TEST_CHROMIUM")
    found = given or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and demanded() and os.geteuid() == 0 and shutil.which("apt-get"):
        for step in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *step], check=False, capture_output=True
            )
        found = shutil.which("chromium")
    if found is None:
        raise LookupError("Chromium is not installed (Debian: chromium), LITTLEBRO_TEST_CHROMIUM not set")
    return found


class Chromium:
    """One browser, in its own thread, from `start` to `stop`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chromium")
        self._browser: Any = None
        self._playwright: Any = None

    def start(self) -> None:
        """Start the browser; raises `LookupError` where there is none."""
        path = find_chromium()
        self._thread.submit(self._start, path).result()

    def _start(self, path: str) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=list(_FLAGS))

    def stop(self) -> None:
        """End the browser."""
        self._thread.submit(self._stop).result()
        self._thread.shutdown()

    def _stop(self) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def tell(self, story: Callable[["Page"], T], cookies: Sequence[dict[str, Any]] = (), **options: Any) -> T:
        """Run a story with a fresh page; `options` are those of Playwright's ``new_context``."""
        return self._thread.submit(self._tell, story, cookies, options).result()

    def _tell(self, story: Callable[["Page"], T], cookies: Sequence[Any], options: dict[str, Any]) -> T:
        context = self._browser.new_context(**options)
        try:
            context.set_default_timeout(30_000)  # milliseconds; a busy machine needs some
            context.add_cookies(list(cookies))
            return story(context.new_page())
        finally:
            context.close()


AXE: Final = """
async () => {
  const found = await axe.run(document.querySelector('#lb-board') || document);
  if (found.passes.length < 10) return [`axe looked at ${found.passes.length} rules only`];
  const where = (one) => one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ');
  return found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => `${one.id}: ${one.help}: ${where(one)}`);
}"""


def serious(page: "Page") -> list[str]:
    """Return what axe-core finds serious about the board, or a page without one."""
    from axe_playwright_python.base import AXE_FILE_PATH

    page.evaluate(AXE_FILE_PATH.read_text())  # not a script of the page's: its policy has no say
    found: list[str] = page.evaluate(AXE)
    return found
