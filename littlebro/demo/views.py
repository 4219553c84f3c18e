"""The shop's pages, and what they say happened in them.

Shows the doors of littlebro as a project would use them: the middleware (in the settings) sees every page, the
decorator marks views, and `tracker.track_event` tells what only the code knows.
Knows no tracker and no backend: which ones are used is a matter of the settings.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from littlebro import track_event, tracker
from littlebro.demo.catalogue import CATEGORIES, CURRENCY, PRODUCTS, Product, find, money

_DELIVERIES = {"post": "By post, two days", "bicycle": "By bicycle, today", "pick-up": "I pick it up"}


def shop(request: HttpRequest) -> dict[str, Any]:
    """Give every page the shelves and the number of things in the basket."""
    return {"categories": CATEGORIES.values(), "in_basket": sum(_quantities(request).values())}


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """Show a few things from every shelf."""
    chosen = [product for shelf in CATEGORIES.values() for product in shelf.products[:2]]
    return render(request, "shop/front.html", {"products": chosen})


@track_event("category-viewed", params=lambda _request, _response, slug: {"category": slug})
@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one shelf."""
    shelf = CATEGORIES.get(slug)
    if shelf is None:
        raise Http404(f"there is no shelf {slug!r}")
    return render(request, "shop/category.html", {"category": shelf, "products": shelf.products})


@track_event("product-viewed", params=lambda _request, _response, slug: {"product": slug})
@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one thing, and others from its shelf."""
    thing = _product(slug)
    others = [other for other in thing.category.products if other is not thing][:4]
    return render(request, "shop/product.html", {"product": thing, "products": others})


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Show what was found; only the view knows how much that was, so it tells the tracker itself."""
    words = request.GET.get("q", "").strip()
    found = find(words)
    if words:
        tracker.track_event("searched", {"words": words, "found": len(found)})
    return render(request, "shop/search.html", {"words": words, "products": found})


@require_safe
def basket(request: HttpRequest) -> HttpResponse:
    """Show what was put into the basket."""
    return render(request, "shop/basket.html", _bill(request))


@require_POST
def basket_add(request: HttpRequest, slug: str) -> HttpResponse:
    """Put one more of a thing into the basket."""
    thing = _product(slug)
    quantities = _quantities(request)
    quantities[slug] = min(quantities.get(slug, 0) + 1, 9)
    request.session["basket"] = quantities
    tracker.track_event(
        "basket-added", {"product": slug, "price": thing.cents / 100, "in_basket": quantities[slug]}
    )
    return redirect("basket")


@require_POST
def basket_remove(request: HttpRequest, slug: str) -> HttpResponse:
    """Take a thing out of the basket again."""
    quantities = _quantities(request)
    if quantities.pop(slug, None):
        request.session["basket"] = quantities
        tracker.track_event("basket-removed", {"product": slug})
    return redirect("basket")


@login_required
def checkout(request: HttpRequest) -> HttpResponse:
    """Ask how to deliver, then take the order."""
    bill = _bill(request)
    if not bill["lines"]:
        return redirect("basket")
    delivery = request.POST.get("delivery", "")
    if request.method != "POST" or delivery not in _DELIVERIES:
        return render(request, "shop/checkout.html", {**bill, "deliveries": _DELIVERIES})
    order = secrets.token_hex(4)
    del request.session["basket"]
    tracker.track_event(
        "order-paid",
        {
            "order": order,
            "total": bill["cents"] / 100,
            "currency": CURRENCY,
            "delivery": delivery,
            "items": [
                {
                    "product": line["product"].slug,
                    "quantity": line["quantity"],
                    "price": line["product"].cents / 100,
                }
                for line in bill["lines"]
            ],
        },
    )
    return redirect("thanks", order=order)


@require_safe
def thanks(request: HttpRequest, order: str) -> HttpResponse:
    """Say thank you."""
    return render(request, "shop/thanks.html", {"order": order})


class LogIn(LoginView):
    """Log a customer in; who that is, the event takes from the request."""

    template_name = "shop/log_in.html"

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Let in whoever gave the right password."""
        response = super().form_valid(form)
        tracker.track_event("logged-in")
        return response


def _product(slug: str) -> Product:
    thing = PRODUCTS.get(slug)
    if thing is None:
        raise Http404(f"nothing here is called {slug!r}")
    return thing


def _quantities(request: HttpRequest) -> dict[str, int]:
    """Copy the basket out of the session: product -> how many."""
    kept: Mapping[str, int] = request.session.get("basket", {})
    return dict(kept)


def _bill(request: HttpRequest) -> dict[str, Any]:
    """Work out what the basket costs: its `lines`, the sum in `cents`, and the `total` for people."""
    quantities = _quantities(request)
    chosen = [(PRODUCTS[slug], number) for slug, number in quantities.items() if slug in PRODUCTS]
    cents = sum(thing.cents * number for thing, number in chosen)
    lines = [
        {"product": thing, "quantity": number, "price": money(thing.cents * number)}
        for thing, number in chosen
    ]
    return {"lines": lines, "cents": cents, "total": money(cents)}
