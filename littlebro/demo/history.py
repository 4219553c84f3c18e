"""The weeks before the demo: what the shop's visitors did until now, in the shape in which the shop tells it.

A moment and a few accounts go in, JSON lines come out, for the import. The same accounts and moment give the same
weeks: a rhythm of days and hours, slow growth, people who come back, who look around for a while before they log in,
a newsletter that brought some, and a better checkout half way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from littlebro.demo.catalogue import CATEGORIES, CURRENCY, PRODUCTS, find
from littlebro.demo.visitors import AGENTS, CAME_FROM, DELIVERIES, WORDS

__all__ = ["DAYS", "MARK", "MILESTONES", "lines", "weeks"]

DAYS: Final = 42
MARK: Final = "littlebro-demo/history"
"""Ends every User-Agent here, as the marks of visitors end theirs."""

_NEWSLETTER, _CHECKOUT = 19, 11
MILESTONES: Final = (
    (_NEWSLETTER, "Newsletter: gifts for dark evenings"),
    (_CHECKOUT, "Checkout without the second page"),
)
"""Days before the demo's start, and what happened then."""

_NEW_A_DAY: Final = 22.0
_GROWTH: Final = 1.017
_WEEK: Final = (1.05, 1.1, 1.1, 1.0, 0.9, 0.7, 0.8)
_HOURS: Final = (2, 1, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 8, 7, 7, 7, 8, 10, 12, 13, 11, 7, 4)
_FAVOURITES: Final = ("first-flush", "desk-lamp", "pocket-notebook", "fern", "night-mint", "bee-candle")


@dataclass(slots=True)
class _Person:
    """One person: a browser with its cookie, and perhaps, one day, an account."""

    anonymous_id: str
    agent: str
    came_from: str
    network: str
    account: str | None = None
    basket: dict[str, int] = field(default_factory=dict)


