"""Reasons of losses, each had in life: what is let go of is counted under the name that the docs explain.

Hooks in the flow come first (what a plugin may do to an event, and what happens if it fails), then the journal.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from littlebro import EventQuery, bind, tracker, trackers
from littlebro.delivery import JournalTracker, Outcome, losses
from littlebro.delivery.forget import forget
from littlebro.delivery.tombstones import digest
from littlebro.events import Page
from littlebro.events.context import inside_delivery
from littlebro.exceptions import InvalidQuery, LittlebroError
from littlebro.models import LossCount
from littlebro.storage import MAX_LIMIT, backends
from tests.installing import Settings, Site, new_site

HEAD = "from littlebro import hookimpl\nfrom littlebro.plugins import REMOVE\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder on the path, for plugins of one test."""
    with new_site(tmp_path / "site", monkeypatch) as found:
        yield found


@pytest.fixture(autouse=True)
def _in_memory(settings: Settings, tmp_path: Path) -> None:
    """Keep events in a store of the test's own, and begin with no counts."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    losses.drain("default")


def plug(settings: Settings, site: Site, **sources: str) -> None:
    for name, source in sources.items():
        site.module(name, f"{HEAD}\n@hookimpl\n{source}\n")
    settings.LITTLEBRO_PLUGINS = list(sources)


def counted() -> dict[str, int]:
    return losses.pending("default")


def stored() -> list[str]:
    return [event.name for event in tracker.events().events]


def test_dropped_with_the_plugins_reason(settings: Settings, site: Site) -> None:
    """The first plugin that gives a reason ends the matter; the others are not asked."""
    plug(
        settings,
        site,
        first="def littlebro_drop_event(event): return 'bot' if event.params.get('bot') else None",
        second="def littlebro_drop_event(event): return 'all'",
    )
    assert tracker.track_event("seen", {"bot": True}) is None
    assert tracker.track_event("seen") is None
    assert counted() == {"dropped:bot": 1, "dropped:all": 1}
    assert stored() == []


def test_the_first_enricher_wins(settings: Settings, site: Site) -> None:
    """What is bound stays, then the first plugin's word; each conflict is counted for the one that lost."""
    plug(
        settings,
        site,
        first="def littlebro_enrich_event(): return {'plan': 'first', 'shop': 'first'}",
        second="def littlebro_enrich_event(): return {'shop': 'second', 'till': 2}",
    )
    with bind(plan="bound"):
        event = tracker.track_event("seen")
    assert event is not None
    assert event.context == {"plan": "bound", "shop": "first", "till": 2}
    assert counted() == {"hook-conflict:first": 1, "hook-conflict:second": 1}


@pytest.mark.parametrize("source", ["1 / 0", "return 'no mapping'"])
def test_a_failing_enricher_fails_open(settings: Settings, site: Site, source: str) -> None:
    """The event goes on without its part."""
    plug(
        settings,
        site,
        bad=f"def littlebro_enrich_event(): {source}",
        good="def littlebro_enrich_event(): return {'good': True}",
    )
    event = tracker.track_event("seen")
    assert event is not None
    assert event.context == {"good": True}
    assert counted() == {"hook-failed:bad": 1}


@pytest.mark.parametrize("source", ["1 / 0", "return 'no mapping'", "return {('params',): 1}"])
def test_a_failing_redactor_fails_closed(settings: Settings, site: Site, source: str) -> None:
    """The event is stored nowhere, since it may hold what should have been taken out."""
    plug(settings, site, bad=f"def littlebro_redact_event(event): {source}")
    assert tracker.track_event("seen", {"mail": "a@example.org"}) is None
    assert counted() == {"redactor-failed:bad": 1}
    assert stored() == []


def test_a_redactor_replaces_and_removes(settings: Settings, site: Site) -> None:
    """Paths lead through keys and places; what is removed from a list leaves None, so that others keep theirs."""
    plug(
        settings,
        site,
        strict="def littlebro_redact_event(event):\n"
        "    gone = {('params', 'mail'): REMOVE, ('params', 'people', 0): REMOVE}\n"
        "    return {**gone, ('params', 'name'): 'N.', ('params', 'not', 'there'): 1}",
    )
    event = tracker.track_event("seen", {"mail": "a@example.org", "name": "Nobody", "people": ["a", "b"]})
    assert event is not None
    assert event.params == {"name": "N.", "people": [None, "b"]}


def test_hooks_of_delivery_hear_of_what_is_stored_and_what_is_not(settings: Settings, site: Site) -> None:
    """Enriched where it is delivered; told when stored, told when the backend fails."""
    site.module("heard", "ALL = []\n")
    plug(
        settings,
        site,
        slow="def littlebro_enrich_stored(): return {'found': 'slowly'}",
        ear="def littlebro_events_stored(alias, events):\n    import heard; heard.ALL.append([e.name for e in events])",
        other="def littlebro_events_failed(reason):\n    import heard; heard.ALL.append(reason)",
    )
    import heard  # type: ignore[import-not-found]

    assert tracker.track_event("seen") is not None
    assert tracker.events().events[0].context == {"found": "slowly"}
    settings.LITTLEBRO = {"default": {"BACKEND": "log", "LOCATION": "/nowhere/at/all.jsonl"}}
    assert tracker.track_event("missed") is None
    assert counted() == {"not-stored": 1}
    assert heard.ALL[0] == ["seen"]
    assert heard.ALL[1].startswith("FileNotFoundError")


