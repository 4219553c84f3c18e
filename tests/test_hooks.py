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
from django.core.management import call_command

from littlebro import hookimpl
from littlebro.delivery.handler import trackers
from littlebro.exceptions import PluginError
from littlebro.plugins import REMOVE, Panel, hookspecs, manager, registry
from littlebro.plugins.hookspecs import Remove
from littlebro.plugins.manager import Failure, Hooks, hooks
from littlebro.plugins.validation import SPECS
from tests.installing import Site, new_site

# The type of `settings` bears another name in each release of pytest-django.
Settings = Any

GROUP = "littlebro.plugins"
ENRICHER = """
    from littlebro import hookimpl

    @hookimpl
    def littlebro_enrich_event(alias, event, request):
        return {__name__: alias}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def enrich(found: Hooks) -> list[Any]:
    """Call every enricher as the pipeline does: with all arguments of the hook."""
    return [impl.function(alias="default", event=None, request=None) for impl in found.enrich_event]


def reasons(found: Hooks) -> dict[str, str]:
    return {failure.plugin: failure.reason for failure in found.failures}


def one(site: Site, settings: Settings, source: str) -> Hooks:
    """Load one listed plugin, the module `acme`, and no other."""
    site.module("acme", source)
    settings.LITTLEBRO_PLUGINS = ["acme"]
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    return hooks()


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


# What a plugin is

FORMS = """
    from littlebro import hookimpl

    class Plugin:
        def __init__(self):
            self.made = "itself"

        @hookimpl
        def littlebro_enrich_event(self, alias):
            return {alias: self.made}

    class Static:
        @staticmethod
        @hookimpl
        def littlebro_enrich_event(alias):
            return {alias: "itself"}

    class OfClass:
        made = "itself"

        @classmethod
        @hookimpl
        def littlebro_enrich_event(cls, alias):
            return {alias: cls.made}

    class Box:
        inner = Plugin()

    class Odd(Plugin):
        def __eq__(self, other):
            raise TypeError("cannot be compared")
        __hash__ = None

    plugin = Plugin()
"""


@pytest.mark.parametrize(
    "path", ["acme.Plugin", "acme.Static", "acme:OfClass", "acme.plugin", "acme:plugin", "acme:Box.inner"]
)
def test_a_plugin_is_a_module_an_object_or_a_class(site: Site, settings: Settings, path: str) -> None:
    """A class is made into an object without arguments; an object is taken as it is."""
    site.module("acme", FORMS)
    settings.LITTLEBRO_PLUGINS = [path]
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    assert hooks().failures == ()
    assert enrich(hooks()) == [{"default": "itself"}]


@pytest.mark.parametrize(
    "source, reason",
    [
        ("made = 1", "acme.made is 1; a plugin is a module, an object or a class"),
        ("made = None", "acme.made is None; a plugin is"),
        ("def made(): ...", "it implements no hook"),
        (
            "class made:\n    def __init__(self, settings): ...",
            "acme.made is a class, and made() fails: TypeError",
        ),
    ],
)
def test_what_is_no_plugin_says_so(site: Site, settings: Settings, source: str, reason: str) -> None:
    """A path that leads to something else is named, with what it leads to."""
    site.module("acme", source)
    settings.LITTLEBRO_PLUGINS = ["acme.made"]
    assert reasons(hooks())["acme.made"].startswith(reason)


def test_a_name_among_the_paths_is_pointed_out(site: Site, settings: Settings) -> None:
    """LITTLEBRO_PLUGINS takes paths; a plugin's name there is told its place."""
    site.install("tools", {GROUP: {"consent-banner": "consent_banner"}}, {"consent_banner": ENRICHER})
    settings.LITTLEBRO_PLUGINS = ["consent-banner"]
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    assert "names go into LITTLEBRO_PLUGINS_AUTOLOAD" in reasons(hooks())["consent-banner (listed)"]


