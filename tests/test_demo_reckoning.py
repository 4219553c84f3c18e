"""The demo's accounts: what the visitors did, what is stored, and what is said about it."""

import contextlib
import io
import re
import socket
from datetime import UTC, datetime
from typing import Any

import pytest

from littlebro.demo.browser import Address, Browser, NoAnswer
from littlebro.demo.history import MARK as HISTORY
from littlebro.demo.ledger import Ledger
from littlebro.demo.screen import Screen, Summary, live_line
from littlebro.demo.stored import Stored, losses
from littlebro.models import LossCount, StoredEvent


def summary(**changes: Any) -> Summary:
    """Return the summary of a run in which all agrees, but for what is changed."""
    agreed: dict[str, Any] = {
        "seconds": 1.0,
        "requests": 2,
        "tracked": {"page-accessed": 2, "searched": 1},
        "stored": {"searched": 1, "page-accessed": 2},
        "past": 0,
        "others": 0,
        "lost": {},
        "troubles": [],
        "waiting": "",
    }
    return Summary(**{**agreed, **changes})


def test_accounts_that_agree() -> None:
    """One page-accessed a request, and each event stored as often as tracked: that is agreement."""
    assert summary().agrees
    assert summary(others=7).agrees
    assert "They agree" in str(summary())
    assert "7 events of other people" in str(summary(others=7))


@pytest.mark.parametrize(
    "changes, shown",
    [
        ({"stored": {"page-accessed": 2}}, "searched (tracked 1, stored 0)"),
        ({"stored": {"page-accessed": 3, "searched": 1}}, "page-accessed (tracked 2, stored 3)"),
        ({"stored": {"page-accessed": 2, "searched": 1, "ghost": 1}}, "ghost (tracked 0, stored 1)"),
        ({"requests": 3}, "see above"),
        ({"troubles": ["no answer to GET /"]}, "Trouble: no answer to GET /"),
        ({"stored": {}, "waiting": "2 segments, no space"}, "Still on the way: 2 segments, no space"),
        ({"stored": {}, "lost": {"journal-full": 3}}, "lost, journal-full         3"),
    ],
)
def test_accounts_that_do_not_agree(changes: dict[str, Any], shown: str) -> None:
    """A lost event, one too many, a request without an event, any trouble: the summary says which."""
    assert not summary(**changes).agrees
    assert "do NOT agree" in str(summary(**changes))
    assert shown in str(summary(**changes))


def test_the_ledger_counts_and_keeps_the_first_troubles() -> None:
    """Answers that make no sense are troubles; a flood of them is counted, not kept."""
    ledger = Ledger()
    for status in (200, 302, 404):
        ledger.answered("GET", "/", status)
    assert not ledger.troubles
    ledger.did("searched")
    for _ in range(25):
        ledger.answered("GET", "/", 500)
    assert (ledger.requests, ledger.events) == (28, {"page-accessed": 28, "searched": 1})
    assert ledger.troubles[0] == "GET /: the shop answered 500"
    assert ledger.troubles[-1] == "and 5 more"
    assert len(ledger.troubles) == 21


def store(name: str, agent: str) -> None:
    now = datetime.now(UTC)
    key = str(StoredEvent.objects.count())
    context = {"user_agent": agent}
    StoredEvent.objects.create(event_id=key, name=name, timestamp=now, received_at=now, context=context)


@pytest.mark.django_db
def test_the_newest_is_no_event_of_the_past() -> None:
    """Before the first visitor the line tells how much is there, and not how long ago the imported weeks end."""
    stored = Stored("littlebro-demo/1")
    store("searched", f"Firefox {HISTORY}")
    stored.look()
    assert live_line(stored) == "stored 1 · searched 1"
    store("order-paid", "Firefox littlebro-demo/1")
    store("searched", f"Firefox {HISTORY}")
    stored.look()
    assert live_line(stored).startswith("stored 3 · newest order-paid ")


@pytest.mark.django_db
def test_what_is_stored_is_taken_in_once_and_told_apart() -> None:
    """Each look takes in the new rows alone; the visitors' are those with their mark."""
    stored = Stored("littlebro-demo/1")
    stored.look()
    assert live_line(stored) == "stored 0"
    store("searched", "Firefox littlebro-demo/1")
    stored.look()
    store("searched", "Firefox")
    store("order-paid", "Firefox littlebro-demo/2")
    stored.look()
    assert (stored.total, stored.names) == (3, {"searched": 2, "order-paid": 1})
    assert stored.theirs == {"searched": 1}
    stored.count_anew()
    assert (stored.names, stored.theirs) == ({"searched": 2, "order-paid": 1}, {"searched": 1})
    assert re.fullmatch(
        r"stored 3 · newest order-paid \d\.\d s ago · searched 2 · order-paid 1", live_line(stored)
    )
    for n in (1, 2):
        LossCount.objects.create(
            alias="default", reason="invalid", day=datetime.now(UTC).date(), source=str(n), n=n
        )
    assert losses() == {"invalid": 3}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_the_live_line_stays_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written over itself, never wider than the terminal; what stays takes its place."""
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    screen = Screen(stream)
    screen.live("x" * 50)
    screen.live("short")
    screen.say("done")
    assert stream.getvalue() == f"\r\x1b[2K{'x' * 18}…\r\x1b[2Kshort\r\x1b[2Kdone\n"


def test_elsewhere_a_line_goes_out_now_and_then() -> None:
    """Without a terminal there are no control characters, and the second line waits for its time."""
    stream = io.StringIO()
    screen = Screen(stream)
    for text in ("first", "too soon"):
        screen.live(text)
    assert stream.getvalue() == "first\n"


def test_a_request_without_an_answer_is_trouble() -> None:
    """Nobody knows whether the shop has seen it, so it is no request, and the accounts cannot agree."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = Address(*server.getsockname())
    ledger = Ledger()
    with pytest.raises(NoAnswer):
        Browser(address, "test", ledger).get("/")
    assert ledger.requests == 0
    assert ledger.troubles[0].startswith("no answer to GET /: ConnectionRefusedError")
