"""Pages of plugins: shown to those who may see them, and one that fails takes nothing along."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from littlebro import hookimpl
from littlebro.checks import check_plugins
from littlebro.dashboard.plugins import added
from littlebro.plugins import Panel, manager
from tests.dashboard.site import BOARD, VIEW, staff

pytestmark = pytest.mark.django_db

WEATHER = Panel("weather", "Weather", "auth.view_group", "weather.html", lambda request: {"degrees": "<12>"})


class Weather:
    @hookimpl
    def littlebro_dashboard_panels(self) -> list[Panel]:
        return [WEATHER]


class Rival:
    @hookimpl
    def littlebro_dashboard_panels(self) -> list[Panel]:
        return [Panel("weather", "Rain", "auth.view_group", "weather.html", lambda request: {})]


class Broken:
    @hookimpl
    def littlebro_dashboard_panels(self) -> list[Panel]:
        raise RuntimeError("no weather today")


class Odd:
    @hookimpl
    def littlebro_dashboard_panels(self) -> Any:
        return ["weather"]


class Exit:
    @hookimpl
    def littlebro_dashboard_panels(self) -> list[Panel]:
        raise SystemExit(2)


# Names that our own page has, with other meanings.
NAMES = (
    "page",
    "request",
    "access",
    "question",
    "template",
    "slots",
    "views",
    "nav",
    "notes",
    "links",
    "html",
    "panel",
)


class Ordinary:
    @hookimpl
    def littlebro_dashboard_panels(self) -> list[Panel]:
        values: dict[Any, Any] = {**dict.fromkeys(NAMES, 3), "degrees": 7, 1: 2}
        return [Panel("ordinary", "Ordinary", "auth.view_group", "weather.html", lambda request: values)]


class Silent:
    @hookimpl
    def littlebro_dashboard_panels(self) -> None:
        return None


def use(settings: Any, *names: str) -> None:
    settings.LITTLEBRO_PLUGINS = [f"{__name__}.{name}" for name in names]
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    manager.reset()


@pytest.fixture
def weather_template(settings: Any, tmp_path: Any) -> None:
    (tmp_path / "weather.html").write_text("It is {{ degrees }}.")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]


def test_a_plugins_page_stands_beside_ours(client: Client, settings: Any, weather_template: None) -> None:
    use(settings, "Weather", "Silent")
    user = staff(VIEW)
    client.force_login(user)
    assert b"Weather" not in client.get(BOARD).content
    assert client.get(f"{BOARD}more/weather/").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert b"Weather" in client.get(BOARD).content
    page = client.get(f"{BOARD}more/weather/").content.decode()
    assert "It is &lt;12&gt;." in page
    assert 'aria-current="page"' in page
    user.user_permissions.remove(Permission.objects.get(codename="view_dashboard"))
    assert client.get(f"{BOARD}more/weather/").status_code == 403


def test_a_plugins_page_is_in_the_sites_language(
    admin_client: Client, settings: Any, weather_template: None
) -> None:
    """Ours are in English whatever the site speaks."""
    settings.LANGUAGE_CODE = "ar"
    use(settings, "Weather")
    page = admin_client.get(f"{BOARD}more/weather/").content.decode()
    assert 'id="lb-board" lang="en" dir="ltr"' in page
    assert '<section class="lb-panel" lang="ar" dir="rtl">' in page


def test_a_plugins_page_has_names_of_its_own(
    admin_client: Client, settings: Any, weather_template: None, tmp_path: Any
) -> None:
    """Whatever a plugin calls its values, they are what its template shows, and change nothing around it."""
    shown = " ".join(f"{name}={{{{ {name} }}}}" for name in NAMES)
    (tmp_path / "weather.html").write_text(
        f"It is {{{{ degrees }}}}, {shown}; {{{{ user }}}}{{{{ builder }}}}."
    )
    use(settings, "Ordinary")
    page = admin_client.get(f"{BOARD}more/ordinary/").content.decode()
    assert f"It is 7, {' '.join(f'{name}=3' for name in NAMES)}; admin." in page
    assert 'aria-current="page"' in page


def test_a_plugin_that_fails_takes_nothing_along(admin_client: Client, settings: Any) -> None:
    """The first of two wins; what is wrong is told, for the checks to say."""
    use(settings, "Broken", "Odd", "Exit", "Weather", "Rival")
    found = added()
    assert found.panels == {"weather": WEATHER}
    for text, problem in zip(
        ("RuntimeError: no weather today", "no list", "no panels: SystemExit: 2", "which is"),
        found.problems,
        strict=True,
    ):
        assert text in problem
    assert admin_client.get(BOARD).status_code == 200
    assert added() is found


def test_check_says_what_cannot_be_shown(settings: Any) -> None:
    use(settings, "Odd")
    found = check_plugins()
    assert [(message.id, "no list" in message.msg) for message in found] == [("littlebro.W005", True)]
