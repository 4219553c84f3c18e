"""A visitor's browser, as far as the demo needs one: real HTTP, cookies, forms with their CSRF token.

Paths and fields go in, answers come out, and each request that was answered is written into the ledger. Knows
nothing of Django and nothing of littlebro.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from typing import NamedTuple
from urllib.parse import urlencode

from littlebro.demo.ledger import Ledger

__all__ = ["Address", "Answer", "Browser", "NoAnswer"]

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_LINK = re.compile(r'href="(/[^"#]*)"')
# Long, because a demo may run on a busy machine, and an unanswered request is one that nobody can account for.
_PATIENCE_SECONDS = 60.0


class NoAnswer(Exception):
    """A request of which nobody knows whether the shop has seen it."""


class Address(NamedTuple):
    """Where the shop listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the page, and where it sends the visitor (`location`, empty if nowhere)."""

    status: int
    page: str
    location: str

    def links(self, prefix: str) -> list[str]:
        """List the addresses on the page that start with the prefix, each once, in the page's order."""
        found = (html.unescape(link) for link in _LINK.findall(self.page))
        return list(dict.fromkeys(link for link in found if link.startswith(prefix)))

    @property
    def token(self) -> str:
        """Return the CSRF token of the page's forms; empty if it has none."""
        found = _TOKEN.search(self.page)
        return found.group(1) if found else ""


@dataclass(slots=True)
class Browser:
    """One visitor's cookies, name and trail; a new one is somebody the shop has never seen."""

    address: Address
    user_agent: str
    ledger: Ledger
    referrer: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    at: str = "/"

    def get(self, path: str) -> Answer:
        """Open a page.

        Raises:
            NoAnswer: the connection broke, or nothing came within a minute.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, token: str, fields: Mapping[str, str]) -> Answer:
        """Send a form, with the token of the page it stood on. Raises: see get()."""
        return self._ask("POST", path, urlencode({**fields, "csrfmiddlewaretoken": token}))

    def _ask(self, method: str, path: str, body: str | None) -> Answer:
        headers = {"User-Agent": self.user_agent, "Accept": "text/html", "Connection": "close"}
        if self.referrer:
            headers["Referer"] = self.referrer
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        # A connection a request: a kept one may be closed by the server just as the next request is under way, and
        # then neither side knows whether it counts.
        connection = HTTPConnection(self.address.host, self.address.port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            page = response.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            self.ledger.unanswered(f"{method} {path}: {type(error).__name__}: {error}")
            raise NoAnswer from error
        finally:
            connection.close()
        self.ledger.answered(method, path, response.status)
        self._remember(response.headers.get_all("Set-Cookie", []))
        self.at = path
        self.referrer = f"http://{self.address.host}:{self.address.port}{path}"
        return Answer(response.status, page, response.headers.get("Location", ""))

    def _remember(self, lines: list[str]) -> None:
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
