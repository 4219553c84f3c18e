"""The admin shows events and dead letters as text, whoever sent them, and changes nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from littlebro.models import DeadLetter, StoredEvent

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    "=cmd()",
    "\u202eevil",
    "😀",
    "{{ 7 }}",
    "%s",
    "' onload='x",
    "</pre></bdi>",
]

pytestmark = pytest.mark.django_db


@pytest.fixture
def event() -> StoredEvent:
    return StoredEvent.objects.create(
        event_id="<b>id</b>", collection="shop", name="<b>name</b>", timestamp=NOON, received_at=NOON,
        user_id="<b>user</b>", anonymous_id="<b>visitor</b>", params={"<b>k</b>": HOSTILE, "n": 2**53 + 1}, context={},
    )  # fmt: skip


@pytest.fixture
def letter() -> DeadLetter:
    return DeadLetter.objects.create(
        alias="default", collection="shop", event_id="<b>id</b>", name="<b>name</b>", user_id="<b>user</b>",
        body=b'{"params": {"x": "<b>body</b>"}}', reason="<b>reason</b>",
    )  # fmt: skip


def pages(model: str, pk: Any) -> list[str]:
    return [
        reverse(f"admin:littlebro_{model}_changelist"),
        reverse(f"admin:littlebro_{model}_change", args=[pk]),
    ]


def test_hostile_events_are_shown_as_text(admin_client: Client, event: StoredEvent) -> None:
    """Markup in names, ids and values is escaped, on the list and on the page of one event."""
    for url in pages("storedevent", event.pk):
        response = admin_client.get(url)
        assert response.status_code == 200
        text = response.content.decode()
        assert "<b>" not in text.replace("<b>Filter", "")
        assert "<script>alert(1)" not in text
        assert "<bdi>&lt;b&gt;name&lt;/b&gt;</bdi>" in text
        assert "&lt;b&gt;user&lt;/b&gt;" in text
    assert "9007199254740993" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;/pre&gt;" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_name_has_a_page(admin_client: Client, name: str) -> None:
    row = StoredEvent.objects.create(
        event_id=name, collection="shop", name=name, timestamp=NOON, received_at=NOON
    )
    for url in pages("storedevent", row.pk):
        assert admin_client.get(url).status_code == 200


def test_hostile_letters_are_shown_as_text(admin_client: Client, letter: DeadLetter) -> None:
    for url in pages("deadletter", letter.pk):
        text = admin_client.get(url).content.decode()
        assert "<b>" not in text
        assert "&lt;b&gt;reason&lt;/b&gt;" in text
    assert "&lt;b&gt;body&lt;/b&gt;" in text


@pytest.mark.parametrize("body", [b"\xff\x00 not JSON <b>", b"[" * 5000, b"", b'"\xed\xa0\x80"'])
def test_a_body_of_any_bytes_has_a_page(admin_client: Client, letter: DeadLetter, body: bytes) -> None:
    """A letter that is not JSON is shown all the same."""
    DeadLetter.objects.update(body=body)
    response = admin_client.get(pages("deadletter", letter.pk)[1])
    assert response.status_code == 200
    assert b"<b>" not in response.content


@pytest.mark.parametrize("model", ["storedevent", "deadletter"])
def test_nothing_can_be_changed(
    admin_client: Client, event: StoredEvent, letter: DeadLetter, model: str
) -> None:
    """Not even a superuser adds, changes or deletes here."""
    pk = {"storedevent": event.pk, "deadletter": letter.pk}[model]
    assert admin_client.get(reverse(f"admin:littlebro_{model}_add")).status_code == 403
    assert admin_client.post(reverse(f"admin:littlebro_{model}_change", args=[pk]), {}).status_code == 403
    assert (
        admin_client.post(reverse(f"admin:littlebro_{model}_delete", args=[pk]), {"post": "yes"}).status_code
        == 403
    )
    action = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    admin_client.post(reverse(f"admin:littlebro_{model}_changelist"), action)
    assert StoredEvent.objects.count() == DeadLetter.objects.count() == 1


def test_looking_takes_the_permission(client: Client, event: StoredEvent) -> None:
    """Staff see events only with the permission to view them."""
    user = User.objects.create_user("staff", password="x", is_staff=True)
    client.force_login(user)
    url = pages("storedevent", event.pk)[0]
    assert client.get(url).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_storedevent"))
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("text", ["<b>name</b>", "<b>id</b>", "<b>user</b>", "<b>visitor</b>"])
def test_searching_is_by_whole_ids_and_names(admin_client: Client, event: StoredEvent, text: str) -> None:
    url = pages("storedevent", event.pk)[0]
    assert admin_client.get(url, {"q": text}).context["cl"].result_count == 1
    assert admin_client.get(url, {"q": text[:-1]}).context["cl"].result_count == 0
    assert admin_client.get(url, {"q": "a\0b"}).status_code == 200


def test_filters_work(admin_client: Client, event: StoredEvent, letter: DeadLetter) -> None:
    url = pages("storedevent", event.pk)[0]
    assert admin_client.get(url, {"collection": "shop"}).context["cl"].result_count == 1
    url = pages("deadletter", letter.pk)[0]
    assert admin_client.get(url, {"alias": "default", "q": "<b>name</b>"}).context["cl"].result_count == 1
