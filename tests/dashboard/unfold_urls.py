"""The addresses of the site in the theme django-unfold: our pages in an admin site of the theme's own."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.urls import path
from unfold.sites import UnfoldAdminSite

site = UnfoldAdminSite(name="admin")
for _model, _options in admin.site._registry.items():
    site.register(_model, type(_options))

urlpatterns = [path("admin/", site.urls)]


def policy(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Allow the theme what it needs; no inline script, which it does not."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
        )
        return response

    return answer
