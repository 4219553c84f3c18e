"""The hooks of plugins: found, checked one by one, called in a known order; a broken one harms nobody."""

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from littlebro import hookimpl
from littlebro.exceptions import PluginError
from littlebro.plugins import REMOVE, Panel, hookspecs, manager, registry
from littlebro.plugins.hookspecs import Remove
from littlebro.plugins.manager import Failure, Hooks, hooks
from littlebro.plugins.validation import SPECS
from tests.installing import ENRICHER, Settings, Site, enrich, new_site, reasons

GROUP = "littlebro.plugins"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


# What is found


def test_no_plugin_costs_nothing(settings: Settings) -> None:
    """Without plugins every hook is empty."""
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    assert hooks() == Hooks()
    assert hooks() is hooks()


def test_an_installed_plugin_is_loaded_and_gone(site: Site) -> None:
    """A package just installed is found by the next look, with its version; removed, it is gone."""
    info = site.install("acme-tools", {GROUP: {"acme": "acme"}}, {"acme": ENRICHER}, version="2.3")
    assert enrich(hooks()) == [{"acme": "default"}]
    assert hooks().loaded == (
        manager.Loaded("acme", "acme", "acme-tools", "2.3", ("littlebro_enrich_event",), ()),
    )
    assert registry.installed("plugins") == [
        registry.Part("plugins", "acme", "acme", "acme-tools", "2.3", hooks=("littlebro_enrich_event",))
    ]
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    manager.reset()
    assert hooks() == Hooks()


def test_listed_plugins_come_first_then_the_others_by_name(site: Site, settings: Settings) -> None:
    """The order is the setting's, then that of names; tryfirst and trylast change nothing and are remarked on."""
    late = ENRICHER.replace("@hookimpl", "@hookimpl(tryfirst=True)")
    site.install("tools", {GROUP: {"b": "b", "c": "c", "a": "a"}}, {"a": ENRICHER, "b": ENRICHER, "c": late})
    site.module("z", ENRICHER)
    site.module("y", ENRICHER)
    settings.LITTLEBRO_PLUGINS = ["z", "y"]
    assert [impl.plugin_name for impl in hooks().enrich_event] == ["z", "y", "a", "b", "c"]
    remarks = {plugin.name: plugin.remarks for plugin in hooks().loaded}
    assert remarks["a"] == ()
    assert remarks["c"][0].startswith("tryfirst on littlebro_enrich_event has no effect")


@pytest.mark.parametrize(
    "autoload, loaded", [(True, ["a", "b"]), (False, []), (["b"], ["b"]), ({"a"}, ["a"])]
)
def test_autoload_chooses_among_the_installed(
    site: Site, settings: Settings, autoload: Any, loaded: list[str]
) -> None:
    """LITTLEBRO_PLUGINS_AUTOLOAD is all, none, or names; what is switched off is not even imported."""
    site.install("tools", {GROUP: {"a": "auto_a", "b": "auto_b"}}, {"auto_a": ENRICHER, "auto_b": ENRICHER})
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = autoload
    assert [plugin.name for plugin in hooks().loaded] == loaded
    assert {part.name: part.active for part in registry.installed("plugins")} == {
        "a": "a" in loaded,
        "b": "b" in loaded,
    }
    assert ("auto_a" in sys.modules) is ("a" in loaded)


def test_a_name_that_is_not_installed_is_a_failure(site: Site, settings: Settings) -> None:
    """A name in the setting without a plugin says which one was meant, and stops no other."""
    site.install("tools", {GROUP: {"consent": "consent"}}, {"consent": ENRICHER})
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = ["consnet", "consent"]
    assert [plugin.name for plugin in hooks().loaded] == ["consent"]
    assert "Did you mean 'consent'?" in reasons(hooks())["consnet"]


