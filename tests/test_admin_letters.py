"""Dead letters are replayed and deleted from the admin, by those who may, and it is noted who did."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from littlebro.delivery import deadletters
from littlebro.events.event import Event, encode
from littlebro.models import DeadLetter, StoredEvent
from littlebro.storage import BaseBackend, SaveResult

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
LIST = "/admin/littlebro/deadletter/"

pytestmark = pytest.mark.django_db


class Picky(BaseBackend):
    """Takes no event whose params say so, and is away at times."""

    away = False

    def save_many(self, events: Sequence[Event]) -> SaveResult:
        if self.away:
            raise ConnectionError("the warehouse is away <b>")
        refused: Mapping[tuple[str, str], str] = {
            (event.collection, event.id): "22P05: still <b>" for event in events if event.params.get("bad")
        }
        return SaveResult(stored=len(events) - len(refused), refused=refused)


def letter(number: int, **fields: Any) -> DeadLetter:
    event = Event(
        id=str(number),
        name="order-paid",
        timestamp=NOON,
        received_at=NOON,
        params=fields.pop("params", {}),
        context={},
    )
    given = {
        "alias": "default", "collection": event.collection, "event_id": event.id, "name": event.name,
        "body": encode(event), "reason": "no",
    }  # fmt: skip
    return DeadLetter.objects.create(**given | fields)


@pytest.fixture(autouse=True)
def _sinks(settings: Any) -> None:
    settings.LITTLEBRO = {
        "default": {"SINKS": ["warehouse"]},
        "warehouse": {"BACKEND": f"{__name__}.Picky"},
    }


@pytest.fixture
def staff(client: Client) -> Any:
    """Log in as one of the staff who may look at letters, and whatever else the test names."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("staff", password="x", is_staff=True)
        wanted = Permission.objects.filter(codename__in=["view_deadletter", *codenames])
        assert len(wanted) == 1 + len(codenames)
        user.user_permissions.set(wanted)
        client.force_login(user)
        return client

    return log_in


def act(client: Client, action: str, *letters: DeadLetter, url: str = LIST, **fields: str) -> Any:
    return client.post(url, {"action": action, "letter": [row.pk for row in letters], **fields})


def said(response: Any, client: Client) -> str:
    return client.get(response["Location"]).content.decode()


def test_replaying_stores_the_event_and_takes_the_letter_away(staff: Any) -> None:
    client, rows = staff("replay_deadletter"), [letter(1), letter(2), letter(3)]
    response = act(client, "replay", *rows[:2], url=f"{LIST}?alias=default")
    assert response["Location"] == f"{LIST}?alias=default"
    assert "2 events stored." in said(response, client)
    assert {row.event_id for row in StoredEvent.objects.all()} == {"1", "2"}
    assert [row.event_id for row in DeadLetter.objects.all()] == ["3"]
    notes = LogEntry.objects.filter(action_flag=CHANGE, change_message="Replayed.")
    assert {note.object_id for note in notes} == {str(row.pk) for row in rows[:2]}
    assert {note.object_repr for note in notes} == {"order-paid (1)", "order-paid (2)"}


def test_numbers_with_separators_stay_keys(staff: Any, settings: Any) -> None:
    """A site may write its numbers as 1,234; the forms of lists, pages and questions go on naming 1234."""
    settings.USE_THOUSAND_SEPARATOR = True
    client, row = staff("replay_deadletter", "delete_deadletter"), letter(1, pk=1234)
    named = 'name="letter" value="1234"'
    assert named in client.get(LIST).content.decode()
    assert named in client.get(f"{LIST}{row.pk}/change/").content.decode()
    assert named in act(client, "delete", row).content.decode()


def test_what_is_refused_again_stays_with_the_new_reason(staff: Any) -> None:
    client = staff("replay_deadletter")
    rows = [letter(1, sink="warehouse", params={"bad": True}), letter(2, sink="warehouse")]
    page = said(act(client, "replay", *rows), client)
    assert "1 event stored. 1 letter stays" in page
    (left,) = DeadLetter.objects.all()
    assert (left.event_id, left.attempts, left.reason) == ("1", 2, "22P05: still <b>")
    assert "22P05: still &lt;b&gt;" in page


