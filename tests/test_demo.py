"""The demo: the shop tells what happens in it, and a run of `python -m littlebro demo` reckons up."""

import argparse
import contextlib
import io
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from littlebro.__main__ import main
from littlebro.__version__ import __version__
from littlebro.delivery.handler import trackers
from littlebro.demo import accounts, runner, stage
from littlebro.demo.browser import Address, Browser, NoAnswer
from littlebro.demo.catalogue import CATEGORIES, PRODUCTS, find, money
from littlebro.demo.ledger import Ledger
from littlebro.demo.screen import Screen, Summary, live_line
from littlebro.demo.stored import Stored, losses
from littlebro.events import EventQuery
from littlebro.models import LossCount, StoredEvent

REPOSITORY = Path(__file__).resolve().parent.parent
SHOP = Path(stage.__file__).parent
PASSWORD = re.compile(r"^Log in as +admin +password +(\S+)$", re.MULTILINE)
ADDRESS = re.compile(r"^The shop +http://([\d.]+):(\d+)/$", re.MULTILINE)


# The shop.


@pytest.fixture
def shop(request: pytest.FixtureRequest, db: None) -> Iterator[Client]:
    """Serve the shop's pages to a test client, its events going to a store of this test's."""
    templates: list[dict[str, Any]] = [{**django_settings.TEMPLATES[0], "DIRS": [SHOP / "templates"]}]
    options = templates[0]["OPTIONS"]
    processors = [*options["context_processors"], "littlebro.demo.views.shop"]
    templates[0]["OPTIONS"] = {**options, "context_processors": processors}
    with override_settings(
        ROOT_URLCONF="littlebro.demo.urls",
        MIDDLEWARE=["littlebro.middleware.TrackerMiddleware", *django_settings.MIDDLEWARE],
        TEMPLATES=templates,
        LOGIN_URL="log-in",
        LOGIN_REDIRECT_URL="front",
        LOGOUT_REDIRECT_URL="front",
        LITTLEBRO={"default": {"TRACKER": "dummy", "BACKEND": "memory", "LOCATION": request.node.nodeid}},
    ):
        yield Client(raise_request_exception=False)


