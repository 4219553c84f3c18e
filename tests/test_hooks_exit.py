"""Plugins that would end more than themselves: `sys.exit` in a hook, answers and reasons nobody can read."""

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from littlebro import Event, tracker
from littlebro.delivery import losses
from littlebro.delivery.forget import forget
from littlebro.models import LossCount

HOOKS = ["drop_event", "enrich_event", "redact_event", "enrich_stored", "events_stored"]


@pytest.fixture(autouse=True)
def _fresh(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": request.node.nodeid}}
    losses.drain("default")


def leaves(alias: str) -> Any:
    sys.exit("the plugin is done")


def in_another_thread(call: Callable[[], object]) -> None:
    thread = Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.parametrize("hook", HOOKS)
def test_exit_in_a_hook_is_its_failure(plug: Any, hook: str) -> None:
    """`sys.exit` fails as any error does: counted under the plugin; the event goes on, but for a redactor's."""
    plug({f"littlebro_{hook}": leaves})
    in_another_thread(lambda: tracker.track_event("seen"))
    kept, kind = ([], "redactor-failed") if hook == "redact_event" else (["seen"], "hook-failed")
    assert [event.name for event in tracker.events().events] == kept
    assert losses.drain("default") == {f"{kind}:plugin_a": 1}


@pytest.mark.parametrize("hook", HOOKS)
def test_exit_in_the_main_thread_passes(plug: Any, hook: str) -> None:
    """There a signal handler may have called it while the plugin was at work: the process is to stop."""
    plug({f"littlebro_{hook}": leaves})
    with pytest.raises(SystemExit):
        tracker.track_event("seen")


@pytest.mark.parametrize(
    "hook, broken",
    [
        ("enrich_stored", leaves),
        ("enrich_stored", lambda event: [event.params] * 2),
        ("events_stored", leaves),
    ],
    ids=["exit", "list", "exit when told"],
)
@pytest.mark.django_db(transaction=True)
def test_delivery_goes_on(
    plug: Any, settings: Any, journal: Path, request: pytest.FixtureRequest, hook: str, broken: Any
) -> None:
    """Under `thread` neither holds up what waits."""
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "thread",
            "BACKEND": "memory",
            "LOCATION": request.node.nodeid,
            "TRACKER_OPTIONS": {"JOURNAL": journal},
        }
    }
    plug({f"littlebro_{hook}": broken})
    tracker.track_event("seen")
    assert tracker.flush(10)
    assert [event.name for event in tracker.events().events] == ["seen"]


@pytest.mark.django_db(transaction=True)
def test_a_reason_that_nobody_could_store(plug: Any, settings: Any, journal: Path) -> None:
    """It is counted with what no database takes escaped, and reaches the table of losses."""

    def littlebro_drop_event(event: Event) -> str:
        return "half a \ud800 and\0"

    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": journal}}}
    plug({"littlebro_drop_event": littlebro_drop_event})
    assert tracker.track_event("seen") is None
    assert tracker.flush(10)
    assert [(row.reason, row.n) for row in LossCount.objects.all()] == [(r"dropped:half a \ud800 and\x00", 1)]


@pytest.mark.django_db(transaction=True)
def test_a_hook_that_forgets_a_person_does_not_stop_delivery(plug: Any, settings: Any, journal: Path) -> None:
    """Erasure delivers first what waits; inside a delivery it would wait for itself, and nothing arrive any more."""
    options = {"TRACKER": "thread", "BACKEND": "memory", "LOCATION": str(journal)}
    settings.LITTLEBRO = {"default": {**options, "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}

    def erase(events: Any) -> None:
        for event in events:
            if event.name == "account-deleted":
                forget("default", user_id=event.user_id)

    plug({"littlebro_events_stored": erase})
    for name in ("account-deleted", "later"):
        tracker.track_event(name, user="7")
        assert tracker.flush(5), name
    assert [event.name for event in tracker.events().events] == ["later"]


@pytest.mark.django_db(transaction=True)
def test_a_hook_that_flushes_does_not_wait_for_itself(plug: Any, settings: Any, journal: Path) -> None:
    """Its own segment is delivered when it is through, so that each one would take as long as its patience."""
    answers = []
    options = {"TRACKER": "thread", "BACKEND": "memory", "LOCATION": str(journal)}
    settings.LITTLEBRO = {"default": {**options, "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    plug({"littlebro_events_stored": lambda events: answers.append(tracker.flush(60))})
    tracker.track_event("seen")
    assert tracker.flush(5)
    assert answers == [False]
