"""System checks: each id is given for what it is about, and for nothing else; checks touch no store unasked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from littlebro import tracker
from littlebro.delivery import BaseTracker, filesystem
from littlebro.middleware import TrackerMiddleware
from littlebro.plugins import manager
from littlebro_backends.memory import Backend as Memory
from tests.installing import Site, new_site

MEMORY = {"BACKEND": "memory", "LOCATION": "test_checks"}


def run(databases: list[str] | None = None) -> list[checks.CheckMessage]:
    """Return what `manage.py check` says about littlebro."""
    found = checks.run_checks(include_deployment_checks=True, databases=databases)
    return [message for message in found if str(message.id).startswith("littlebro.")]


@pytest.fixture(scope="module", autouse=True)
def _features(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let Django's own checks ask each database, once a process, for what they want to know of it."""
    with django_db_blocker.unblock():
        run()


def ids(**settings: Any) -> list[str]:
    with override_settings(**({"LITTLEBRO": {"default": MEMORY}} | settings)):
        return [str(message.id) for message in run()]


def only(**settings: Any) -> checks.CheckMessage:
    with override_settings(**({"LITTLEBRO": {"default": MEMORY}} | settings)):
        [message] = run()
    return message


def test_nothing_to_say_about_good_settings() -> None:
    """Right settings, and the defaults, give no message; and the project's own names are none of ours."""
    assert ids() == []
    assert ids(LITTLEBRO={}) == []
    assert (
        ids(LITTLEBROTHER_X=1, LITTLEBRO_SENSITIVE_KEYS={"a"}, LITTLEBRO_RESPECT=(), LITTLEBRO_STRICT=None)
        == []
    )
    assert (
        ids(LITTLEBRO_TRUSTED_PROXIES=["10.0.0.0/8"], LITTLEBRO_IP="full", LITTLEBRO_ANONYMOUS_COOKIE="aid")
        == []
    )


def test_e001_unknown_setting() -> None:
    """E001: a setting that does not exist, with the nearest that does."""
    message = only(LITTLEBRO_SENSITIV_KEYS=())
    assert (message.id, message.level) == ("littlebro.E001", checks.ERROR)
    assert "LITTLEBRO_SENSITIV_KEYS" in message.msg
    assert "Did you mean 'LITTLEBRO_SENSITIVE_KEYS'?" in message.msg


