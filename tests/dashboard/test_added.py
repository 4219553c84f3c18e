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


def test_a_plugin_that_fails_takes_nothing_along(admin_client: Client, settings: Any) -> None:
    """The first of two wins; what is wrong is told, for the checks to say."""
    use(settings, "Broken", "Odd", "Weather", "Rival")
    found = added()
    assert found.panels == {"weather": WEATHER}
    assert [("no weather today" in text, "no list" in text, "which is" in text) for text in found.problems] == [
        (True, False, False), (False, True, False), (False, False, True),
    ]  # fmt: skip
    assert admin_client.get(BOARD).status_code == 200
    assert added() is found


def test_check_says_what_cannot_be_shown(settings: Any) -> None:
    use(settings, "Odd")
    found = check_plugins()
    assert [(message.id, "no list" in message.msg) for message in found] == [("littlebro.W005", True)]
