"""Settings: every wrong one is an ImproperlyConfigured that names alias, option and the nearest right one."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from littlebro import conf, tracker, trackers
from littlebro.conf.defaults import ALIAS_OPTIONS, GLOBAL_SETTINGS, JOURNAL_OPTIONS
from littlebro.conf.shapes import SHAPES
from littlebro.delivery import BaseTracker
from littlebro.plugins.manager import hooks
from littlebro.storage import backends
from littlebro_trackers.dummy import Tracker as DummyTracker

MEMORY = {"BACKEND": "memory", "LOCATION": "test_conf"}
JOURNAL = {"JOURNAL": "/nowhere/littlebro"}

# label: the setting, the alias asked for, and parts of the message
WRONG: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "not a dictionary": ([], "default", ("LITTLEBRO must be a dictionary", "CACHES", "list")),
    "unknown alias": ({"audit": MEMORY}, "audits", ("LITTLEBRO['audits']", "no such alias", "'audit'")),
    "odd alias": ({"a/b": MEMORY}, "a/b", ("LITTLEBRO['a/b']", "A-Z a-z 0-9")),
    **{
        f"alias {name!r}": ({"default": MEMORY, name: {}}, "default", (f"LITTLEBRO[{name!r}]", "must be text"))
        for name in (("a",), 1, None, b"x")
    },
    "alias not a dictionary": ({"default": "memory"}, "default", ("LITTLEBRO['default']", "dictionary", "str")),
    "unknown option": ({"default": {"TRAKER": "dummy"}}, "default", ("LITTLEBRO['default']", "'TRAKER'", "'TRACKER'")),
    "lower case": ({"default": {"backend": "memory"}}, "default", ("'backend'", "Did you mean 'BACKEND'?")),
    "nothing near": ({"default": {"zzz": 1}}, "default", ("'zzz'", "Known: BACKEND")),
    "tracker not text": ({"default": {"TRACKER": None}}, "default", ("TRACKER must be", "text")),
    "backend empty": ({"default": {"BACKEND": ""}}, "default", ("BACKEND must be", "text")),
    "backend a class": ({"default": {"BACKEND": BaseTracker}}, "default", ("BACKEND must be", "text")),
    "unknown tracker": ({"default": {"TRACKER": "tread"}}, "default", ("LITTLEBRO['default']", "'thread'")),
    "unknown backend": ({"audit": {"BACKEND": "memori"}}, "audit", ("LITTLEBRO['audit']", "'memory'")),
    "backend is no backend": (
        {"default": {"BACKEND": "littlebro_trackers.dummy.Tracker"}}, "default",
        ("LITTLEBRO['default']", "BaseBackend"),
    ),
    "tracker is no tracker": (
        {"default": {"TRACKER": "littlebro_backends.memory.Backend"}}, "default",
        ("LITTLEBRO['default']", "BaseTracker"),
    ),
    "options a list": ({"default": {"OPTIONS": []}}, "default", ("OPTIONS must be a dictionary, not list",)),
    "tracker options None": ({"default": {"TRACKER_OPTIONS": None}}, "default", ("TRACKER_OPTIONS must be",)),
    "unknown option of the backend": (
        {"default": {**MEMORY, "OPTIONS": {"MAX_EVENT": 1}}}, "default", ("OPTIONS", "'MAX_EVENT'", "'MAX_EVENTS'"),
    ),
    "wrong option of the backend": ({"default": {**MEMORY, "OPTIONS": {"MAX_EVENTS": 0}}}, "default", ("MAX_EVENTS",)),
    "unknown option of the tracker": (
        {"default": {**MEMORY, "TRACKER_OPTIONS": {"SEAL_EVENT": 1}}}, "default",
        ("TRACKER_OPTIONS", "'SEAL_EVENT'", "'SEAL_EVENTS'"),
    ),
    "location of no database": (
        {"default": {"LOCATION": "defualt"}}, "default", ("LOCATION", "Did you mean 'default'"),
    ),
    "sinks text": ({"default": {**MEMORY, "SINKS": "audit"}}, "default", ("SINKS must be a list",)),
    "unknown sink": ({"default": {**MEMORY, "SINKS": ["b"]}}, "default", ("SINKS names 'b'",)),
    "sink not text": ({"default": {**MEMORY, "SINKS": [["b"]]}}, "default", ("SINKS names ['b']",)),
    "itself as sink": ({"default": {**MEMORY, "SINKS": ["default"]}}, "default", ("SINKS names the alias itself",)),
    "a sink twice": (
        {"default": {**MEMORY, "SINKS": ["b", "b"]}, "b": MEMORY}, "default", ("SINKS names 'b' more than once",),
    ),
    "a sink that is wrong": (
        {"default": {**MEMORY, "SINKS": ["bad"]}, "bad": {"BACKEND": "memori"}}, "default",
        ("LITTLEBRO['bad']", "'memory'"),
    ),
    "collection": ({"default": {**MEMORY, "COLLECTION": "a b"}}, "default", ("COLLECTION must be",)),
    "collection None": ({"default": {**MEMORY, "COLLECTION": None}}, "default", ("COLLECTION must be",)),
    "on_commit None": ({"default": {**MEMORY, "ON_COMMIT": None}}, "default", ("ON_COMMIT must be",)),
    "on_commit of no database": ({"default": {**MEMORY, "ON_COMMIT": "x"}}, "default", ("ON_COMMIT names", "'x'")),
    "retention 0": ({"default": {**MEMORY, "RETENTION_DAYS": 0}}, "default", ("RETENTION_DAYS must be",)),
    "retention text": ({"default": {**MEMORY, "RETENTION_DAYS": "30"}}, "default", ("RETENTION_DAYS must be",)),
    "retention True": ({"default": {**MEMORY, "RETENTION_DAYS": True}}, "default", ("RETENTION_DAYS must be",)),
    "retention NaN": ({"default": {**MEMORY, "RETENTION_DAYS": float("nan")}}, "default", ("RETENTION_DAYS must be",)),
    "retention too long": ({"default": {**MEMORY, "RETENTION_DAYS": 10**9}}, "default", ("RETENTION_DAYS must be",)),
    "thread without journal": (
        {"default": {**MEMORY, "TRACKER": "thread"}}, "default", ("LITTLEBRO['default']", "TRACKER_OPTIONS['JOURNAL']"),
    ),
    "relative journal": (
        {"default": {**MEMORY, "TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": "journal"}}}, "default",
        ("absolute path", "'journal'"),
    ),
    "journal not a path": (
        {"default": {**MEMORY, "TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": True}}}, "default",
        ("absolute path",),
    ),
    **{
        f"{name}={value!r}": (
            {"default": {**MEMORY, "TRACKER": "thread", "TRACKER_OPTIONS": {**JOURNAL, name: value}}}, "default",
            ("LITTLEBRO['default']", name),
        )
        for name in set(JOURNAL_OPTIONS) - {"JOURNAL"}
        for value in (0, -1, "1", None, True, float("nan"), float("inf"))
    },
}  # fmt: skip


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_setting_is_told_at_first_use(label: str) -> None:
    """Checks or not, strict or not: the first call raises, naming alias, option and what would be right."""
    table, alias, parts = WRONG[label]
    with override_settings(LITTLEBRO=table, LITTLEBRO_STRICT=False):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured) as caught:
                trackers[alias].track_event("x")
            for part in parts:
                assert part in str(caught.value)
            assert str(caught.value).startswith("LITTLEBRO")


async def test_a_wrong_setting_is_told_in_an_event_loop() -> None:
    """The async form raises as well."""
    with override_settings(LITTLEBRO={"default": {"BACKEND": "memori"}}), pytest.raises(ImproperlyConfigured):
        await tracker.atrack_event("x")


def test_unset_is_dummy_and_simple() -> None:
    """Without any setting there is one alias, `dummy` into `simple`."""
    assert conf.aliases() == list(trackers) == ["default"]
    config = conf.alias_config("default")
    assert (config.tracker, config.backend, config.location, config.collection) == (
        "dummy",
        "simple",
        None,
        "littlebro",
    )
    assert (config.sinks, config.on_commit, config.retention_days) == ((), True, None)


def test_default_is_always_there() -> None:
    """A setting that names other aliases only leaves the default one as it is unset."""
    with override_settings(LITTLEBRO={"audit": MEMORY}):
        assert list(trackers) == ["audit", "default"]
        assert "default" in trackers
        assert "other" not in trackers
        assert conf.alias_config("default").backend == "simple"


def test_right_values_arrive() -> None:
    """Options come out as they were given; a path is a location, too."""
    table = {
        "default": {
            **MEMORY,
            "LOCATION": Path("/a/b"),
            "SINKS": ["log"],
            "COLLECTION": "c-1",
            "RETENTION_DAYS": 0.5,
        },
        "log": {"BACKEND": "log", "LOCATION": "/a/c"},
    }
    with override_settings(LITTLEBRO=table):
        config = conf.alias_config("default")
    assert (config.location, config.sinks, config.collection, config.retention_days) == (
        "/a/b",
        ("log",),
        "c-1",
        0.5,
    )


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("strict", [True, False, None])
def test_strict_is_debug_unless_set(debug: bool, strict: bool | None) -> None:
    """LITTLEBRO_STRICT rules; unset, DEBUG does."""
    with override_settings(DEBUG=debug, LITTLEBRO_STRICT=strict):
        assert conf.strict() is (debug if strict is None else strict)


def test_every_option_has_its_line() -> None:
    """Each option stands in `defaults` under its own name, with one line of help."""
    for table in (ALIAS_OPTIONS, JOURNAL_OPTIONS, GLOBAL_SETTINGS):
        for name, option in table.items():
            assert name == option.name
            assert option.help.endswith(".")
            assert "\n" not in option.help
    assert all(name == "LITTLEBRO" or name.startswith("LITTLEBRO_") for name in GLOBAL_SETTINGS)


def test_a_changed_setting_rebuilds_everything() -> None:
    """override_settings closes trackers, backends and plugins, and the next use builds them from the new settings."""
    with override_settings(LITTLEBRO={"default": MEMORY}):
        before = (trackers["default"], backends["default"], hooks())
        assert (trackers["default"], backends["default"], hooks()) == before
        bound = tracker.track_event
        with override_settings(LITTLEBRO={"default": {**MEMORY, "COLLECTION": "inner"}}):
            assert trackers.all() == []
            event = tracker.track_event("x")
            assert event is not None
            assert event.collection == "inner"
            inner = (trackers["default"], backends["default"], hooks())
            assert all(one is not other for one, other in zip(before, inner, strict=True))
        event = tracker.track_event("x")
        assert event is not None
        assert event.collection == "littlebro"
        assert tracker.track_event != bound


class Unclosing(DummyTracker):
    def close(self, timeout: float | None = None) -> None:
        raise OSError("no close")


def test_a_tracker_that_cannot_close_keeps_nothing_from_changing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the other trackers, backends and plugins are rebuilt, and the setting is what it was."""
    table = {"default": {**MEMORY, "TRACKER": f"{__name__}.Unclosing"}, "b": MEMORY}
    with override_settings(LITTLEBRO={"default": MEMORY}):
        with override_settings(LITTLEBRO=table):
            before = (trackers["default"], backends["default"], hooks())
        assert (trackers.all(), backends["default"] is before[1], hooks() is before[2]) == ([], False, False)
        assert type(trackers["default"]) is DummyTracker
    assert ["no close" in str(record.exc_info) for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "name, value",
    [
        ("LITTLEBRO_MAX_NAME_LENGTH", 3),
        ("LITTLEBRO_SENSITIVE_KEYS", ["k"]),
        ("LITTLEBRO_PLUGINS", ["tests.no_plugin"]),
    ],
)
def test_flags_follow_the_settings(name: str, value: Any) -> None:
    """Limits, sensitive keys and plugins of a tracker in use change with the setting, and back."""

    def look() -> tuple[Any, ...]:
        event = tracker.track_event("abcd", {"k": 1})
        return (event and event.params, len(hooks().failures))

    with override_settings(LITTLEBRO={"default": MEMORY}, LITTLEBRO_STRICT=False):
        before = look()
        with override_settings(**{name: value}):
            assert look() != before
        assert look() == before