# What is refused


def test_each_broken_plugin_is_refused_alone(site: Site) -> None:
    """One plugin of each broken kind beside a good one: the good one works, each other says what is wrong."""
    names = site.install_broken()
    found = hooks()
    assert [plugin.name for plugin in found.loaded] == ["good", "raises"]
    assert found.enrich_event[0].function(alias="default", event=None, request=None) == {"good": "default"}
    assert {failure.package for failure in found.failures} == {"littlebro-broken"}
    said = reasons(found)
    assert set(said) == set(names) - {"good", "raises"}
    hook = "littlebro_enrich_event(alias, event, request)"
    for name, text in {
        "async-hook": "littlebro_drop_event(alias, event, request) is async",
        "import-error": "cannot be imported: RuntimeError: the settings of this plugin are wrong",
        "import-exit": "cannot be imported: SystemExit: this is a script",
        "misspelt": "there is no hook 'littlebro_enrich_evnt'. Did you mean 'littlebro_enrich_event'?",
        "missing-library": 'pip install "littlebro-broken[geo]"',
        "newer-api": "it states littlebro_api = 99, and this littlebro knows version 1",
        "no-hook": "it implements no hook; there are littlebro_drop_event, ",
        "no-module": "No module named 'littlebro_broken.there_is_no_such_module'",
        "old-wrapper": "littlebro_enrich_event is a wrapper",
        "raises-in-init": "Plugin() fails: LookupError: no licence found",
        "unmarked": "littlebro_redact_event is not marked with @littlebro.hookimpl",
        "unmarked-misspelt": "there is no hook 'littlebro_redact_evnt'. Did you mean 'littlebro_redact_event'?",
        "wrapper": "littlebro_enrich_event is a wrapper",
        "wrong-signature": f"littlebro_enrich_event(alias, event, reqest): argument 'reqest' is not in the hook {hook}."
        " Did you mean 'request'?",
        "yields": "littlebro_enrich_event(alias, event) yields",
    }.items():
        assert text in said[name], name
    errors = {part.name: part.error for part in registry.installed("plugins")}
    assert errors == {**said, "good": None, "raises": None}