WRONG: dict[str, list[Any]] = {
    "LITTLEBRO_IP": ["none", None, True, ["off"]],
    "LITTLEBRO_TRUSTED_PROXIES": ["10.0.0.1", -1, [7], [["10."]], None, False, {"10.": 1}, ["10.", ""], ["x"]],
    "LITTLEBRO_SENSITIVE_KEYS": ["password", None, [7], [""], ["--"]],
    "LITTLEBRO_RESPECT": [
        "DNT", None, [b"DNT"], ["DNT", " Sec-GPC"], ["HTTP_DNT"], ["http-dnt"], ["Sec_GPC"], ["DNT\n"], [""],
    ],
    "LITTLEBRO_MIDDLEWARE_IGNORE": ["/static/", None, [""], ["/static/", "admin/"], [" /admin/"]],
    "LITTLEBRO_STRICT": ["yes", 1, 0],
    "LITTLEBRO_ANONYMOUS_COOKIE": [
        True, "", "a b", "a;b", "path", "Version", "max-age", "Partitioned",
        "sessionid", "csrftoken", "django_language",
    ],
    "LITTLEBRO_ANONYMOUS_COOKIE_AGE": [0, "1", None, 34_560_001, 10**12, 10**400],
    "LITTLEBRO_CELERY_USER": ["False", 1, None],
    "LITTLEBRO_FORGET_KEY": ["", 0],
    "LITTLEBRO_ANALYSIS_MEMORY": ["plenty", "512", 512, None, "", "0MB", "1GB\n", "1PB", "9" * 30 + "TB"],
    "LITTLEBRO_PLUGINS": ["tests.plugin", None, [7]],
    "LITTLEBRO_PLUGINS_AUTOLOAD": ["all", None, [7]],
    **{
        f"LITTLEBRO_MAX_{name}": [0, -1, "1", 1.5, None, True]
        for name in ("EVENT_BYTES", "DEPTH", "KEYS", "KEY_LENGTH", "NAME_LENGTH")
    },
}  # fmt: skip
RIGHT: dict[str, list[Any]] = {
    "LITTLEBRO_TRUSTED_PROXIES": [0, 2, (), ["10."], {"10.0.0.0/8", "::1"}],
    "LITTLEBRO_RESPECT": [(), ["dnt"], {"X-Do-Not-Track", "HTTP2-Off"}],
    "LITTLEBRO_MIDDLEWARE_IGNORE": [(), ["/"], {"/static/"}],
    "LITTLEBRO_ANONYMOUS_COOKIE": [None, "visitor", "paths", "__Host-visitor", "SESSIONID"],
    "LITTLEBRO_ANONYMOUS_COOKIE_AGE": [1, 34_560_000],
    "LITTLEBRO_CELERY_USER": [True, False],
    "LITTLEBRO_FORGET_KEY": [None, "k", b"k"],
    "LITTLEBRO_ANALYSIS_MEMORY": ["1GB", "512 MB", "1.5GiB", "0.5gb", "50%"],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values], ids=str
)
def test_e002_wrong_value(name: str, value: Any) -> None:
    """E002: a setting whose value cannot be meant, by name."""
    with override_settings(LITTLEBRO={"default": MEMORY}, **{name: value}):
        messages = [message.msg for message in run() if message.id == "littlebro.E002"]
    assert messages
    assert all(message.startswith(f"{name} must be ") for message in messages)
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in RIGHT.items() for value in values], ids=str
)
def test_right_values_are_left_alone(name: str, value: Any) -> None:
    """What may be meant is no finding, and a page is shown under it."""
    with override_settings(LITTLEBRO={"default": MEMORY}, **{name: value}):
        assert run() == []
        serve = TrackerMiddleware(lambda request: HttpResponse("shown"))
        assert serve(RequestFactory().get("/", headers={"X-Forwarded-For": "192.0.2.9"})).content == b"shown"  # type: ignore[union-attr] # it is sync


@pytest.mark.parametrize("setting", ["SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"])
def test_e002_a_cookie_of_djangos(setting: str) -> None:
    """E002: the anonymous id would write over the session, or the session's key become the anonymous id."""
    for name, expected in {"crumbs": ["littlebro.E002"], "visitor": []}.items():
        assert ids(**{setting: "crumbs", "LITTLEBRO_ANONYMOUS_COOKIE": name}) == expected


READ_WHILE_TRACKING = [
    "LITTLEBRO_SENSITIVE_KEYS",
    "LITTLEBRO_PLUGINS",
    "LITTLEBRO_MAX_KEYS",
    "LITTLEBRO_MAX_EVENT_BYTES",
]


@pytest.mark.parametrize("name", READ_WHILE_TRACKING)
def test_wrong_values_are_told_without_checks_too(name: str) -> None:
    """The first call raises for what E002 would have said."""
    for value in WRONG[name]:
        with (
            override_settings(LITTLEBRO={"default": MEMORY}, LITTLEBRO_STRICT=False, **{name: value}),
            pytest.raises(ImproperlyConfigured, match=name),
        ):
            tracker.track_event("x", {"k": 1})


@pytest.mark.parametrize(
    "table",
    [
        {"default": MEMORY, "b": {"TRACKER": "tread"}}, {"default": MEMORY, "b": {"BACKEND": "memori"}},
        {"default": MEMORY, "b": {"LOCATION": "nowhere"}}, {"default": MEMORY, "b": {"SINKS": ["nowhere"]}},
        {"default": MEMORY, "b": {"X": 1}}, {"default": MEMORY, "b": {**MEMORY, "OPTIONS": {"X": 1}}},
        {"default": MEMORY, "b": {**MEMORY, "TRACKER_OPTIONS": {"X": 1}}},
        {"default": MEMORY, "b": {"TRACKER": "thread"}},
    ],
    ids=str,
)  # fmt: skip
def test_e003_alias_that_cannot_be_built(table: Mapping[str, Any]) -> None:
    """E003: what the first use of an alias would raise, once an alias, and the good ones are not named."""
    message = only(LITTLEBRO=table)
    assert (message.id, message.level) == ("littlebro.E003", checks.ERROR)
    assert message.msg.startswith("LITTLEBRO['b']: ")