def test_a_destination_that_is_away_keeps_the_letter(staff: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, row = staff("replay_deadletter"), letter(1, sink="warehouse")
    monkeypatch.setattr(Picky, "away", True)
    response = act(client, "replay", row, **{"from": "page"})
    assert response["Location"] == f"{LIST}{row.pk}/change/"
    page = said(response, client)
    assert "0 events stored. 1 letter stays" in page
    assert "the warehouse is away &lt;b&gt;" in page
    monkeypatch.setattr(Picky, "away", False)
    response = act(client, "replay", row, **{"from": "page"})
    assert response["Location"] == LIST
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("note", ["refused", "damaged"])
def test_what_is_no_event_cannot_be_replayed(staff: Any, note: str) -> None:
    """Its page says so instead of offering it; if it is tried all the same, the letter stays."""
    if note == "refused":
        fields = {
            "alias": "default",
            "collection": "littlebro",
            "id": "1",
            "name": "x",
            "reason": "params: NaN",
        }
        deadletters.add_refused([fields])
    else:
        deadletters.add_unreadable("default", {"segment:3": b"\0torn"})
    (row,) = DeadLetter.objects.all()
    client = staff("replay_deadletter")
    page = client.get(f"{LIST}{row.pk}/change/").content.decode()
    assert "cannot be replayed" in page
    assert 'value="replay"' not in page
    assert "1 letter stays" in said(act(client, "replay", row), client)


def test_deleting_asks_first(staff: Any) -> None:
    client, rows = staff("delete_deadletter"), [letter(1), letter(2, name="<b>"), letter(3)]
    asked = act(client, "delete", *rows[:2]).content.decode()
    assert "These 2 dead letters" in asked
    assert "<bdi>&lt;b&gt;</bdi>" in asked
    assert asked.count('name="letter"') == 2
    assert DeadLetter.objects.count() == 3
    response = act(client, "delete", *rows[:2], confirmed="yes")
    assert "2 dead letters deleted." in said(response, client)
    assert [row.event_id for row in DeadLetter.objects.all()] == ["3"]
    assert not StoredEvent.objects.exists()
    assert LogEntry.objects.filter(action_flag=DELETION, change_message="Deleted.").count() == 2
    url = reverse("admin:littlebro_deadletter_delete", args=[rows[2].pk])
    assert "This dead letter" in client.get(url).content.decode()
    client.post(
        url, {"post": "yes"}
    )  # Django's own confirmation deletes nothing here: ours names the letters
    assert DeadLetter.objects.count() == 1


@pytest.mark.parametrize(
    "codenames, allowed",
    [((), set()), (("replay_deadletter",), {"replay"}), (("delete_deadletter",), {"delete"}),
     (("replay_deadletter", "delete_deadletter"), {"replay", "delete"})],
)  # fmt: skip
def test_each_takes_a_permission_of_its_own(
    staff: Any, codenames: tuple[str, ...], allowed: set[str]
) -> None:
    """What one may not do is neither offered nor done."""
    client, row = staff(*codenames), letter(1)
    listed = client.get(LIST).content.decode()
    page = client.get(f"{LIST}{row.pk}/change/").content.decode()
    for action, mark in (("replay", 'value="replay"'), ("delete", f"{LIST}{row.pk}/delete/")):
        assert (f'value="{action}"' in listed) is (action in allowed)
        assert (mark in page) is (action in allowed)
    assert ('type="checkbox"' in listed) is bool(allowed)
    assert client.get(f"{LIST}{row.pk}/delete/").status_code == (200 if "delete" in allowed else 403)
    assert act(client, "delete", row).status_code == (200 if "delete" in allowed else 403)
    for action in {"replay", "delete"} - allowed:
        assert act(client, action, row, confirmed="yes").status_code == 403
    assert act(client, "delete_selected", row).status_code == 403
    assert DeadLetter.objects.count() == 1
    assert LogEntry.objects.count() == 0


def test_acting_takes_the_permission_to_look_and_a_token(client: Client) -> None:
    row = letter(1)
    user = User.objects.create_user("staff", password="x", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["replay_deadletter", "delete_deadletter"])
    )
    client.force_login(user)
    assert act(client, "replay", row).status_code == 403
    assert act(client, "delete", row, confirmed="yes").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert act(strict, "replay", row).status_code == 403
    assert DeadLetter.objects.count() == 1


@pytest.mark.parametrize("ticked", [[], ["x"], ["9" * 30], ["999"], ["-1"], ["1 OR 1=1"], ["٣"]])
def test_ticking_nothing_does_nothing(staff: Any, ticked: list[str]) -> None:
    client = staff("replay_deadletter", "delete_deadletter")
    letter(1)
    for action in ("replay", "delete"):
        response = client.post(LIST, {"action": action, "letter": ticked, "confirmed": "yes"})
        assert "tick some" in said(response, client)
    assert DeadLetter.objects.count() == 1