def test_the_proxy_stands_for_the_default_tracker() -> None:
    """`littlebro.tracker` finds, sets and lists what the default tracker has, and says what it is."""
    with override_settings(LITTLEBRO={"default": MEMORY}):
        assert tracker.alias == "default"
        assert "littlebro.tracker" in repr(tracker)
        assert {"track_event", "flush", "alias"} <= set(dir(tracker))
        tracker.options = {"x": 1}
        assert trackers["default"].options == {"x": 1}
        with pytest.raises(AttributeError, match="no_such_thing"):
            tracker.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_read_while_a_setting_changes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that read the old value, or found the old tracker, when it changes leaves neither behind."""
    changes = [override_settings(LITTLEBRO_IP="off"), override_settings(LITTLEBRO={"default": MEMORY})]

    def change(value: object) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(conf, "SHAPES", {})  # or this would be called again
            changes[0].enable()
        return True

    class Changing(DummyTracker):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "aevents":
                changes[1].enable()
            return value

    try:
        conf._values.pop("LITTLEBRO_IP", None)
        with monkeypatch.context() as patch:
            patch.setattr(conf, "SHAPES", {"LITTLEBRO_IP": SHAPES["LITTLEBRO_IP"]._replace(fits=change)})
            assert conf.setting("LITTLEBRO_IP") == "truncated"
        assert conf.setting("LITTLEBRO_IP") == "off"
        monkeypatch.setitem(trackers._built, "default", Changing(conf.alias_config("default")))
        assert type(tracker.aevents.__self__) is Changing  # type: ignore[attr-defined]  # a bound method has it
        assert type(tracker.aevents.__self__) is DummyTracker  # type: ignore[attr-defined]  # as above
    finally:
        for changed in reversed(changes):
            changed.disable()