@pytest.mark.parametrize("path", ["acme", "acme:plugin", "acme.plugin", "acme.Plugin"])
@pytest.mark.parametrize("target", ["acme", "acme:plugin", "acme:Plugin"])
def test_listed_and_installed_is_registered_once(
    site: Site, settings: Settings, path: str, target: str
) -> None:
    """A plugin that is listed and found as well is one plugin, with the place of the listed one."""
    source = (
        ENRICHER
        + "\n    class Plugin:\n        littlebro_enrich_event = staticmethod(littlebro_enrich_event)\n"
    )
    site.module("other", ENRICHER)
    site.install("acme-tools", {GROUP: {"acme": target}}, {"acme": source + "\n    plugin = Plugin()\n"})
    settings.LITTLEBRO_PLUGINS = ["other", path, path]
    same = path.replace(":", ".") == target.replace(":", ".")
    assert len(hooks().loaded) == (2 if same else 3)
    second = hooks().loaded[1]
    name = "acme" if same else "acme (listed)" if path == "acme" else path
    assert (second.name, second.package) == (name, "acme-tools")


def test_the_same_object_under_two_names_is_registered_once(site: Site, settings: Settings) -> None:
    """A plugin that another module exports again is the same plugin."""
    site.module("other", "from acme import plugin")
    source = (
        ENRICHER
        + "\n    class Plugin:\n        littlebro_enrich_event = staticmethod(littlebro_enrich_event)\n"
    )
    site.install(
        "acme-tools", {GROUP: {"acme": "acme:plugin"}}, {"acme": source + "\n    plugin = Plugin()\n"}
    )
    settings.LITTLEBRO_PLUGINS = ["other.plugin"]
    assert [plugin.name for plugin in hooks().loaded] == ["other.plugin"]


def test_two_packages_with_one_name_are_both_named(site: Site, settings: Settings) -> None:
    """Neither is loaded until the setting lists the path of one; then the other stays out, and says so."""
    for name in ("acme", "other"):
        site.install(f"{name}-tools", {GROUP: {"consent": f"{name}_consent"}}, {f"{name}_consent": ENRICHER})
    assert hooks().loaded == ()
    assert [failure.package for failure in hooks().failures] == ["acme-tools", "other-tools"]
    assert all("acme-tools 1.0 and other-tools 1.0" in failure.reason for failure in hooks().failures)
    settings.LITTLEBRO_PLUGINS = ["other_consent"]
    manager.reset()
    assert [plugin.package for plugin in hooks().loaded] == ["other-tools"]
    assert "belongs to a plugin listed" in reasons(hooks())["consent"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("LITTLEBRO_PLUGINS", "acme"),
        ("LITTLEBRO_PLUGINS", [object()]),
        ("LITTLEBRO_PLUGINS", None),
        ("LITTLEBRO_PLUGINS_AUTOLOAD", "acme"),
        ("LITTLEBRO_PLUGINS_AUTOLOAD", 1),
        ("LITTLEBRO_PLUGINS_AUTOLOAD", [1]),
    ],
)
def test_a_setting_of_the_wrong_shape_is_an_error(settings: Settings, name: str, value: Any) -> None:
    """A text where a list belongs is not taken letter by letter."""
    setattr(settings, name, value)
    manager.reset()
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be "):
        hooks()


# Once a process


def test_threads_share_one_load(site: Site, settings: Settings) -> None:
    """Many threads at the first event load each plugin once."""
    site.module(
        "acme", "import time\ntime.sleep(0.05)\n" + "\n".join(line[4:] for line in ENRICHER.splitlines())
    )
    settings.LITTLEBRO_PLUGINS = ["acme"]
    found: list[Hooks] = []
    threads = [threading.Thread(target=lambda: found.append(hooks())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(item) for item in found}) == 1
    assert [plugin.name for plugin in found[0].loaded] == ["acme"]


def test_a_plugin_that_asks_for_hooks_while_it_is_imported_fails_alone(
    site: Site, settings: Settings
) -> None:
    """There is no ring: the plugin is refused with the reason, and the others load."""
    site.module("acme", "from littlebro.plugins.manager import hooks\nhooks()")
    site.module("other", ENRICHER)
    settings.LITTLEBRO_PLUGINS = ["acme", "other"]
    assert "must not track events while it is imported" in reasons(hooks())["acme"]
    assert [plugin.name for plugin in hooks().loaded] == ["other"]