def test_e003_table_that_is_none() -> None:
    """E003 for a LITTLEBRO that is no dictionary; the other checks survive it."""
    assert set(ids(LITTLEBRO=[])) == {"littlebro.E003"}


class Careless:
    """A part of a stranger's that does not say itself what is wrong with its settings."""

    def __init__(self, *given: Any) -> None:
        raise ValueError("no such port: x")


class CarelessBackend(Careless, Memory):
    """A backend as such."""


class CarelessTracker(Careless, BaseTracker):
    """A tracker as such."""


@pytest.mark.parametrize("option", ["BACKEND", "TRACKER"])
def test_e003_a_part_that_cannot_be_made(option: str) -> None:
    """Whatever a constructor raises is told of the alias, by the check as at the first use, and stops no check."""
    path = f"tests.test_checks.Careless{option.title()}"
    table = {"default": {**MEMORY, option: path}}
    message = only(LITTLEBRO=table)
    assert message.id == "littlebro.E003"
    assert (
        message.msg == f"LITTLEBRO['default']: {option} {path!r} cannot be made: ValueError: no such port: x."
    )
    with override_settings(LITTLEBRO=table), pytest.raises(ImproperlyConfigured, match="no such port"):
        tracker.track_event("x")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def test_w004_broken_plugins(site: Site) -> None:
    """W004: every plugin that is not used, with its package and the reason; the good one is not among them."""
    names = set(site.install_broken())
    with override_settings(LITTLEBRO={"default": MEMORY}):
        messages = {message.msg.split()[1]: message for message in run() if message.id == "littlebro.W004"}
    assert names - set(messages) == {"good", "raises"}
    for message in messages.values():
        assert message.level == checks.WARNING
        assert "(littlebro-broken) is not used: " in message.msg


def test_w005_remarks(site: Site) -> None:
    """W005: a remark on a plugin in use, for instance one that asks for an order littlebro does not give."""
    site.module(
        "remarkable",
        """
        from littlebro import hookimpl

        @hookimpl(tryfirst=True)
        def littlebro_enrich_event(alias, event):
            return {}
        """,
    )
    message = only(LITTLEBRO_PLUGINS=["remarkable"])
    assert (message.id, message.level) == ("littlebro.W005", checks.WARNING)
    assert "Plugin remarkable: " in message.msg


def test_a_wrong_list_of_plugins_does_not_hide_an_unknown_setting() -> None:
    """Both are told: what is unknown, and what is wrong."""
    assert set(ids(LITTLEBRO_PLUGINS=7, LITTLEBRO_X=1)) >= {"littlebro.E001", "littlebro.E002"}


def test_a_plugins_own_settings_are_its_own(site: Site) -> None:
    """LITTLEBRO_<PLUGIN>_… is no unknown setting, be the plugin in use, broken or switched off."""
    site.install_broken()
    found = ids(LITTLEBRO_GOOD_LEVEL=1, LITTLEBRO_IMPORT_ERROR_LEVEL=1)
    assert "littlebro.E001" not in found
    assert "littlebro.E001" in ids(LITTLEBRO_GOODS_LEVEL=1)
    assert "littlebro.E001" in ids(LITTLEBRO_BETTER_LEVEL=1)
    for autoload in (False, ["raises"]):
        assert ids(LITTLEBRO_PLUGINS_AUTOLOAD=autoload, LITTLEBRO_IMPORT_ERROR_LEVEL=1) == []
    found = ids(LITTLEBRO_PLUGINS=["tests.plugin:Hooks"], LITTLEBRO_TESTS_PLUGIN_HOOKS_LEVEL=1)
    assert "littlebro.E001" not in found  # a path may have a colon, and no setting has one


def thread(folder: Path, **more: Any) -> dict[str, Any]:
    return {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(folder)}, **more}}


