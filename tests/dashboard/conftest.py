"""Each test of the dashboard begins without what a process remembers of a store; one Chromium serves a file."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client

from littlebro.dashboard.known import forget_known
from tests.chromium import Chromium
from tests.services import demanded

POLICY = f"{__name__}.strict_policy"


def strict_policy(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Say on every page that nothing but the site's own files may run or be shown."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return answer


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_known()
    yield
    forget_known()


# Not the session's: an idle browser would take a fifth of a processor from the tests to come.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give the browser; without one skip, or fail under continuous integration."""
    pytest.importorskip("playwright", reason="playwright is not installed; the extra 'test' brings it")
    browser = Chromium()
    try:
        browser.start()
    except LookupError as error:
        if demanded():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield browser
    browser.stop()


@pytest.fixture
def site(live_server: Any, settings: Any) -> str:
    """Give the address of a site under a strict policy."""
    settings.MIDDLEWARE = [POLICY, *settings.MIDDLEWARE]
    return str(live_server.url)


def cookies_of(user: User, address: str) -> list[dict[str, Any]]:
    """Return the cookies of a browser in which the user is logged in."""
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    return [{"name": name, "value": client.cookies[name].value, "url": address}]