def test_inside_delivery() -> None:
    """What is tracked by the code that delivers would go round in circles."""
    with inside_delivery():
        assert tracker.track_event("seen") is None
    assert counted() == {"inside-delivery": 1}


def test_a_bound_value_that_does_not_fit(settings: Settings) -> None:
    """In production it is left out and the others stay."""
    settings.LITTLEBRO_STRICT = False
    with bind(good=1, bad={1, 2}):
        event = tracker.track_event("seen")
    assert event is not None
    assert event.context == {"good": 1}
    assert counted() == {"invalid-context": 1}


@pytest.mark.django_db(transaction=True)
def test_forgotten_people_do_not_come_back(settings: Settings, journal: Path) -> None:
    """An event that waited while its person was forgotten is dropped on arrival; the key decides the hash."""
    settings.LITTLEBRO_FORGET_KEY = "first"
    options = {"JOURNAL": journal, "SEAL_SECONDS": 3600.0, "POLL_SECONDS": 3600.0}
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": "thread",
            "TRACKER_OPTIONS": options,
            "BACKEND": "memory",
            "LOCATION": str(journal),
            "ON_COMMIT": False,
        },
        "other": {"BACKEND": "memory", "LOCATION": "other"},
    }
    assert tracker.track_event("seen", user=7) is not None
    forget("other", user_id="7")
    trackers["default"].upkeep()
    assert tracker.flush()
    assert stored() == []
    trackers["default"].upkeep()  # whoever delivered has counted by now
    assert tracker.flush()
    [row] = LossCount.objects.filter(reason="forgotten")
    assert row.n == 1
    before = digest("user", "7")
    settings.LITTLEBRO_FORGET_KEY = "second"
    assert digest("user", "7") != before


def test_a_folder_that_takes_no_file(settings: Settings, tmp_path: Path) -> None:
    """The journal's folder stands where a file is: refused, counted, and no exception."""
    (tmp_path / "file").write_text("")
    options = {"JOURNAL": tmp_path / "file"}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": options, "BACKEND": "memory"}}
    assert tracker.track_event("seen") is None
    assert counted() == {"journal-unavailable": 1}


def test_a_full_journal(settings: Settings, journal: Path) -> None:
    """Above MAX_BYTES the newest are refused and counted; what was accepted stays."""
    options = {"JOURNAL": journal, "MAX_BYTES": 4096, "SEAL_EVENTS": 1, "SEAL_BYTES": 512}
    gone = {"BACKEND": "log", "LOCATION": "/nowhere/at/all.jsonl"}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": options, **gone}}
    results = [tracker.track_event("seen", {"n": n}) for n in range(100)]
    accepted = sum(event is not None for event in results)
    assert 0 < accepted < 100
    assert not tracker.flush(0.1)
    lines = sum(path.read_bytes().count(b'"name":"seen"') for path in journal.rglob("*ed"))
    assert lines == accepted


@pytest.mark.parametrize("policy, at_least", [("never", 0), ("batch", 1), ("event", 10)])
def test_fsync(
    settings: Settings, journal: Path, monkeypatch: pytest.MonkeyPatch, policy: str, at_least: int
) -> None:
    """FSYNC says when bytes are forced to the disk: not at all, once a segment, or in every call."""
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    options = {"JOURNAL": journal, "FSYNC": policy}
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": options, "BACKEND": "memory"}}
    for _ in range(10):
        assert tracker.track_event("seen") is not None
    assert tracker.flush()
    assert len(synced) >= at_least
    if policy != "event":
        assert len(synced) <= at_least


class Counting(JournalTracker):
    """A tracker as a stranger writes it: journal, and a word on each batch."""

    outcomes: list[Outcome] = []  # noqa: RUF012 - looked at by the test

    def forward(self, events: Any, sink: str) -> None:
        """Store the batch."""
        self.outcomes.append(self.delivery_to(sink).save(events))


def test_a_journal_tracker_of_ones_own(settings: Settings, journal: Path) -> None:
    """`forward` is all that a tracker with a journal has to write; what it raises is tried again."""
    settings.LITTLEBRO = {
        "default": {
            "TRACKER": f"{__name__}.Counting",
            "TRACKER_OPTIONS": {"JOURNAL": journal},
            "BACKEND": "memory",
            "LOCATION": str(journal),
        }
    }
    assert tracker.track_event("seen") is not None
    assert tracker.flush()
    assert [outcome.stored for outcome in Counting.outcomes] == [1]
    assert tracker.events() == Page(tracker.events().events, None)


def test_a_page_has_its_limit() -> None:
    """More than MAX_LIMIT at once is refused; whatever littlebro raises on purpose is a LittlebroError."""
    tracker.events(EventQuery(), limit=MAX_LIMIT)
    with pytest.raises(LittlebroError) as caught:
        tracker.events(EventQuery(), limit=MAX_LIMIT + 1)
    assert isinstance(caught.value, InvalidQuery)
    assert backends["default"].supports_scan
