"""A part says which plugin interface it was written for; too new or nonsense is said by `check`, not by a traceback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from littlebro import tracker
from littlebro.checks import check_aliases, check_plugins
from littlebro.plugins import manager, registry
from tests.installing import ENRICHER, Settings, Site, new_site

PARTS = {
    "backends": ("BACKEND", "from littlebro_backends.memory import Backend as Base"),
    "trackers": ("TRACKER", "from littlebro_trackers.dummy import Tracker as Base"),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def stating(version: str) -> str:
    return f"\nlittlebro_api = {version}\n" + "\n".join(line[4:] for line in ENRICHER.splitlines())


@pytest.mark.parametrize(
    "version, reason",
    [
        ("2", "it states littlebro_api = 2, and this littlebro knows version 1: upgrade django-littlebro"),
        ("0", "littlebro_api must be a whole number from 1 on, not 0"),
        ("'1'", "littlebro_api must be a whole number from 1 on, not '1'"),
        ("1.5", "littlebro_api must be a whole number from 1 on, not 1.5"),
    ],
)
def test_check_says_of_a_plugin_that_it_does_not_fit(
    site: Site, settings: Settings, version: str, reason: str
) -> None:
    """A plugin for another interface is left out with a warning that says what to do; tracking goes on."""
    site.install("acme-tools", {"littlebro.plugins": {"acme": "acme"}}, {"acme": stating(version)})
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = ["acme"]
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "versions"}}
    (warning,) = [message for message in check_plugins() if message.id == "littlebro.W004"]
    assert warning.msg.startswith(f"Plugin acme (acme-tools) is not used: {reason}")
    call_command("check", "--tag", "littlebro")
    event = tracker.track_event("one")
    assert event is not None
    assert event.context == {}


@pytest.mark.parametrize("source", [stating("1"), ENRICHER])
def test_this_version_and_none_are_welcome(site: Site, settings: Settings, source: str) -> None:
    """A plugin for this interface, and one that states none (the first), are used without a word."""
    site.install("acme-tools", {"littlebro.plugins": {"acme": "acme"}}, {"acme": source})
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = ["acme"]
    assert check_plugins() == []
    assert [plugin.name for plugin in manager.hooks().loaded] == ["acme"]


@pytest.mark.parametrize("version", ["99", "None", "True"])
@pytest.mark.parametrize("kind", list(PARTS))
def test_check_says_of_a_part_that_it_does_not_fit(
    site: Site, settings: Settings, kind: Any, version: str
) -> None:
    """A tracker or backend for another interface is an error that names the alias, in `check` and at first use."""
    option, base = PARTS[kind]
    site.install(
        "acme-tools", {f"littlebro.{kind}": {"acme": "acme_parts:Part"}},
        {"acme_parts": f"{base}\n\n\nclass Part(Base):\n    littlebro_api = {version}\n"},
    )  # fmt: skip
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", option: "acme"}}
    (error,) = check_aliases()
    assert error.id == "littlebro.E003"
    assert error.msg.startswith(f"LITTLEBRO['default']: {option} 'acme' cannot be used: ")
    assert "littlebro_api" in error.msg
    with pytest.raises(SystemCheckError, match="littlebro_api"):
        call_command("check", "--tag", "littlebro")
    with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['default'\]: "):
        tracker.track_event("one")
    (part,) = [part for part in registry.installed(kind) if part.name == "acme"]
    assert "littlebro_api" in (part.error or "")
