"""The shop's visitors: a few threads that play one person after the other, over HTTP alone, at a bounded pace.

Each looks around, searches, puts things into a basket, perhaps logs in and pays; what they did is in the ledger.
They follow the links and forms that the pages show.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from littlebro.demo.browser import Address, Answer, Browser, NoAnswer
from littlebro.demo.ledger import Ledger

__all__ = ["AGENTS", "CAME_FROM", "DELIVERIES", "WORDS", "Crowd", "Pace", "Visitor"]

WORDS = (
    "tea",
    "lamp",
    "paper",
    "green tea",
    "notebook",
    "pot",
    "pen",
    "light",
    "ink",
    "fern",
    "gift",
    "bicycle",
    "mint",
)
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile",
)
CAME_FROM = (
    "",
    "",
    "https://search.example/",
    "https://social.example/post/7",
    "https://news.example/gifts",
)
DELIVERIES = ("post", "post", "bicycle", "pick-up")


class _ClosingTime(Exception):
    """The demo ends: leave before the next request."""


class Pace:
    """Lets all visitors together make so many requests a second, unevenly, as people do."""

    def __init__(self, requests_a_second: float, stop: threading.Event) -> None:
        self._gap = 1 / requests_a_second
        self._stop = stop
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, chance: random.Random) -> None:
        """Wait for one's turn; raises `_ClosingTime` once the demo ends."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap * chance.uniform(0.2, 1.8)
        if self._stop.wait(max(turn - time.monotonic(), 0)):
            raise _ClosingTime


@dataclass(slots=True)
class Visitor:
    """One person: a browser, a mood, and perhaps an account."""

    browser: Browser
    ledger: Ledger
    pace: Pace
    chance: random.Random
    name: str
    password: str
    logged_in: bool = False
    has_basket: bool = False
    page: Answer = field(default_factory=lambda: Answer(0, "", ""))

    def visit(self) -> None:
        """Come in, do what visitors do, and leave."""
        self.open("/")
        if self.chance.random() < 0.15:
            self.open("/log-in/")
            self.log_in()
        for _ in range(self.chance.randint(2, 6)):
            self.chance.choice((self.look_around, self.look_around, self.search, self.get_lost))()
            if self.look_closer() and self.chance.random() < 0.4:
                self.take()
        if self.has_basket:
            self.open("/basket/")
            if self.chance.random() < 0.6:
                self.check_out()
        if self.logged_in and self.chance.random() < 0.5:
            self.send("/log-out/", {})
            self.follow()

    def open(self, path: str) -> None:
        """Go to a page of the shop."""
        self.pace.wait(self.chance)
        self.page = self.browser.get(path)

    def send(self, path: str, fields: dict[str, str]) -> bool:
        """Send a form of the page one is on; tell whether the shop took it (and now sends one elsewhere)."""
        self.pace.wait(self.chance)
        self.page = self.browser.post(path, self.page.token, fields)
        return self.page.status == 302

    def follow(self) -> None:
        """Go where the shop sends one."""
        if self.page.location:
            self.open(self.page.location)

    def look_around(self) -> None:
        """Look at one shelf."""
        self.open(self.chance.choice(self.page.links("/category/") or ["/category/tea/"]))
        self.ledger.did("category-viewed")

    def search(self) -> None:
        """Search for something, which the shop may not have."""
        self.open("/search/?" + urlencode({"q": self.chance.choice(WORDS)}))
        self.ledger.did("searched")

    def get_lost(self) -> None:
        """Now and then follow a link from elsewhere that leads nowhere; mostly just go back to the front."""
        self.open("/summer-sale/" if self.chance.random() < 0.2 else "/")

    def look_closer(self) -> bool:
        """Look at one of the things on the page, if there are any."""
        things = self.page.links("/product/")
        if not things:
            return False
        self.open(self.chance.choice(things))
        self.ledger.did("product-viewed")
        return True

    def take(self) -> None:
        """Put what one looks at into the basket."""
        form = self.browser.at.replace("/product/", "/basket/add/", 1)
        if self.send(form, {}):
            self.ledger.did("basket-added")
            self.has_basket = True
        else:
            self.ledger.trouble(f"POST {form}: the shop answered {self.page.status} instead of taking it")
        self.follow()

    def log_in(self) -> None:
        """Log in on the log-in page one is on, and go where it leads."""
        _, _, then = self.browser.at.partition("?next=")
        fields = {"username": self.name, "password": self.password, "next": then}
        if self.send("/log-in/", fields):
            self.ledger.did("logged-in")
            self.logged_in = True
        else:
            self.ledger.trouble(f"POST /log-in/: {self.name} was not let in: {self.page.status}")
        self.follow()

    def check_out(self) -> None:
        """Pay for the basket; who has not logged in yet is asked to."""
        self.open("/checkout/")
        if self.page.location:
            self.follow()
            self.log_in()
        if self.send("/checkout/", {"delivery": self.chance.choice(DELIVERIES)}):
            self.ledger.did("order-paid")
            self.has_basket = False
        else:
            self.ledger.trouble(
                f"POST /checkout/: the shop answered {self.page.status} instead of taking the order"
            )
        self.follow()


class Crowd:
    """The threads that play the visitors; bounded in number and, together, in pace."""

    def __init__(
        self,
        address: Address,
        names: Sequence[str],
        password: str,
        *,
        threads: int,
        requests_a_second: float,
        mark: str,
    ) -> None:
        """Get ready; nobody comes before start().

        Args:
            address: where the shop listens.
            names, password: the customers' accounts, all with one password.
            threads: how many visitors are in the shop at once.
            requests_a_second: how many requests all of them together make.
            mark: ends every visitor's User-Agent, so that their events can be told from other people's.
        """
        self.ledger = Ledger()
        self._address = address
        self._names = tuple(names)
        self._password = password
        self._mark = mark
        self._stop = threading.Event()
        self._pace = Pace(requests_a_second, self._stop)
        self._threads = [
            threading.Thread(target=self._keep_visiting, name=f"visitor-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Let them in."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish the request it is at, and wait until all have left."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _keep_visiting(self) -> None:
        chance = random.Random()
        while not self._stop.is_set():
            try:
                self._someone(chance).visit()
            except _ClosingTime:
                return
            except NoAnswer:
                # Already in the ledger; wait a little, since the next one would fare alike.
                self._stop.wait(1.0)
            except Exception as error:  # noqa: BLE001 - a thread's error would go unseen; the summary shows it
                self.ledger.trouble(f"a visitor stumbled: {type(error).__name__}: {error}")
                self._stop.wait(1.0)

    def _someone(self, chance: random.Random) -> Visitor:
        agent = f"{chance.choice(AGENTS)} {self._mark}"
        browser = Browser(self._address, agent, self.ledger, chance.choice(CAME_FROM))
        return Visitor(browser, self.ledger, self._pace, chance, chance.choice(self._names), self._password)
