"""The admin shows events, dead letters and losses as text, whoever sent them, and changes no event."""

import json
import re
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

import littlebro
from littlebro.dashboard.shown import as_text, as_tree, pretty, summary
from littlebro.models import DeadLetter, LossCount, StoredEvent

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd()",
    "\u202eevil",
    "\u2067isolated",
    "\u200b",
    " ",
    "😀",
    "{{ 7 }}{% now 'Y' %}",
    "%s %(x)s {}",
    "' onload='x",
    '" autofocus onfocus="alert(1)',
    "</pre></bdi></script>",
    "javascript:alert(1)",
    "&amp;&#39;",
    "a/b?c=d&e#f",
    "../../../x",
    "add",
    "W" * 200,
    "__proto__",
]
TEMPLATES = Path(littlebro.__file__).parent / "templates" / "admin" / "littlebro"

pytestmark = pytest.mark.django_db


def make_event(**fields: Any) -> StoredEvent:
    given: dict[str, Any] = {
        "event_id": "1", "collection": "littlebro", "name": "order-paid", "timestamp": NOON, "received_at": NOON,
        "params": {}, "context": {},
    }  # fmt: skip
    return StoredEvent.objects.create(**given | fields)


def make_letter(**fields: Any) -> DeadLetter:
    given = {"alias": "default", "collection": "shop", "event_id": "1", "body": b"{}", "reason": "no"}
    return DeadLetter.objects.create(**given | fields)


def list_of(model: str) -> str:
    return reverse(f"admin:littlebro_{model}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:littlebro_{row._meta.model_name}_change", args=[row.pk])


