"""What a plugin may be and what it may not: each way of writing a hook that would not run is refused, with a reason."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from littlebro.delivery.handler import trackers
from littlebro.plugins import manager, registry
from littlebro.plugins.manager import Hooks, hooks
from tests.installing import ENRICHER, Settings, Site, enrich, new_site, reasons

GROUP = "littlebro.plugins"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def one(site: Site, settings: Settings, source: str) -> Hooks:
    """Load one listed plugin, the module `acme`, and no other."""
    site.module("acme", source)
    settings.LITTLEBRO_PLUGINS = ["acme"]
    settings.LITTLEBRO_PLUGINS_AUTOLOAD = False
    return hooks()


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

    class Alike(Plugin):
        def __eq__(self, other):
            return True
        __hash__ = None

    class Closed(Plugin):
        def __dir__(self):
            raise TypeError("cannot be looked at")

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
        ("made = 1", "acme.made is of the type int; a plugin is a module, an object or a class"),
        ("made = None", "acme.made is of the type NoneType; a plugin is"),
        (
            "class Text(str):\n    def __repr__(self): raise RuntimeError\nmade = Text('x')",
            "acme.made is of the type Text; a plugin is",
        ),
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
    """Whatever is stumbled over in looking at it becomes the reason."""
    site.module("acme", FORMS)
    settings.LITTLEBRO_PLUGINS = ["acme.Closed", "acme.plugin"]
    assert [plugin.name for plugin in hooks().loaded] == ["acme.plugin"]
    assert reasons(hooks())["acme.Closed"] == "TypeError: cannot be looked at"


@pytest.mark.parametrize("path", ["acme.Odd", "acme.Alike"])
def test_a_plugin_is_compared_with_no_other(site: Site, settings: Settings, path: str) -> None:
    """What one says of its likeness to others costs neither it nor them anything, in whatever order they come."""
    site.module("acme", FORMS)
    site.module("other", ENRICHER)
    for listed in ([path, "other", "acme.plugin"], ["other", path, "acme.plugin"]):
        settings.LITTLEBRO_PLUGINS = listed
        assert hooks().failures == ()
        assert [plugin.name for plugin in hooks().loaded] == listed


STRANGE = """
    class Panic(BaseException):
        pass

    class Mute(Exception):
        def __str__(self):
            return self.missing

    def fail():
        raise {error}

    class Plugin:
        def __init__(self):
            fail()

    class Closed:
        def __dir__(self):
            fail()
"""


@pytest.mark.parametrize(
    "error, reason",
    [("Panic('overflow')", "Panic: overflow"), ("Mute", "Mute"), ("SystemExit(3)", "SystemExit: 3")],
)
def test_whatever_a_plugin_raises_it_is_refused_alone(
    site: Site, settings: Settings, error: str, reason: str
) -> None:
    """A panic of a library in Rust, an exception that cannot say what it is, an exit: in import, making, looking at."""
    site.module("strange", STRANGE.format(error=error))
    site.module("acme", "import strange\nstrange.fail()")
    site.module("other", ENRICHER)
    settings.LITTLEBRO_PLUGINS = ["acme", "strange.Plugin", "strange.Closed", "other"]
    assert [plugin.name for plugin in hooks().loaded] == ["other"]
    assert reasons(hooks()) == {
        "acme": f"acme cannot be imported: {reason}",
        "strange.Plugin": f"strange.Plugin is a class, and Plugin() fails: {reason}",
        "strange.Closed": reason,
    }


@pytest.mark.parametrize(
    "home, stop",
    [
        ("builtins", "KeyboardInterrupt"),
        ("asyncio", "CancelledError"),
        ("gevent", "Timeout"),
        ("gevent", "GreenletExit"),
    ],
)
def test_a_stop_while_a_plugin_is_imported_passes(
    site: Site, settings: Settings, home: str, stop: str
) -> None:
    """Ctrl-C, a cancelled task, a greenlet out of time are no plugin's fault; the next call loads the plugins."""
    kind = getattr(pytest.importorskip(home), stop)
    site.module("acme", f"import {home}\nraise {home}.{stop}")
    settings.LITTLEBRO_PLUGINS = ["acme"]
    with pytest.raises(kind):
        hooks()
    settings.LITTLEBRO_PLUGINS = []
    assert hooks().failures == ()


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
