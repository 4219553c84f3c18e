"""The demo's shop: its pages open, and what happens in them is told."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from littlebro.delivery.handler import trackers
from littlebro.demo import accounts, stage
from littlebro.demo.catalogue import CATEGORIES, PRODUCTS, find, money
from littlebro.events import EventQuery

SHOP = Path(stage.__file__).parent


@pytest.fixture
def shop(request: pytest.FixtureRequest, db: None) -> Iterator[Client]:
    """Serve the shop's pages to a test client, its events going to a store of this test's."""
    templates: list[dict[str, Any]] = [{**django_settings.TEMPLATES[0], "DIRS": [SHOP / "templates"]}]
    options = templates[0]["OPTIONS"]
    processors = [*options["context_processors"], "littlebro.demo.views.shop"]
    templates[0]["OPTIONS"] = {**options, "context_processors": processors}
    with override_settings(
        ROOT_URLCONF="littlebro.demo.urls",
        MIDDLEWARE=["littlebro.middleware.TrackerMiddleware", *django_settings.MIDDLEWARE],
        TEMPLATES=templates,
        LOGIN_URL="log-in",
        LOGIN_REDIRECT_URL="front",
        LOGOUT_REDIRECT_URL="front",
        LITTLEBRO={"default": {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": request.node.nodeid}},
    ):
        yield Client(raise_request_exception=False)


def told(user_id: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return what the shop itself told of (somebody), in order: all but what the middleware saw."""
    events = trackers["default"].events(EventQuery(user_id=user_id), 100).events
    return [(event.name, event.params) for event in events if event.name != "page-accessed"]


def test_every_page_of_the_shop_opens(shop: Client) -> None:
    """Each shelf, each product and each other page answers 200 to somebody who has just come in."""
    paths = ["/", "/search/", "/search/?q=tea", "/basket/", "/thanks/1f/", "/log-in/"]
    paths += [f"/category/{slug}/" for slug in CATEGORIES] + [f"/product/{slug}/" for slug in PRODUCTS]
    assert {path: shop.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_the_icon_that_browsers_ask_for(shop: Client) -> None:
    """The admin's pages name none: the shop's is theirs too."""
    assert shop.get("/favicon.ico").headers["Location"] == "/static/shop/icon.svg"
    assert (SHOP / "static/shop/icon.svg").exists()


def test_an_order_is_told_with_what_was_bought(shop: Client) -> None:
    """From a look at a product to the payment, every step is an event, and the order holds its items."""
    user = User.objects.create_user("ada", password="once")
    shop.get("/product/ledger/")
    for slug in ("ledger", "fern", "fern"):
        assert shop.post(f"/basket/add/{slug}/").headers["Location"] == "/basket/"
    shop.post("/basket/remove/ledger/")
    assert shop.get("/checkout/").headers["Location"] == "/log-in/?next=/checkout/"
    entered = shop.post("/log-in/", {"username": "ada", "password": "once", "next": "/checkout/"})
    assert entered.headers["Location"] == "/checkout/"
    assert "Pay €30.00" in shop.get("/checkout/").content.decode()
    assert shop.post("/checkout/", {"delivery": "by-dragon"}).status_code == 200
    assert shop.post("/checkout/", {"delivery": "bicycle"}).headers["Location"].startswith("/thanks/")

    assert [name for name, _ in told()] == [
        "product-viewed",
        "basket-added",
        "basket-added",
        "basket-added",
        "basket-removed",
        "logged-in",
        "order-paid",
    ]
    order = told()[-1][1]
    assert (order["total"], order["currency"], order["delivery"]) == (30.0, "EUR", "bicycle")
    assert order["items"] == [{"product": "fern", "quantity": 2, "price": 15.0}]
    assert [name for name, _ in told(str(user.pk))] == ["logged-in", "order-paid"]


def test_an_empty_basket_is_not_paid_for(shop: Client) -> None:
    """The checkout sends back who has nothing to pay for, and no order is told."""
    shop.force_login(User.objects.create_user("ben"))
    shop.post("/basket/remove/fern/")
    assert shop.post("/checkout/", {"delivery": "post"}).headers["Location"] == "/basket/"
    assert told() == []


def test_a_search_tells_how_much_was_found(shop: Client) -> None:
    """The words and the number of things found are in the event; an empty search is none."""
    shop.get("/search/?q=green+tea")
    shop.get("/search/?q=bicycle")
    shop.get("/search/?q=+")
    assert told() == [
        ("searched", {"words": "green tea", "found": len(find("green tea"))}),
        ("searched", {"words": "bicycle", "found": 0}),
    ]


def test_what_the_shop_does_not_have_is_not_found(shop: Client) -> None:
    """An unknown shelf or product is a 404 in the shop's own clothes."""
    for path in ("/category/hats/", "/product/top-hat/", "/summer-sale/"):
        answer = shop.get(path)
        assert answer.status_code == 404
        assert "not on our shelves" in answer.content.decode()
    assert shop.post("/basket/add/top-hat/").status_code == 404


def test_a_wrong_password_is_no_log_in(shop: Client) -> None:
    """Whoever is not let in is told so, and the tracker is told nothing."""
    assert (
        "do not belong together" in shop.post("/log-in/", {"username": "x", "password": "y"}).content.decode()
    )
    assert told() == []


def test_the_catalogue_is_of_one_piece() -> None:
    """Every product lies on one shelf under its own name, and prices are written with two digits."""
    assert sorted(product.slug for shelf in CATEGORIES.values() for product in shelf.products) == sorted(
        PRODUCTS
    )
    assert all(slug == product.slug for slug, product in PRODUCTS.items())
    assert (money(5), money(1290)) == ("€0.05", "€12.90")
    assert find("") == []


@pytest.mark.django_db
def test_accounts_are_made_once_and_get_the_new_password() -> None:
    """A second run on the same folder keeps the users and lets them in with its own password."""
    with override_settings(PASSWORD_HASHERS=["littlebro.demo.accounts.QuickHasher"]):
        accounts.create("first")
        accounts.create("second")
        assert User.objects.count() == len(accounts.CUSTOMERS) + 1
        assert User.objects.get(username=accounts.ADMIN, is_superuser=True).check_password("second")
        assert not User.objects.get(username="ada").is_staff
    assert accounts.new_password() != accounts.new_password()


def test_the_shops_settings_name_the_folder_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder the settings say which variable is missing."""
    monkeypatch.delenv("LITTLEBRO_DEMO_FOLDER", raising=False)
    with pytest.raises(ImproperlyConfigured, match="LITTLEBRO_DEMO_FOLDER is not set"):
        runpy.run_path(str(SHOP / "settings.py"))
