"""What plugins do to an event between call and row: drop, enrich, redact, be told; and that failing harms nobody."""

import io
from collections import UserDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.http import HttpRequest
from django.test import RequestFactory

from littlebro import Event, bind, tracker
from littlebro.delivery import losses
from littlebro.exceptions import InvalidEvent
from littlebro.models import DeadLetter, StoredEvent
from littlebro.plugins import REMOVE, manager
from littlebro.storage import backends
from littlebro_backends.memory import Backend as Memory
from tests.installing import Site, new_site

TOLD: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def _fresh(settings: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in memory for this test, production mode, nothing counted yet."""
    TOLD.clear()
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": request.node.nodeid}}
    losses.drain("default")


def stored() -> list[Event]:
    return tracker.events().events


def raises(alias: str, event: Event) -> Any:
    raise LookupError("the plugin's own trouble")


def drop(reason: Any) -> Any:
    def littlebro_drop_event(alias: str, event: Event, request: HttpRequest | None) -> Any:
        TOLD.append(("asked", (alias, event.name, request and request.path)))
        return reason

    return littlebro_drop_event


def enrich(facts: Any) -> Any:
    def littlebro_enrich_event(alias: str, event: Event) -> Any:
        return facts

    return littlebro_enrich_event


def redact(changes: Any) -> Any:
    def littlebro_redact_event(event: Event) -> Any:
        return changes

    return littlebro_redact_event


def test_a_reason_drops_the_event(plug: Any) -> None:
    """The first reason ends it: nothing is stored, the reason is counted, later plugins are not asked."""
    plug(
        {"littlebro_drop_event": drop(None)},
        {"littlebro_drop_event": drop("bot")},
        {"littlebro_drop_event": drop("x")},
    )
    request = RequestFactory().get("/page/")
    assert tracker.track_event("seen", request=request) is None
    assert stored() == []
    assert losses.drain("default") == {"dropped:bot": 1}
    assert TOLD == [("asked", ("default", "seen", "/page/"))] * 2


@pytest.mark.parametrize("answer", [None, ""])
def test_no_reason_lets_it_pass(plug: Any, answer: Any) -> None:
    """None and an empty text are no reasons."""
    plug({"littlebro_drop_event": drop(answer)})
    assert tracker.track_event("seen") == stored()[0]
    assert losses.drain("default") == {}


class NoTruth:
    """As an array or a table: it has no truth value."""

    def __bool__(self) -> bool:
        raise ValueError


class NoKeys(UserDict[str, Any]):
    """As a mapping that is read from somewhere when it is asked."""

    def __iter__(self) -> Iterator[str]:
        raise LookupError


@pytest.mark.parametrize("answer", [True, False, 1, ["bot"], b"bot", NoTruth()])
def test_a_reason_that_is_no_text_lets_it_pass(plug: Any, answer: Any) -> None:
    """What is not a text is the plugin's failure, counted under its name; the event is kept."""
    plug({"littlebro_drop_event": drop(answer)})
    assert tracker.track_event("seen") is not None
    assert losses.drain("default") == {"hook-failed:plugin_a": 1}


def test_enrichers_add_facts(plug: Any) -> None:
    """Facts are merged into the context, converted and redacted as params are; the event returned has them."""
    plug(
        {"littlebro_enrich_event": enrich({"plan": "pro", "n": (1, 2), "password": "x"})},
        {"littlebro_enrich_event": enrich(None)},
    )
    with bind(tenant="t"):
        event = tracker.track_event("seen", {"a": 1})
    assert event == stored()[0]
    assert event is not None
    assert event.context == {"tenant": "t", "plan": "pro", "n": [1, 2], "password": "[redacted]"}
    assert event.params == {"a": 1}


def test_the_first_plugin_wins(plug: Any) -> None:
    """A key that the context or an earlier plugin gave is kept; each conflict is counted under the later plugin."""
    plug(
        {"littlebro_enrich_event": enrich({"a": 1, "b": 1})},
        {"littlebro_enrich_event": enrich({"b": 2, "c": 2, "t": 2})},
    )
    with bind(t=0):
        tracker.track_event("seen")
    assert stored()[0].context == {"a": 1, "b": 1, "c": 2, "t": 0}
    assert losses.drain("default") == {"hook-conflict:plugin_b": 2}


@pytest.mark.parametrize("facts", [["a"], "text", 7, {("a",)}, [], False, NoTruth(), NoKeys()])
def test_a_failing_enricher_fails_open(plug: Any, facts: Any) -> None:
    """One that raises or returns no mapping adds nothing, is counted, and the others' facts are there."""
    plug(
        {"littlebro_enrich_event": raises},
        {"littlebro_enrich_event": enrich(facts)},
        {"littlebro_enrich_event": enrich({"good": 1})},
    )
    assert tracker.track_event("seen") is not None
    assert stored()[0].context == {"good": 1}
    assert losses.drain("default") == {"hook-failed:plugin_a": 1, "hook-failed:plugin_b": 1}


@pytest.mark.parametrize(
    "facts", [{"x": object()}, {"x": "\0"}, {"x": float("nan")}, {7: 1}, {"\ud800": 1}, {"x": {"y": b""}}]
)
def test_an_unfit_fact_is_left_out(plug: Any, facts: Any) -> None:
    """A fact that no backend could keep is left out and counted, its neighbours stay."""
    plug({"littlebro_enrich_event": enrich({**facts, "good": 1})})
    assert tracker.track_event("seen") is not None
    assert stored()[0].context == {"good": 1}
    assert losses.drain("default") == {"invalid-context": 1}


def test_facts_beyond_the_limit_cost_themselves_and_not_the_event(plug: Any, settings: Any) -> None:
    """An event that enrichers make too large goes on without what they added, still redacted."""
    plug(
        {"littlebro_enrich_event": enrich({"big": "x" * 40_000})},
        {"littlebro_redact_event": redact({("params", "email"): REMOVE})},
    )
    assert tracker.track_event("seen", {"email": "a@b", "v": 1}) is not None
    assert (stored()[0].context, stored()[0].params) == ({}, {"v": 1})
    assert losses.drain("default") == {"invalid-context": 1}
    settings.LITTLEBRO_STRICT = True
    with pytest.raises(InvalidEvent, match="at most 32768"):
        tracker.track_event("seen")


PARAMS: dict[str, Any] = {
    "email": "a@b.c", "items": [{"email": "d@e.f", "n": 1}, "x@y.z"], "deep": {"a.b": {"c": 1}}, "n": 0,
}  # fmt: skip

# By label: the changes, and what the params then are
REDACTIONS: dict[str, tuple[dict[Any, Any], dict[str, Any]]] = {
    "a value": ({("params", "email"): "***"}, {**PARAMS, "email": "***"}),
    "None as value": ({("params", "email"): None}, {**PARAMS, "email": None}),
    "removed": ({("params", "email"): REMOVE}, {key: value for key, value in PARAMS.items() if key != "email"}),
    "in a list": ({("params", "items", 0, "email"): REMOVE}, {**PARAMS, "items": [{"n": 1}, "x@y.z"]}),
    "a place in a list": ({("params", "items", 1): REMOVE}, {**PARAMS, "items": [PARAMS["items"][0], None]}),
    "a place replaced": ({("params", "items", 1): "***"}, {**PARAMS, "items": [PARAMS["items"][0], "***"]}),
    "a key with a dot": ({("params", "deep", "a.b", "c"): [1]}, {**PARAMS, "deep": {"a.b": {"c": [1]}}}),
    "a branch": ({("params", "deep"): REMOVE}, {key: value for key, value in PARAMS.items() if key != "deep"}),
    "not there": ({("params", "phone"): REMOVE}, PARAMS),
    "not there, with a value": ({("params", "phone"): "***"}, PARAMS),
    "below what is not there": ({("params", "phone", "x", 0): "***"}, PARAMS),
    "below a number": ({("params", "n", "x"): "***"}, PARAMS),
    "below a text": ({("params", "email", "a"): "***"}, PARAMS),
    "beyond a list": ({("params", "items", 7): "***", ("params", "items", 7, "email"): "***"}, PARAMS),
    "before a list": ({("params", "items", -1): "***"}, PARAMS),
    "a text in a list": ({("params", "items", "0"): "***"}, PARAMS),
    "nothing": ({}, PARAMS),
    "none": (None, PARAMS),  # type: ignore[dict-item]
}  # fmt: skip


@pytest.mark.parametrize("label", REDACTIONS)
def test_redactors_replace_and_remove(plug: Any, label: str) -> None:
    """A path of keys and places is replaced or removed; one that is not there is passed over; the rest stays."""
    changes, expected = REDACTIONS[label]
    plug({"littlebro_redact_event": redact(changes)})
    event = tracker.track_event("seen", PARAMS)
    assert event is not None
    assert event.params == stored()[0].params == expected
    assert losses.drain("default") == {}


def test_redactors_see_and_change_the_context(plug: Any) -> None:
    """Redaction comes after enrichment, and reaches the context."""
    plug(
        {"littlebro_redact_event": redact({("context", "who"): "***"})},
        {"littlebro_enrich_event": enrich({"who": "x"})},
    )
    tracker.track_event("seen")
    assert stored()[0].context == {"who": "***"}


def test_redactors_follow_each_other(plug: Any) -> None:
    """A plugin sees what those before it left; where both name a path the first wins, counted."""
    seen = []

    def second(event: Event) -> Any:
        seen.append(dict(event.params))
        return {("params", "email"): "second", ("params", "v"): 2}

    plug(
        {"littlebro_redact_event": redact({("params", "email"): "first"})}, {"littlebro_redact_event": second}
    )
    tracker.track_event("seen", {"email": "a@b", "v": 1})
    assert seen == [{"email": "first", "v": 1}]
    assert stored()[0].params == {"email": "first", "v": 2}
    assert losses.drain("default") == {"hook-conflict:plugin_b": 1}


@pytest.mark.parametrize(
    "changes",
    [
        ["params"], {"params": 1}, {("params",): 1}, {("name", "x"): 1}, {(): 1}, {7: 1}, "text",
        {("params", "v"): object()}, {("params", "v"): float("nan")}, NoTruth(), NoKeys(),
    ],
)  # fmt: skip
def test_a_failing_redactor_fails_closed(plug: Any, changes: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The event is dropped and kept nowhere, counted, and neither log nor dead letter shows what it held."""
    plug({"littlebro_redact_event": redact(changes)})
    assert tracker.track_event("seen", {"v": "what should have gone"}) is None
    assert stored() == []
    assert losses.drain("default") == {"redactor-failed:plugin_a": 1}
    assert "what should have gone" not in caplog.text


def test_a_raising_redactor_fails_closed(plug: Any) -> None:
    """The same for one that raises."""
    plug({"littlebro_redact_event": raises})
    assert tracker.track_event("seen") is None
    assert losses.drain("default") == {"redactor-failed:plugin_a": 1}


def test_plugins_are_not_blamed_for_the_callers_input(plug: Any, settings: Any) -> None:
    """Text that only the encoder refuses is the caller's fault with plugins as without: refused with its path."""
    plug(
        {
            "littlebro_redact_event": redact({}),
            "littlebro_enrich_event": enrich({"a": 1}),
            "littlebro_drop_event": drop(None),
        }
    )
    for bad in ("\ud800", "\0", "x" * 40_000):
        assert tracker.track_event("seen", {"v": bad}) is None
    assert losses.drain("default") == {"invalid": 3}
    assert TOLD == []
    settings.LITTLEBRO_STRICT = True
    with pytest.raises(InvalidEvent, match=r"params\.v"):
        tracker.track_event("seen", {"v": "\ud800"})


def test_hooks_get_copies(plug: Any) -> None:
    """What a plugin does to the event it is given changes nothing for anybody else."""

    def meddle(alias: str, event: Event) -> None:
        event.params["v"].append("meddled")
        event.params["w"] = event.context["w"] = "meddled"

    def told(alias: str, events: list[Event]) -> None:
        for event in events:
            meddle(alias, event)
        events.clear()

    plug(
        *[
            {"littlebro_drop_event": meddle, "littlebro_enrich_event": meddle, "littlebro_redact_event": meddle,
             "littlebro_enrich_stored": meddle, "littlebro_events_stored": told},
        ]
        * 2
    )  # fmt: skip
    event = tracker.track_event("seen", {"v": [1]})
    assert event is not None
    assert event.params == stored()[0].params == {"v": [1]}
    assert event.context == stored()[0].context == {}


def test_enrich_stored_adds_on_the_way_to_the_store(plug: Any) -> None:
    """Slow facts are added, redacted and validated where events are delivered."""
    plug({"littlebro_enrich_stored": enrich({"country": "NP", "secret": 1, "bad": object(), "city": "K"}),
          "littlebro_redact_event": redact({("context", "city"): REMOVE})})  # fmt: skip
    assert tracker.track_event("seen") != stored()[0]
    assert stored()[0].context == {"country": "NP", "secret": "[redacted]"}
    assert losses.drain("default") == {"invalid-context": 1}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "facts", [{"bad": object()}, {"big": "x" * 40_000}, {7: 1}], ids=["bad", "big", "number"]
)
def test_enrich_stored_never_holds_up_delivery(plug: Any, settings: Any, facts: Any, strict: bool) -> None:
    """Unfit facts found at delivery cost themselves, not the batch, in strict mode too."""
    settings.LITTLEBRO_STRICT = strict
    plug({"littlebro_enrich_stored": enrich(facts)}, {"littlebro_enrich_stored": raises})
    assert tracker.track_event("seen", {"v": 1}) is not None
    assert [(event.params, event.context) for event in stored()] == [({"v": 1}, {})]
    assert losses.drain("default")["invalid-context"] == 1


def test_a_redactor_that_fails_at_delivery_fails_closed(plug: Any) -> None:
    """What enrich_stored added and no redactor could look at is not stored."""
    calls: list[int] = []

    def second_time(event: Event) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise LookupError

    plug({"littlebro_enrich_stored": enrich({"a": 1}), "littlebro_redact_event": second_time})
    tracker.track_event("seen")
    assert stored() == []
    assert losses.drain("default") == {"redactor-failed:plugin_a": 1}


def test_plugins_are_told_what_is_stored_and_what_failed(plug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`events_stored` follows the store's confirmation, `events_failed` its error; one that raises harms none."""

    def stored_hook(alias: str, events: list[Event]) -> None:
        TOLD.append(("stored", [event.name for event in events]))

    def failed_hook(alias: str, events: list[Event], reason: str) -> None:
        TOLD.append((reason, [event.name for event in events]))

    def fails(alias: str) -> None:
        raise OSError

    def fails_too(alias: str) -> None:
        raise OSError

    plug(
        {"littlebro_events_stored": fails, "littlebro_events_failed": fails_too},
        {"littlebro_events_stored": stored_hook, "littlebro_events_failed": failed_hook},
    )
    tracker.track_event("good")
    monkeypatch.setattr(Memory, "save_many", lambda self, events: 1 / 0)
    assert tracker.track_event("bad") is None  # the store fails
    assert TOLD == [("stored", ["good"]), ("ZeroDivisionError: division by zero", ["bad"])]
    assert losses.drain("default") == {"hook-failed:plugin_a": 2, "not-stored": 1}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


@pytest.mark.django_db(transaction=True)
def test_broken_plugins_beside_a_good_one(site: Site, settings: Any, journal: Path) -> None:
    """One of each kind: start-up and tracking go on, the good one is called, check and `littlebro plugins` say why."""
    names = site.install_broken()
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    errors = io.StringIO()
    call_command("check", "--tag", "littlebro", stderr=errors)
    assert tracker.track_event("seen", {"v": 1}) is not None
    assert tracker.flush(20)
    event = StoredEvent.objects.get()
    assert (event.params, event.context) == ({"v": 1}, {"good": "default"})
    assert not DeadLetter.objects.exists()
    out = io.StringIO()
    with suppress(SystemExit):  # its exit code says that some are refused
        call_command("littlebro", "plugins", stdout=out)
    for name in set(names) - {"good", "raises"}:
        assert f"Plugin {name} (littlebro-broken) is not used" in errors.getvalue()
        assert name in out.getvalue()
    assert backends["default"].check() == []