class _Visit:
    """One visit: pages one after the other, and what the shop tells about them."""

    def __init__(
        self,
        person: _Person,
        start: datetime,
        chance: random.Random,
        free: list[str],
        *,
        quick_checkout: bool,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self._person = person
        self._now = start
        self._chance = chance
        self._free = free
        self._finish = 0.68 if quick_checkout else 0.47
        self._referrer = person.came_from
        self._known = False

    def take_place(self) -> None:
        """Look around, put things into the basket, perhaps log in and pay."""
        person, chance = self._person, self._chance
        self._page("/", "")
        if person.account and chance.random() < 0.6:
            self._page("/log-in/", "log-in/")
            self._log_in()
        for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
            chance.choice((self._shelf, self._shelf, self._search, self._front))()
            if chance.random() < 0.7:
                slug = chance.choice(_FAVOURITES if chance.random() < 0.4 else list(PRODUCTS))
                self._view(f"/product/{slug}/", "product/<slug:slug>/", "product-viewed", {"product": slug})
                if chance.random() < 0.25:
                    self._take(slug)
        if person.basket and chance.random() < 0.75:
            self._page("/basket/", "basket/")
            if chance.random() < self._finish and (person.account or self._free):
                self._check_out()

    def _shelf(self) -> None:
        slug = self._chance.choice(list(CATEGORIES))
        self._view(f"/category/{slug}/", "category/<slug:slug>/", "category-viewed", {"category": slug})

    def _front(self) -> None:
        self._page(*(("/summer-sale/", "", 404) if self._chance.random() < 0.06 else ("/", "", 200)))

    def _search(self) -> None:
        words = self._chance.choice(WORDS)
        self._tell("searched", {"words": words, "found": len(find(words))})
        self._page("/search/", "search/")

    def _take(self, slug: str) -> None:
        basket = self._person.basket
        basket[slug] = min(basket.get(slug, 0) + 1, 9)
        price = PRODUCTS[slug].cents / 100
        self._tell("basket-added", {"product": slug, "price": price, "in_basket": basket[slug]})
        self._page(f"/basket/add/{slug}/", "basket/add/<slug:slug>/", 302, "POST")
        self._page("/basket/", "basket/")

    def _log_in(self) -> None:
        self._person.account = self._person.account or self._free.pop()
        self._known = True
        self._tell("logged-in", {})
        self._page("/log-in/", "log-in/", 302, "POST")

    def _check_out(self) -> None:
        if not self._known:
            self._page("/checkout/", "checkout/", 302)
            self._page("/log-in/", "log-in/")
            self._log_in()
        self._page("/checkout/", "checkout/")
        bought = [
            {"product": slug, "quantity": number, "price": PRODUCTS[slug].cents / 100}
            for slug, number in self._person.basket.items()
        ]
        order = f"{self._chance.getrandbits(32):08x}"
        self._tell(
            "order-paid",
            {
                "order": order,
                "total": sum(PRODUCTS[slug].cents * number for slug, number in self._person.basket.items())
                / 100,
                "currency": CURRENCY,
                "delivery": self._chance.choice(DELIVERIES),
                "items": bought,
            },
        )
        self._person.basket.clear()
        self._page("/checkout/", "checkout/", 302, "POST")
        self._page(f"/thanks/{order}/", "thanks/<slug:order>/")

    def _view(self, path: str, route: str, name: str, params: dict[str, Any]) -> None:
        self._tell(name, {**self._request(path, route, 200, "GET"), **params})
        self._page(path, route)

    def _page(self, path: str, route: str, status: int = 200, method: str = "GET") -> None:
        self._tell("page-accessed", self._request(path, route, status, method))
        self._referrer = f"https://shop.example{path}"
        self._now += timedelta(
            seconds=0.3 if status == 302 else min(4 + self._chance.expovariate(1 / 28), 600)
        )

    def _request(self, path: str, route: str, status: int, method: str) -> dict[str, Any]:
        took = round(self._chance.lognormvariate(2.2, 0.6), 3)
        return {"path": path, "method": method, "route": route, "status": status, "duration_ms": took}

    def _tell(self, name: str, params: dict[str, Any]) -> None:
        self._now += timedelta(microseconds=self._chance.randint(200, 900))
        context = {"ip": self._person.network, "user_agent": self._person.agent}
        if self._referrer:
            context["referrer"] = self._referrer
        moment = self._now.isoformat()
        self.events.append(
            {
                "name": name,
                "timestamp": moment,
                "received_at": moment,
                "params": params,
                "context": context,
                "user_id": self._person.account if self._known else None,
                "anonymous_id": self._person.anonymous_id,
            }
        )


def weeks(end: datetime, accounts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of `DAYS` days up to `end`, an aware moment, in the order of time.

    `accounts` are user ids; the people beyond them never log in.
    """
    chance = random.Random(7)
    free = list(reversed(accounts))
    today = end.replace(hour=0, minute=0, second=0, microsecond=0)
    coming: list[list[_Person]] = [[] for _ in range(DAYS + 1)]
    found: list[dict[str, Any]] = []
    for number in range(DAYS + 1):
        day, before = today - timedelta(days=DAYS - number), DAYS - number
        crowd = coming[number] + [
            _stranger(chance, before) for _ in range(_new_people(chance, day, number, before))
        ]
        for person in crowd:
            visit = _Visit(person, _moment(chance, day), chance, free, quick_checkout=before <= _CHECKOUT)
            visit.take_place()
            found += visit.events
            if chance.random() < (0.7 if person.account else 0.4):
                person.came_from = ""
                again = number + max(1, round(chance.lognormvariate(1.1, 0.7)))
                if again <= DAYS:
                    coming[again].append(person)
    limit = end.isoformat()
    yield from sorted(
        (each for each in found if each["timestamp"] < limit), key=lambda each: each["timestamp"]
    )


def lines(end: datetime, accounts: Sequence[str]) -> Iterator[bytes]:
    """Yield `weeks` as lines of a file."""
    for event in weeks(end, accounts):
        yield msgspec.json.encode(event) + b"\n"


def _new_people(chance: random.Random, day: datetime, number: int, before: int) -> int:
    mean = _NEW_A_DAY * _GROWTH**number * _WEEK[day.weekday()] * chance.uniform(0.88, 1.12)
    if before in {_NEWSLETTER, _NEWSLETTER - 1}:
        mean *= 1.7 if before == _NEWSLETTER else 1.3
    return round(mean)


def _stranger(chance: random.Random, before: int) -> _Person:
    came_from = chance.choice(CAME_FROM)
    if before in {_NEWSLETTER, _NEWSLETTER - 1} and chance.random() < 0.5:
        came_from = "https://news.example/gifts"
    return _Person(
        anonymous_id=f"{chance.getrandbits(128):032x}",
        agent=f"{chance.choice(AGENTS)} {MARK}",
        came_from=came_from,
        network=f"203.0.113.{chance.randrange(0, 256, 16)}",
    )


def _moment(chance: random.Random, day: datetime) -> datetime:
    hour = chance.choices(range(24), _HOURS)[0]
    return day + timedelta(hours=hour, seconds=chance.uniform(0, 3600))
