"""The admin's lists: filters, search by whole ids, pages by key, and how much of a table they read."""

import itertools
import json
import random
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from littlebro.admin import choices, paging
from littlebro.models import DeadLetter, StoredEvent

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
EVENTS = "/admin/littlebro/storedevent/"

pytestmark = pytest.mark.django_db


class Routed:
    """Keeps littlebro's tables where `alias` says, as a project with a database for events does."""

    alias = "default"

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self.alias if model._meta.app_label == "littlebro" else None

    db_for_write = db_for_read


@pytest.fixture
def routed(database_alias: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run on each database; the accounts stay in the default one."""
    monkeypatch.setattr(Routed, "alias", database_alias)
    settings.DATABASE_ROUTERS = [f"{__name__}.Routed"]
    return database_alias


@pytest.fixture(autouse=True)
def _fresh_choices() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def event(number: int, **fields: Any) -> StoredEvent:
    given: dict[str, Any] = {
        "event_id": f"id-{number:05}", "collection": "littlebro", "name": "paid", "params": {"n": number},
        "timestamp": NOON + timedelta(seconds=number), "received_at": NOON,
    }  # fmt: skip
    return StoredEvent(**given | fields)


def ids(response: Any) -> list[str]:
    """Return the events of a page by number, as their summaries say it."""
    assert response.status_code == 200
    return [re.sub(r"<[^>]*>", "", line["summary"]).removeprefix("n ") for line in response.context["lines"]]


def ask(client: Client, **query: Any) -> list[str]:
    return sorted(ids(client.get(EVENTS, query)), key=int)


def walk(client: Client, url: str, way: str) -> list[list[str]]:
    """Return the pages from `url` on, following the links."""
    pages = []
    while url:
        response = client.get(url)
        pages.append(ids(response))
        url = response.context[way] and EVENTS + unescape(response.context[way])
    return pages


def test_pages_follow_each_other_both_ways(admin_client: Client, routed: str) -> None:
    """Each event once, newest first, also where many share one moment; and the same pages on the way back."""
    generator = random.Random(7)
    rows = [
        event(number, timestamp=NOON + timedelta(seconds=generator.choice([1, 1, 1, 2, 3])),
              collection=generator.choice(["a", "b"]))
        for number in range(170)
    ]  # fmt: skip
    generator.shuffle(rows)
    StoredEvent.objects.bulk_create(rows)
    rows.sort(key=lambda row: (row.timestamp, row.event_id, row.collection), reverse=True)
    expected = [str(row.params["n"]) for row in rows]
    there = walk(admin_client, EVENTS, "older")
    assert list(itertools.chain(*there)) == expected
    assert [len(page) for page in there] == [50, 50, 50, 20]
    last = admin_client.get(EVENTS)
    while last.context["older"]:
        url = EVENTS + last.context["older"]
        last = admin_client.get(url)
    assert walk(admin_client, url, "newer") == there[::-1]


def test_pages_stay_right_while_events_arrive(admin_client: Client) -> None:
    """What is stored meanwhile is neither shown twice nor pushes anything off the next page."""
    StoredEvent.objects.bulk_create([event(number) for number in range(80)])
    first = admin_client.get(EVENTS)
    StoredEvent.objects.bulk_create([event(number) for number in range(100, 150)])
    second = admin_client.get(EVENTS + first.context["older"])
    assert ids(first) + ids(second) == [str(number) for number in range(79, -1, -1)]
    assert ids(admin_client.get(EVENTS + second.context["newer"])) == ids(first)
    assert ids(admin_client.get(EVENTS + first.context["older"] + "&name=nothing")) == []
    StoredEvent.objects.filter(params__n__lt=30).delete()
    gone = admin_client.get(EVENTS + first.context["older"])
    assert ids(gone) == []
    assert str(gone.context["total"]) == "100"
    back = admin_client.get(EVENTS + gone.context["newer"])
    assert ids(back) == ["100", *(str(number) for number in range(79, 30, -1))]
    assert ids(admin_client.get(EVENTS + back.context["older"])) == ["30"]


def cursor(moment: str) -> str:
    return urlsafe_b64encode(json.dumps([moment, "a", "b"]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "é", "W10", "bnVsbA", "WzEsMiwzXQ", "9" * 5000, "WyIyMDI2LTAzLTI5IiwgImEiLCAiYiJd", "W1tbXV1d",
        cursor("0001-01-01T00:00:00+14:00"), cursor("9999-12-31T23:59:59-14:00"),
    ],
)  # fmt: skip
def test_a_damaged_address_is_said_so(admin_client: Client, cursor: str) -> None:
    """It shows the newest, and never an error page."""
    StoredEvent.objects.bulk_create([event(1)])
    for way in ("before", "after"):
        response = admin_client.get(EVENTS, {way: cursor})
        assert ids(response) == ["1"]
        assert "damaged" in response.context["problems"][0]


def test_filters_narrow_and_hold_together(admin_client: Client, routed: str) -> None:
    StoredEvent.objects.bulk_create(
        [
            event(1, user_id="7", anonymous_id="a"),
            event(2, user_id="7 ", name="Paid"),
            event(3, user_id="8", name="paid ", collection="audit"),
            event(4, anonymous_id="7", event_id="7"),
            event(5, anonymous_id="a", event_id="a", collection="audit"),
            event(6, user_id="é", name="x" * 200),
        ]
    )
    assert ask(admin_client) == ["1", "2", "3", "4", "5", "6"]
    assert ask(admin_client, name="paid") == ["1", "4", "5"]
    assert ask(admin_client, name="paid ") == ["3"]
    assert ask(admin_client, name="x" * 200) == ["6"]
    assert ask(admin_client, collection="audit") == ["3", "5"]
    assert ask(admin_client, collection="audit", name="paid") == ["5"]
    assert ask(admin_client, user="7") == ["1"]
    assert ask(admin_client, user="7 ") == ["2"]
    assert ask(admin_client, anonymous="a") == ["1", "5"]
    assert ask(admin_client, anonymous="a", user="7", name="paid") == ["1"]
    assert ask(admin_client, q="7") == ["1", "4"]
    assert ask(admin_client, q="a") == ["1", "5"]
    assert ask(admin_client, q="a", collection="audit") == ["5"]
    assert ask(admin_client, q="id-00003") == ["3"]
    assert ask(admin_client, q="id-0000") == ask(admin_client, q="ID-00003") == ask(admin_client, q="e") == []
    assert ask(admin_client, name="%") == ask(admin_client, user="_") == []


def test_the_span_of_time(admin_client: Client, routed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open, in the current time zone (+05:45 here); "today" begins at its midnight."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOON.astimezone(tz)

    monkeypatch.setattr("littlebro.admin.filters.datetime", Clock)
    midnight = datetime(2026, 3, 28, 18, 15, tzinfo=UTC)
    moments = [
        midnight + timedelta(days=1), NOON + timedelta(minutes=1), midnight, midnight - timedelta(microseconds=1),
        NOON - timedelta(hours=23), NOON - timedelta(days=6), NOON - timedelta(days=29), NOON - timedelta(days=31),
    ]  # fmt: skip
    StoredEvent.objects.bulk_create(
        [event(number, timestamp=moment) for number, moment in enumerate(moments)]
    )
    assert ask(admin_client, range="today") == ["1", "2"]
    assert ask(admin_client, range="24h") == ["0", "1", "2", "3", "4"]
    assert ask(admin_client, range="7d") == ["0", "1", "2", "3", "4", "5"]
    assert ask(admin_client, range="30d") == ["0", "1", "2", "3", "4", "5", "6"]
    custom = {"range": "custom", "since": "2026-03-29T00:00", "until": "2026-03-30T00:00"}
    assert ask(admin_client, **custom) == ["1", "2"]
    assert ask(admin_client, range="custom", until="2026-03-29T00:00") == ["3", "4", "5", "6", "7"]
    assert ask(admin_client, range="custom", since="2026-03-30T00:00:00") == ["0"]
    with timezone.override("UTC"):
        assert ask(admin_client, range="", since="2026-03-30T00:00:00") == [
            str(number) for number in range(8)
        ]


@pytest.mark.parametrize(
    "query",
    [
        {"range": "custom"},
        {"range": "custom", "since": "yesterday"},
        {"range": "custom", "since": "0001-01-01T00:00"},
        {"range": "custom", "until": "9999-12-31T00:00"},
        {"range": "custom", "since": "2026-01-02T00:00", "until": "2026-01-01T00:00"},
        {"range": "fortnight"},
        {"q": "a\0b"},
        {"name": "a\0b"},
        {"user": "a\0b"},
        {"collection": "x" * 65},
        {"user_id__exact": "7"},
        {"o": "1"},
    ],
)
def test_a_filter_that_means_nothing_is_said_so(admin_client: Client, query: dict[str, str]) -> None:
    """Rather an error and no events than all of them as if they were the answer."""
    StoredEvent.objects.bulk_create([event(1)])
    response = admin_client.get(EVENTS, query)
    assert ids(response) == []
    assert 'role="alert"' in response.content.decode()


def test_links_lead_to_the_person_and_back(admin_client: Client) -> None:
    StoredEvent.objects.bulk_create([event(1, user_id="7 &", anonymous_id="<a>"), event(2, user_id="8")])
    page = admin_client.get(EVENTS).content.decode()
    links = {unescape(link) for link in re.findall(r'href="([^"]*\?(?:user|anonymous)=[^"]*)"', page)}
    assert links == {f"{EVENTS}?user=7+%26", f"{EVENTS}?anonymous=%3Ca%3E", f"{EVENTS}?user=8"}
    response = admin_client.get(EVENTS, {"user": "7 &", "name": "paid"})
    assert ids(response) == ["1"]
    assert [chip["url"] for chip in response.context["chips"]] == [f"{EVENTS}?name=paid"]
    assert '<input type="hidden" name="user" value="7 &amp;"' in response.content.decode()


def test_choices_are_found_by_skipping(routed: str) -> None:
    """All values, sorted by code point, a bounded number of them; none in an empty table."""
    rows = StoredEvent.objects.all()
    assert choices.values(rows, "name") == []
    names = ["a", "A", "a ", "é", "\uffff", "😀", "<b>", "x" * 200]
    StoredEvent.objects.bulk_create([event(number, name=names[number % 8]) for number in range(64)])
    assert choices.values(rows, "name") == sorted(names)
    assert choices.values(rows, "name", 3) == sorted(names)[:3]
    assert choices.values(rows, "collection") == ["littlebro"]


def test_very_many_names_are_typed_and_not_chosen(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoredEvent.objects.bulk_create([event(number, name=f"name-{number:04}") for number in range(300)])
    page = admin_client.get(EVENTS).content.decode()
    assert '<datalist id="lb-name-list">' in page
    assert page.count('<option value="name-') == choices.MOST
    assert ask(admin_client, name="name-0299") == ["299"]


def test_a_cache_that_is_away_is_done_without(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise ConnectionError("no cache")

    StoredEvent.objects.bulk_create([event(1)])
    monkeypatch.setattr(cache, "get", away)
    monkeypatch.setattr(cache, "set", away)
    assert '<option value="paid">' in admin_client.get(EVENTS).content.decode()


def test_counts_are_exact_up_to_a_bound(
    admin_client: Client, routed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above it the page says "more than"; PostgreSQL gives its estimate for the whole table."""
    monkeypatch.setattr(paging, "BOUND", 60)
    monkeypatch.setattr(paging, "WITHIN", 60)
    StoredEvent.objects.bulk_create([event(number, user_id=str(number % 2)) for number in range(60)])
    assert str(admin_client.get(EVENTS).context["total"]) == "60"
    StoredEvent.objects.bulk_create([event(number, user_id="0") for number in range(60, 130)])
    assert str(admin_client.get(EVENTS, {"user": "0"}).context["total"]) == "more than 60"
    assert str(admin_client.get(EVENTS, {"user": "1"}).context["total"]) == "30"
    StoredEvent.objects.bulk_create([event(number, user_id="0", name="x") for number in range(200, 270)])
    total = str(admin_client.get(EVENTS, {"user": "0", "name": "paid"}).context["total"])
    assert re.fullmatch(r"at least \d+|more than 60", total)
    assert str(admin_client.get(EVENTS, {"user": "1", "name": "x"}).context["total"]) == "0"
    assert str(admin_client.get(EVENTS).context["total"]) == "more than 60"
    if routed == "postgresql":
        with connections[routed].cursor() as cursor:
            cursor.execute("ANALYZE littlebro_storedevent")
        assert str(admin_client.get(EVENTS).context["total"]) == "about 200"


@pytest.mark.parametrize(
    "query",
    ["", "name=paid", "collection=littlebro", "name=paid&collection=littlebro", "user=1", "user=1&name=paid",
     "anonymous=1&collection=littlebro", "range=7d&collection=littlebro", "range=today&name=paid", "q=1",
     "q=1&collection=littlebro&name=paid"],
)  # fmt: skip
def test_no_page_reads_or_sorts_the_whole_table(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Each statement on SQLite is a range of an index; at most rows of one moment are sorted."""
    monkeypatch.setattr(paging, "BOUND", 10)
    now = datetime.now(UTC)
    person = {"user_id": "1", "anonymous_id": "1"}
    StoredEvent.objects.bulk_create(
        [event(number, **person, timestamp=now - timedelta(seconds=number)) for number in range(120)]
    )
    older = admin_client.get(f"{EVENTS}?{query}").context["older"]
    with CaptureQueriesContext(connections["default"]) as captured:
        assert len(ids(admin_client.get(EVENTS + older))) == 50
    ours = [q["sql"] for q in captured.captured_queries if "littlebro_storedevent" in q["sql"]]
    assert 2 <= len(ours) <= 8
    with connections["default"].cursor() as cursor:
        for sql in ours:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = [row[3] for row in cursor.fetchall()]
            assert not [step for step in plan if re.fullmatch(r"SCAN littlebro_storedevent", step)], (
                sql,
                plan,
            )
            assert "USE TEMP B-TREE FOR ORDER BY" not in plan, (sql, plan)
            assert "LIMIT" in sql or "skipped" in sql


def test_letters_page_and_filter(admin_client: Client, routed: str, settings: Any) -> None:
    settings.LITTLEBRO = {"default": {"SINKS": ["warehouse"]}, "warehouse": {"BACKEND": "memory"}}
    DeadLetter.objects.bulk_create(
        DeadLetter(
            alias="other" if number == 3 else "default", sink="warehouse" if number % 2 else "", collection="c",
            event_id=str(number), user_id="7" if number == 8 else None, name=str(number), body=b"{}", reason="no",
        )
        for number in range(120)
    )  # fmt: skip
    url = reverse("admin:littlebro_deadletter_changelist")

    def names(**query: str) -> list[str]:
        lines = admin_client.get(url, query).context["lines"]
        return [re.sub(r"<[^>]*>", "", line["name"]) for line in lines]

    first = admin_client.get(url)
    second = admin_client.get(url + first.context["older"])
    assert [int(line["pk"]) for line in first.context["lines"]] == sorted(
        DeadLetter.objects.values_list("pk", flat=True), reverse=True
    )[:50]
    assert len(second.context["lines"]) == 50
    assert names(alias="other") == ["3"]
    assert names(q="7") == ["8", "7"]
    assert names(q="8") == ["8"]
    assert len(names(alias="default", sink="warehouse")) == 50
    assert names(alias="nobody") == []
    settings.LITTLEBRO = {"default": {"NONSENSE": 1}}
    assert len(names()) == 50