def test_a_thread_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that never ends in another thread is an error here, in a bounded time."""
    monkeypatch.setattr(manager, "_PATIENCE", 0.05)
    manager.reset()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with manager._lock:
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    try:
        with pytest.raises(PluginError, match="still being loaded"):
            hooks()
    finally:
        done.set()
        holder.join()


def test_a_child_forked_during_a_load_has_its_own_lock() -> None:
    """The thread that loads does not exist in the child; its lock must not be waited for there."""
    code = """
import os, threading
from django.conf import settings
settings.configure()
from littlebro.plugins import manager
held, done = threading.Event(), threading.Event()
def hold():
    with manager._lock:
        held.set()
        done.wait(20)
thread = threading.Thread(target=hold)
thread.start()
held.wait(20)
child = os.fork()
if not child:
    manager.hooks()
    os._exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
thread.join()
print(status)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, capture_output=True, text=True, timeout=25
    )
    assert done.stdout.strip() == "7", done.stderr


def test_reset_loads_again(site: Site, settings: Settings) -> None:
    """After a reset the settings of then count."""
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    assert hooks().loaded == ()
    site.module("acme", ENRICHER)
    settings.LITTLEBRO_PLUGINS = ["acme"]
    manager.reset()
    assert [plugin.name for plugin in hooks().loaded] == ["acme"]


# What a plugin's author is promised


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_hook_is_documented(name: str) -> None:
    """Each hook says what each argument is, what it returns, and what becomes of an error."""
    text = inspect.getdoc(getattr(hookspecs, name)) or ""
    for argument in SPECS[name].arguments:
        assert f":param {argument}:" in text
    assert ":returns:" in text
    assert "raises" in text
    assert "alled" in text


def test_the_hooks_are_the_ones_promised() -> None:
    """Names and arguments are an interface: arguments are only ever added, at the end."""
    assert [str(spec) for spec in SPECS.values()] == [
        "littlebro_drop_event(alias, event, request)",
        "littlebro_enrich_event(alias, event, request)",
        "littlebro_redact_event(alias, event)",
        "littlebro_enrich_stored(alias, event)",
        "littlebro_events_stored(alias, events)",
        "littlebro_events_failed(alias, events, reason)",
        "littlebro_dashboard_panels()",
    ]
    for name in SPECS:
        assert getattr(Hooks(), name.removeprefix(hookspecs.PREFIX)) == ()


def test_remove_is_one_object() -> None:
    """REMOVE is itself after a copy and a pickle, so that a redactor may hand it through either."""
    assert copy.copy(REMOVE) is REMOVE
    assert copy.deepcopy({"key": [REMOVE]})["key"][0] is REMOVE
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(REMOVE, protocol)) is REMOVE
    assert repr(REMOVE) == "littlebro.plugins.REMOVE"
    assert isinstance(REMOVE, Remove)


def test_a_panel_cannot_be_changed() -> None:
    """A panel is a value."""
    panel = Panel("weather", "Weather", "shop.view_weather", "weather.html", lambda request: {})
    with pytest.raises(AttributeError):
        panel.slug = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "field, value",
    [
        ("slug", "The Weather"),
        ("slug", ""),
        ("slug", "-a"),
        ("title", ""),
        ("title", None),
        ("permission", "view_weather"),
        ("permission", None),
        ("template", ""),
        ("get_context", {}),
    ],
)
def test_a_panel_that_could_not_be_shown_is_refused(field: str, value: Any) -> None:
    """What the dashboard could not show is an error where the plugin makes it."""
    good = {
        "slug": "weather",
        "title": "Weather",
        "permission": "shop.view_weather",
        "template": "weather.html",
        "get_context": lambda request: {},
    }
    Panel(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=field):
        Panel(**{**good, field: value})


def test_hookimpl_is_public() -> None:
    """A plugin imports its mark from the top."""
    assert hookimpl is hookspecs.hookimpl
    assert Failure("a", "b", "c").version == ""