def told(user_id: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return what the shop itself told of (somebody), in order: all but what the middleware saw."""
    events = trackers["default"].events(EventQuery(user_id=user_id), 100).events
    return [(event.name, event.params) for event in events if event.name != "page-accessed"]


def test_every_page_of_the_shop_opens(shop: Client) -> None:
    """Each shelf, each product and each other page answers 200 to somebody who has just come in."""
    paths = ["/", "/search/", "/search/?q=tea", "/basket/", "/thanks/1f/", "/log-in/"]
    paths += [f"/category/{slug}/" for slug in CATEGORIES] + [f"/product/{slug}/" for slug in PRODUCTS]
    assert {path: shop.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_an_order_is_told_with_what_was_bought(shop: Client) -> None:
    """From a look at a product to the payment, every step is an event, and the order holds its items."""
    user = User.objects.create_user("ada", password="once")
    shop.get("/product/ledger/")
    for slug in ("ledger", "fern", "fern"):
        assert shop.post(f"/basket/add/{slug}/").headers["Location"] == "/basket/"
    shop.post("/basket/remove/ledger/")
    assert shop.get("/checkout/").headers["Location"] == "/log-in/?next=/checkout/"
    entered = shop.post("/log-in/", {"username": "ada", "password": "once", "next": "/checkout/"})
    assert entered.headers["Location"] == "/checkout/"
    assert "Pay €30.00" in shop.get("/checkout/").content.decode()
    assert shop.post("/checkout/", {"delivery": "by-dragon"}).status_code == 200
    assert shop.post("/checkout/", {"delivery": "bicycle"}).headers["Location"].startswith("/thanks/")

    assert [name for name, _ in told()] == [
        "product-viewed",
        "basket-added",
        "basket-added",
        "basket-added",
        "basket-removed",
        "logged-in",
        "order-paid",
    ]
    order = told()[-1][1]
    assert (order["total"], order["currency"], order["delivery"]) == (30.0, "EUR", "bicycle")
    assert order["items"] == [{"product": "fern", "quantity": 2, "price": 15.0}]
    assert [name for name, _ in told(str(user.pk))] == ["logged-in", "order-paid"]


def test_an_empty_basket_is_not_paid_for(shop: Client) -> None:
    """The checkout sends back who has nothing to pay for, and no order is told."""
    shop.force_login(User.objects.create_user("ben"))
    shop.post("/basket/remove/fern/")
    assert shop.post("/checkout/", {"delivery": "post"}).headers["Location"] == "/basket/"
    assert told() == []


def test_a_search_tells_how_much_was_found(shop: Client) -> None:
    """The words and the number of things found are in the event; an empty search is none."""
    shop.get("/search/?q=green+tea")
    shop.get("/search/?q=bicycle")
    shop.get("/search/?q=+")
    assert told() == [
        ("searched", {"words": "green tea", "found": len(find("green tea"))}),
        ("searched", {"words": "bicycle", "found": 0}),
    ]


def test_what_the_shop_does_not_have_is_not_found(shop: Client) -> None:
    """An unknown shelf or product is a 404 in the shop's own clothes."""
    for path in ("/category/hats/", "/product/top-hat/", "/summer-sale/"):
        answer = shop.get(path)
        assert answer.status_code == 404
        assert "not on our shelves" in answer.content.decode()
    assert shop.post("/basket/add/top-hat/").status_code == 404


def test_a_wrong_password_is_no_log_in(shop: Client) -> None:
    """Whoever is not let in is told so, and the tracker is told nothing."""
    assert (
        "do not belong together" in shop.post("/log-in/", {"username": "x", "password": "y"}).content.decode()
    )
    assert told() == []


def test_the_catalogue_is_of_one_piece() -> None:
    """Every product lies on one shelf under its own name, and prices are written with two digits."""
    assert sorted(product.slug for shelf in CATEGORIES.values() for product in shelf.products) == sorted(
        PRODUCTS
    )
    assert all(slug == product.slug for slug, product in PRODUCTS.items())
    assert (money(5), money(1290)) == ("€0.05", "€12.90")
    assert find("") == []


@pytest.mark.django_db
def test_accounts_are_made_once_and_get_the_new_password() -> None:
    """A second run on the same folder keeps the users and lets them in with its own password."""
    with override_settings(PASSWORD_HASHERS=["littlebro.demo.accounts.QuickHasher"]):
        accounts.create("first")
        accounts.create("second")
        assert User.objects.count() == len(accounts.CUSTOMERS) + 1
        assert User.objects.get(username=accounts.ADMIN, is_superuser=True).check_password("second")
        assert not User.objects.get(username="ada").is_staff
    assert accounts.new_password() != accounts.new_password()


def test_the_shops_settings_name_the_folder_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder the settings say which variable is missing."""
    monkeypatch.delenv("LITTLEBRO_DEMO_FOLDER", raising=False)
    with pytest.raises(ImproperlyConfigured, match="LITTLEBRO_DEMO_FOLDER is not set"):
        runpy.run_path(str(SHOP / "settings.py"))


# The accounts that are held against each other.


def summary(**changes: Any) -> Summary:
    """Return the summary of a run in which all agrees, but for what is changed."""
    agreed: dict[str, Any] = {
        "seconds": 1.0,
        "requests": 2,
        "tracked": {"page-accessed": 2, "searched": 1},
        "stored": {"searched": 1, "page-accessed": 2},
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
        ({"stored": {}, "waiting": "2 segments, no space"}, "Still in the journal: 2 segments, no space"),
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


@pytest.mark.django_db
def test_what_is_stored_is_taken_in_once_and_told_apart() -> None:
    """Each look takes in the new rows alone; the visitors' are those with their mark."""

    def store(name: str, agent: str) -> None:
        now = datetime.now(UTC)
        key = str(StoredEvent.objects.count())
        context = {"user_agent": agent}
        StoredEvent.objects.create(event_id=key, name=name, timestamp=now, received_at=now, context=context)

    stored = Stored("littlebro-demo/1")
    stored.look()
    assert live_line(stored) == "stored 0 events so far"
    store("searched", "Firefox littlebro-demo/1")
    stored.look()
    store("searched", "Firefox")
    store("order-paid", "Firefox littlebro-demo/2")
    stored.look()
    assert (stored.total, stored.names) == (3, {"searched": 2, "order-paid": 1})
    assert stored.theirs == {"searched": 1}
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


# The command line.


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--for", "0"], "must be a number above 0"),
        (["--for", "soon"], "invalid"),
        (["--port", "70000"], "must be from 0 to 65535"),
        (["--visitors", "33"], "must be from 1 to 32"),
    ],
)
def test_a_wrong_option_is_named(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse's exit code 2, and what would be right."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", *words])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_package_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m littlebro --version`."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out.strip()) == (0, f"django-littlebro {__version__}")


def test_a_missing_server_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without gunicorn the demo says what to install, and does nothing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert "pip install 'django-littlebro[demo]'" in capsys.readouterr().err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo says so before it sets anything up, and how to get another."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"port {port}: Address already in use" in message
    assert "--port 0" in message


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--keep refuses what is neither empty nor a demo's, and what cannot be a folder."""
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", "--port", "0", "--keep", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert main(["demo", "--port", "0", "--keep", str(tmp_path / "thesis.txt")]) == 2
    assert "cannot be made" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_first_signal_asks_and_the_second_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Ctrl-C ends in order, two at once (exit code 130); afterwards the signals are what they were."""
    before = signal.getsignal(signal.SIGINT)
    asked = []

    def run(_options: argparse.Namespace, stop: threading.Event, *_: object) -> int:
        signal.raise_signal(signal.SIGINT)
        asked.append(stop.is_set())
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the second signal did not interrupt")

    monkeypatch.setattr(runner, "_run", run)
    assert runner.main(["--port", "0"]) == 130
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is before


# Whole runs.


class Run:
    """One demo in a process of its own, its temporary files in a folder of the test's."""

    def __init__(self, folder: Path, *words: str) -> None:
        given = {name: value for name, value in os.environ.items() if not name.startswith("LITTLEBRO_")}
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "littlebro", "demo", "--port", "0", "--rate", "40", *words],
            cwd=REPOSITORY,
            env={**given, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, text: str) -> None:
        """Read on until a line holds the text."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"ended without {text!r}:\n{self.said}")

    def end(self) -> int:
        """Read the rest; return the exit code."""
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    @property
    def server(self) -> int:
        """The pid of the shop's server."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def number(self, what: str) -> int:
        """Return a number of the summary."""
        found = re.search(rf"^  {what} +([\d,]+)", self.said, re.MULTILINE)
        assert found, self.said
        return int(found.group(1).replace(",", ""))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Give a function that starts a demo; none outlives the test."""
    runs: list[Run] = []

    def started(*words: str) -> Run:
        runs.append(Run(tmp_path, *words))
        return runs[-1]

    yield started
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
        run.process.communicate(timeout=60)


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, other than as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(seconds: float, pid: int) -> bool:
    """Wait until the process has ended; tell whether it has."""
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return not is_running(pid)


def test_a_run_ends_by_itself_and_its_accounts_agree(start: Any) -> None:
    """`--for` ends with a summary in which requests, events tracked and events stored agree; nothing is left."""
    run = start("--for", "3")
    assert run.end() == 0, run.said
    assert "They agree" in run.said
    assert run.number("requests made") == run.number("page-accessed") > 20
    assert run.number("events tracked") == run.number("events stored") > run.number("requests made")
    assert list(run.temporary.iterdir()) == []


def test_the_admin_shows_the_events_and_ctrl_c_ends_in_order(start: Any) -> None:
    """The printed account opens the admin, where the visitors' events are listed; Ctrl-C brings the summary."""
    run = start()
    run.until("The first event was stored")
    address, password = ADDRESS.search(run.said), PASSWORD.search(run.said)
    assert address
    assert password
    host, port = address.groups()
    me = Browser(Address(host, int(port)), "Firefox", Ledger())
    token = me.get("/admin/login/").token
    fields = {"username": "admin", "password": password.group(1), "next": "/admin/littlebro/storedevent/"}
    answer = me.post("/admin/login/", token, fields)
    assert (answer.status, answer.location) == (302, "/admin/littlebro/storedevent/")
    assert "page-accessed" in me.get(answer.location).page
    assert me.get("/static/shop/shop.css").status == 200
    assert me.get("/basket/").status == 200

    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0, run.said
    assert "Besides, 1 events of other people" in run.said
    assert "They agree" in run.said
    assert list(run.temporary.iterdir()) == []


