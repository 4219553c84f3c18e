"""Without plugins a call never enters pluggy; with ten, each costs what one does."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from littlebro import tracker
from littlebro.delivery.base import BaseTracker
from littlebro.plugins import manager
from littlebro.testing import capture_events
from tests.installing import ENRICHER, Settings, Site, new_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def modules_called(call: Any) -> set[str]:
    """Return the modules of all functions that a call enters, as a profiler sees them."""
    seen: set[str] = set()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            seen.add(frame.f_globals.get("__name__", ""))

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("backend", ["memory", "thread"])
def test_without_plugins_no_frame_is_pluggys(settings: Settings, journal: Path, backend: str) -> None:
    """A profiler sees neither pluggy nor our own hook runner in a call of a site without plugins."""
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    entry: dict[str, Any] = {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": "hook-cost"}
    if backend == "thread":
        options = {"JOURNAL": str(journal), "SEAL_SECONDS": 60.0}
        entry = {"TRACKER": "thread", "BACKEND": "memory", "TRACKER_OPTIONS": options}
    settings.LITTLEBRO = {"default": entry}
    tracker.track_event("warm-up")
    seen = modules_called(lambda: tracker.track_event("order-paid", {"total": 42}))
    assert "littlebro.delivery.pipeline" in seen
    assert not {name for name in seen if name.partition(".")[0] == "pluggy"}
    assert not {name for name in seen if name.startswith("littlebro.plugins")}


def test_with_plugins_implementations_are_called_without_pluggy(site: Site, settings: Settings) -> None:
    """Pluggy finds the plugins once; a call goes straight to the implementation."""
    site.module("acme", ENRICHER)
    settings.LITTLEBRO_PLUGINS = ["acme"]
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "hook-cost"}}
    tracker.track_event("warm-up")
    seen = modules_called(lambda: tracker.track_event("order-paid"))
    assert "acme" in seen
    assert not {name for name in seen if name.partition(".")[0] == "pluggy"}


def test_a_capture_costs_one_look(settings: Settings) -> None:
    """Outside of tests the tap is None, on the class, and no call is made for it."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "hook-cost"}}
    tracker.track_event("warm-up")
    assert BaseTracker.tap is None
    assert "littlebro.testing.capture" not in modules_called(lambda: tracker.track_event("one"))
    with capture_events():
        assert "littlebro.testing.capture" in modules_called(lambda: tracker.track_event("one"))