def test_broken_plugins_harm_neither_start_nor_tracking(
    site: Site, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all of them installed `check` passes and says why each is not used, and events are kept, enriched."""
    names = site.install_broken()
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": "memory"}}
    settings.LITTLEBRO_STRICT = False
    trackers.reset()
    call_command("check", "--tag", "littlebro")
    said = capsys.readouterr().err
    for name in set(names) - {"good", "raises"}:
        assert f"Plugin {name} (littlebro-broken) is not used: " in said
    event = trackers["default"].track_event("order-paid", {"total": 42})
    assert event is not None
    kept = trackers["default"].events().events
    assert [(item.id, item.params) for item in kept] == [(event.id, {"total": 42})]
    assert kept[0].context["good"] == "default"


def test_a_refused_plugin_leaves_nothing_behind(site: Site, settings: Settings) -> None:
    """One wrong hook refuses the plugin as a whole: its other hooks are not called."""
    site.install_broken()
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = ["misspelt"]
    assert enrich(hooks()) == []


@pytest.mark.parametrize(
    "source, reason",
    [
        (
            "def littlebro_enrich_event(*, alias, evnt): ...",
            "littlebro_enrich_event(*, alias, evnt): argument 'evnt' is not in the hook",
        ),
        (
            "class littlebro_enrich_event: ...",
            "littlebro_enrich_event is marked with @hookimpl, but is a type",
        ),
        (
            "@staticmethod\ndef littlebro_enrich_event(alias): ...",
            "littlebro_enrich_event has its @hookimpl above @staticmethod; write it below",
        ),
        ("async def littlebro_enrich_event(): yield", "littlebro_enrich_event() is async"),
        (
            "@functools.wraps(slow)\ndef littlebro_enrich_event(*args, **more): return slow(*args, **more)",
            "littlebro_enrich_event(alias, event) is async",
        ),
    ],
)
def test_other_forms_that_would_not_run_are_refused(
    site: Site, settings: Settings, source: str, reason: str
) -> None:
    """What pluggy would take in silence, or call wrongly, has a reason too."""
    head = "import functools\nfrom littlebro import hookimpl\nasync def slow(alias, event): ...\n@hookimpl\n"
    found = one(site, settings, head + source)
    assert found.loaded == ()
    assert reasons(found)["acme"].startswith(reason)


def test_a_plugin_for_a_newer_interface_is_refused_as_an_object_too(site: Site, settings: Settings) -> None:
    """An object states its version itself or by its module."""
    site.module("acme", FORMS + "\n    littlebro_api = 2\n")
    settings.LITTLEBRO_PLUGINS = ["acme.plugin"]
    assert "littlebro_api = 2" in reasons(hooks())["acme.plugin"]


def test_an_object_that_misbehaves_is_refused(site: Site, settings: Settings) -> None:
    """Whatever pluggy stumbles over becomes the reason."""
    site.module("acme", FORMS)
    settings.LITTLEBRO_PLUGINS = ["acme.plugin", "acme.Odd"]
    assert [plugin.name for plugin in hooks().loaded] == ["acme.plugin"]
    assert reasons(hooks())["acme.Odd"] == "TypeError: cannot be compared"


def test_what_only_starts_like_a_hook_is_left_alone(site: Site, settings: Settings) -> None:
    """Imported modules, the version and other texts may bear the prefix; a hook of later may be marked optional."""
    found = one(
        site,
        settings,
        """
        import littlebro_backends
        from littlebro import hookimpl
        from littlebro.plugins.hookspecs import littlebro_drop_event

        littlebro_api = 1
        littlebro_home = "https://example.com"

        @hookimpl(optionalhook=True)
        def littlebro_of_some_later_version(alias): ...

        @hookimpl(specname="littlebro_enrich_event")
        def add_facts(alias):
            return {"alias": alias}
        """,
    )
    assert found.failures == ()
    assert enrich(found) == [{"alias": "default"}]
    assert found.loaded[0].hooks == ("littlebro_enrich_event",)
    assert found.drop_event == ()


# What an implementation is given


@pytest.mark.parametrize(
    "signature, given",
    [
        ("", ()),
        ("event", (2,)),
        ("request, alias", (3, 1)),
        ("alias, event, request", (1, 2, 3)),
        ("*, event", (2,)),
        ("alias, /, event", (1, 2)),
        ("event, request=None", (2, 3)),
        ("event, later='default'", (2, "default")),
        ("**rest", ({"alias": 1, "event": 2, "request": 3},)),
        ("event, **rest", (2, {"alias": 1, "request": 3})),
        ("alias, /, **rest", (1, {"event": 2, "request": 3})),
        ("*rest", ((),)),
    ],
)
def test_an_implementation_is_given_what_it_declares(
    site: Site, settings: Settings, signature: str, given: tuple[Any, ...]
) -> None:
    """The core passes every argument; each implementation gets its own choice, a default one included."""
    names = [name.strip(" *").partition("=")[0] for name in signature.split(",")]
    names = [name for name in names if name.isidentifier()]
    source = f"""
        from littlebro import hookimpl

        @hookimpl
        def littlebro_enrich_event({signature}):
            return ({"".join(f"{name}, " for name in names)})
    """
    found = one(site, settings, source)
    assert found.failures == ()
    assert found.enrich_event[0].function(alias=1, event=2, request=3) == given


def test_a_full_signature_is_called_directly(site: Site, settings: Settings) -> None:
    """An implementation that declares every argument pays for no adapter."""
    found = one(site, settings, ENRICHER)
    assert found.enrich_event[0].function is sys.modules["acme"].littlebro_enrich_event


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