def markup(text: str) -> list[str]:
    """Return the tags of a page: what a browser would act upon."""
    return re.findall(r"<[^>]*>", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_on_every_page_of_an_event(admin_client: Client, text: str) -> None:
    """A name, id, key or value of any kind is shown, adds no markup, and its links lead back to it."""
    plain = make_event(
        event_id="plain", user_id="u", anonymous_id="a", params={"k": "v", "n": ["v"]},
        context={"path": "p"},
    )  # fmt: skip
    row = make_event(
        event_id=text, name=text, user_id=text, anonymous_id=text, params={text: text, "n": [text]},
        context={"path": text},
    )  # fmt: skip
    for url in (list_of("storedevent"), page_of(row)):
        response = admin_client.get(url)
        assert response.status_code == 200
        page = response.content.decode()
        tags = "".join(markup(page))
        assert "alert(1)" not in re.sub(r'"[^"]*"', '""', tags)
        assert "\u202e" not in page.replace('value="\u202eevil"', "").replace(">\u202eevil</option>", "")
        assert not re.search(r"<script(?![^>]* src=)", page)

    known = admin_client.get(page_of(plain)).content.decode()
    assert len(markup(page)) - 2 * page.count("lb-mark") == len(markup(known))
    for link in re.findall(r'href="(\?[^"]+|/admin/littlebro/storedevent/\?[^"]+)"', page):
        found = admin_client.get(unescape(link))
        assert row.pk in [int(line["url"].split("/")[-3]) for line in found.context["lines"]], link


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_on_every_page_of_a_letter(admin_client: Client, text: str) -> None:
    body = json.dumps({"params": {text: text}}).encode()
    row = make_letter(
        event_id=text, name=text, user_id=text, anonymous_id=text, reason=text, alias=text[:100], sink=text[:100],
        body=body,
    )  # fmt: skip
    delete = reverse("admin:littlebro_deadletter_delete", args=[row.pk])
    for url in (list_of("deadletter"), f"{list_of('deadletter')}?sink=x", page_of(row), delete):
        response = admin_client.get(url)
        assert response.status_code == 200
        page = response.content.decode()
        assert "alert(1)" not in re.sub(r'"[^"]*"', '""', "".join(markup(page)))
        assert not re.search(r"<script(?![^>]* src=)", page)


def test_the_page_of_a_letter_still_greets_its_reader(admin_client: Client) -> None:
    """What a page is given about a row hides nothing of what the admin's frame shows."""
    for row in (make_letter(user_id="somebody", name="n"), make_event(user_id="somebody")):
        assert "<strong>admin</strong>" in admin_client.get(page_of(row)).content.decode()


def test_losses_are_shown(admin_client: Client) -> None:
    LossCount.objects.create(alias="<b>", reason="<script>alert(1)</script>", day=date(2026, 3, 29), n=12345)
    page = admin_client.get(list_of("losscount")).content.decode()
    assert "12,345" in page
    assert "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in page
    assert "<script>alert" not in page


def test_types_can_be_told_apart() -> None:
    """The text "1" and the number 1, "null" and null, "" and nothing: no two look alike, numbers are exact."""
    value = [1, "1", 1.5, None, "null", True, "true", "", {}, [], 2**53 + 1, -(2**63), 1e-7, 10**30]
    page = as_tree(value)
    rows = re.findall(r"<li>(.*?)</li>", page)
    shown = [row.split("</span> ", 1)[1] for row in rows]
    assert len(set(shown)) == len(value)
    for text in (
        "9007199254740993",
        "-9223372036854775808",
        "1e-07",
        "1" + "0" * 30,
        "null</span>",
        ">true</span>",
    ):
        assert text in page


def test_long_text_is_folded_and_whole() -> None:
    text = "x" * 9_999 + "y"
    page = as_tree({"long": text})
    assert "<details><summary>" in page
    assert "10,000 characters" in page
    assert text in page


@pytest.mark.parametrize("depth", [1, 49, 50, 51, 300])
def test_deep_values_have_a_page(admin_client: Client, depth: int) -> None:
    value: Any = "core"
    for _ in range(depth):
        value = {"a": [value]}
    page = as_tree({"v": value})
    assert page.count("<ul>") <= 50
    assert page.count("<ul>") == page.count("</ul>")
    row = make_letter(body=json.dumps(value).encode())
    assert "core" in admin_client.get(page_of(row)).content.decode()


def test_a_great_many_values_are_cut_and_said_so() -> None:
    page = as_tree([list(range(3_000)), list(range(3_000))])
    assert page.count("<li>") < 4_010
    assert "more: see the raw JSON" in page


def test_raw_json_is_the_event_to_be_copied(admin_client: Client) -> None:
    """It parses, holds everything exactly, and marks of direction stand in it as escapes."""
    params = {"n": 2**53 + 1, "x": "\u202eevil", "</pre>": [None, "😀"], "float": 1.0}
    row = make_event(params=params, context={"ip": "192.0.2.0"}, user_id="7")
    page = admin_client.get(page_of(row)).content.decode()
    found = re.search(r"<pre[^>]*data-copy>(.*?)</pre>", page, re.DOTALL)
    assert found
    assert "\u202e" not in found.group(1)
    event = json.loads(unescape(found.group(1)))
    assert event["params"] == params
    assert type(event["params"]["float"]) is float
    assert (event["user_id"], event["context"]) == ("7", {"ip": "192.0.2.0"})
    assert datetime.fromisoformat(event["timestamp"]) == NOON


def test_times_are_local_and_to_the_millisecond(admin_client: Client, settings: Any) -> None:
    """The suite's zone is +05:45; the title and the page of the event have the microseconds."""
    row = make_event()
    page = admin_client.get(list_of("storedevent")).content.decode()
    assert "<span>2026-03-29</span> <span>17:45:00.123</span>" in page
    assert "2026-03-29 17:45:00.123456+05:45" in page
    assert "Asia/Kathmandu" in page
    assert "2026-03-29 12:00:00.123456+00:00" in admin_client.get(page_of(row)).content.decode()
    settings.USE_TZ = False
    assert "17:45:00.123" in admin_client.get(list_of("storedevent")).content.decode()


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_the_ends_of_the_calendar_have_a_page(admin_client: Client, moment: datetime) -> None:
    row = make_event(timestamp=moment)
    for url in (list_of("storedevent"), page_of(row)):
        assert admin_client.get(url).status_code == 200


def test_summaries() -> None:
    """Method, path and status, from params or context; else the first params; else a dash."""

    def text(*given: Any) -> str:
        return unescape(re.sub(r"<[^>]*>", "", summary(*given)))

    assert text({"method": "GET", "path": "/x/", "status": 200, "duration": 1}) == "GET /x/ 200"
    assert text({}, {"path": "/x/"}) == "/x/"
    assert text({"a": 1, "b": "", "c": [1, 2], "d": None}) == 'a 1 b "" c [] 2 items +1'
    assert text({"path": 7}) == "path 7"
    assert text({}) == text([]) == text(None) == "–"


@pytest.mark.parametrize("text", ["\u200b", "\u00a0\u2003", "\u202e"])
def test_nothing_is_shown_as_nothing(text: str) -> None:
    """A text of which nothing would be seen is spelt out: a link needs something to click on."""
    assert "U+" in as_text(text)


def test_half_a_surrogate_pair_can_be_shown() -> None:
    assert "\\ud800" in as_tree({"\ud800": "\ud800"})
    assert json.loads(pretty("\u2028\u202e")) == "\u2028\u202e"
    pretty("\ud800").encode()


@pytest.mark.parametrize(
    "body", [b"\xff\x00 not JSON <b>", b"[" * 5000, b"", b'"\xed\xa0\x80"', b'"\\ud800"', b"NaN", b"9" * 5000]
)
def test_a_body_of_any_bytes_has_a_page(admin_client: Client, body: bytes) -> None:
    """A letter that is not JSON is shown all the same."""
    response = admin_client.get(page_of(make_letter(body=body)))
    assert response.status_code == 200
    assert b"<b>" not in response.content


@pytest.mark.parametrize("model", ["storedevent", "deadletter", "losscount"])
def test_nothing_can_be_added_or_changed(admin_client: Client, model: str) -> None:
    """Not even a superuser adds or changes here, nor deletes an event."""
    rows: dict[str, Any] = {
        "storedevent": make_event(),
        "deadletter": make_letter(),
        "losscount": LossCount.objects.create(alias="a", reason="r", day=date(2026, 3, 29)),
    }
    row = rows[model]
    assert admin_client.get(reverse(f"admin:littlebro_{model}_add")).status_code == 403
    assert admin_client.post(page_of(row), {"name": "x"}).status_code == 403
    if model != "deadletter":
        delete = reverse(f"admin:littlebro_{model}_delete", args=[row.pk])
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        action = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        admin_client.post(list_of(model), action)
    row.refresh_from_db()


@pytest.mark.parametrize("model", ["storedevent", "deadletter", "losscount"])
def test_looking_takes_the_permission(client: Client, model: str) -> None:
    """Staff without it see nothing, on no page; others are sent to log in."""
    row: Any = make_event() if model == "storedevent" else make_letter()
    urls = [list_of(model)] + ([page_of(row)] if model != "losscount" else [])
    assert {client.get(url).status_code for url in urls} == {302}
    user = User.objects.create_user("staff", password="x", is_staff=True)
    client.force_login(user)
    others = [f"{right}_{model}" for right in ("add", "change", "delete")]
    user.user_permissions.set(Permission.objects.filter(codename__in=others))
    assert {client.get(url).status_code for url in urls} == {403}
    assert b"littlebro" not in client.get(reverse("admin:index")).content
    user.user_permissions.add(Permission.objects.get(codename=f"view_{model}"))
    assert {client.get(url).status_code for url in urls} == {200}


@pytest.mark.parametrize("model", ["storedevent", "deadletter"])
@pytest.mark.parametrize("key", ["0", "x", "-1", "9" * 30, "1_2F"])
def test_a_row_that_is_not_there_is_said_to_be_gone(admin_client: Client, model: str, key: str) -> None:
    url = reverse(f"admin:littlebro_{model}_change", args=[key])
    answer = admin_client.get(url, follow=True)
    assert answer.redirect_chain == [(list_of(model), 302)]
    assert "is not there" in answer.content.decode()


def test_pages_need_no_inline_script_or_style(admin_client: Client) -> None:
    """They work under `default-src 'self'`, and in themes that know three blocks only."""
    urls = [list_of("storedevent"), list_of("deadletter"), page_of(make_event()), page_of(make_letter())]
    for url in urls:
        page = admin_client.get(url).content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)", page)
    for template in TEMPLATES.rglob("*.html"):
        blocks = set(re.findall(r"{% block (\S+) %}", template.read_text()))
        assert blocks <= {"content", "extrastyle", "extrahead", "littlebro"}