def test_a_kept_folder_stays_and_is_used_again(start: Any, tmp_path: Path) -> None:
    """SIGTERM ends in order too; a second run goes on in the same folder and still reckons right."""
    kept = str(tmp_path / "kept")
    first = start("--keep", kept)
    first.until("The first event was stored")
    first.process.terminate()
    assert first.end() == 0, first.said
    second = start("--keep", kept, "--for", "1")
    assert second.end() == 0, second.said
    assert f"Besides, {first.number('events stored')} events" in second.said
    assert {path.name for path in Path(kept).iterdir()} >= {"demo.sqlite3", "journal", "secret-key"}


def test_a_server_that_dies_is_told_and_fails_the_run(start: Any) -> None:
    """The demo ends by itself with exit code 1, and says what happened."""
    run = start()
    run.until("The first event was stored")
    os.kill(run.server, signal.SIGKILL)
    assert run.end() == 1, run.said
    assert "Trouble: the server ended by itself: exit code -9" in run.said
    assert list(run.temporary.iterdir()) == []


def test_the_server_does_not_outlive_a_killed_demo(start: Any) -> None:
    """A demo that dies without a word takes its server with it."""
    run = start()
    run.until("The first event was stored")
    server = run.server
    run.process.kill()
    assert gone_within(20, server)