def test_w006_journal_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W006: a journal on a file system that a reboot, or a new container, wipes out."""
    for kind in ("tmpfs", "overlay"):
        monkeypatch.setattr(filesystem, "kind", lambda path, kind=kind: kind)
        message = only(LITTLEBRO=thread(tmp_path / "journal", **MEMORY))
        assert (message.id, message.level) == ("littlebro.W006", checks.WARNING)
        assert kind in message.msg
        assert str(tmp_path) in message.msg
    monkeypatch.setattr(filesystem, "kind", lambda path: "ext4")
    assert ids(LITTLEBRO=thread(tmp_path / "journal", **MEMORY)) == []
    assert not (tmp_path / "journal").exists()


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E003: a journal on a network file system, whose locks cannot be trusted."""
    monkeypatch.setattr(filesystem, "kind", lambda path: "nfs4")
    message = only(LITTLEBRO=thread(tmp_path / "journal", **MEMORY))
    assert message.id == "littlebro.E003"
    assert message.msg.startswith("LITTLEBRO['default']: ")
    assert "nfs4" in message.msg


@pytest.mark.parametrize("mode", [None, "DEFERRED", "IMMEDIATE", "exclusive"])
def test_w007_sqlite_that_refuses_a_second_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    """W007: the background thread beside deferred SQLite transactions; not for other backends, not under dummy."""
    monkeypatch.setattr(filesystem, "kind", lambda path: "ext4")
    options = {} if mode is None else {"transaction_mode": mode}
    monkeypatch.setitem(django_settings.DATABASES["default"], "OPTIONS", options)
    expected = [] if mode in {"IMMEDIATE", "exclusive"} else ["littlebro.W007"]
    for more in ({}, {"LOCATION": "default"}):
        assert ids(LITTLEBRO=thread(tmp_path / "journal", **more)) == expected
    assert ids(LITTLEBRO=thread(tmp_path / "journal", LOCATION="other")) == []
    assert ids(LITTLEBRO=thread(tmp_path / "journal", **MEMORY)) == []
    assert ids(LITTLEBRO={"default": {"TRACKER": "dummy"}}) == []
    # What counts is what is written to, by whatever name it goes, be it a sink's.
    path = "littlebro_backends.simple.Backend"
    assert ids(LITTLEBRO=thread(tmp_path / "journal", BACKEND=path)) == expected
    sink = thread(tmp_path / "journal", **MEMORY, SINKS=["b", "c"])
    assert ids(LITTLEBRO={**sink, "b": {}, "c": {"COLLECTION": "c"}}) == expected
    assert ids(LITTLEBRO={**sink, "b": {"LOCATION": "other"}, "c": MEMORY}) == []
    assert ids(LITTLEBRO={"default": {**MEMORY, "SINKS": ["b"]}, "b": {}}) == []


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_w008_store_that_is_not_set_up() -> None:
    """W008, only with `check --database`: a store without its table, or one that does not answer."""
    with override_settings(LITTLEBRO={"default": {}, "b": {"LOCATION": "other"}}):
        assert run(["default", "other"]) == []
        with connections["other"].schema_editor() as editor:
            editor.execute("ALTER TABLE littlebro_storedevent RENAME TO elsewhere")
        try:
            assert run() == []
            [message] = run(["default", "other"])
        finally:
            with connections["other"].schema_editor() as editor:
                editor.execute("ALTER TABLE elsewhere RENAME TO littlebro_storedevent")
    assert (message.id, message.level) == ("littlebro.W008", checks.WARNING)
    assert message.msg.startswith("LITTLEBRO['b']: ")
    assert "migrate" in message.msg


def test_w008_store_that_raises(site: Site) -> None:
    """W008: whatever a stranger's store raises is the finding, and an alias that cannot be built is E003's."""
    site.module(
        "away",
        """
        from littlebro_backends.memory import Backend as Memory

        class Backend(Memory):
            def check(self):
                raise ConnectionError("no route to host")
        """,
    )
    table = {"default": {"BACKEND": "away.Backend"}, "b": {"BACKEND": "memori"}}
    with override_settings(LITTLEBRO=table):
        assert [message.id for message in run()] == ["littlebro.E003"]
        [error, warning] = sorted(run(["default"]), key=lambda message: str(message.id))
    assert (error.id, warning.id) == ("littlebro.E003", "littlebro.W008")
    assert (
        warning.msg == "LITTLEBRO['default']: the backend does not answer: ConnectionError: no route to host"
    )
