"""Views kept under a name, annotations in the charts: for everyone, and only by those who may."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from littlebro.models import Annotation, SavedView
from tests.dashboard.site import BOARD, fill

pytestmark = pytest.mark.django_db


def post(client: Client, action: str, *arguments: Any, **form: str) -> Any:
    return client.post(reverse(f"admin:littlebro_dashboard_{action}", args=arguments), form, follow=True)


def test_a_view_is_a_page_with_what_is_asked(admin_client: Client) -> None:
    """It leads back to the same figures; another one of the name takes its place."""
    fill()
    query = "range=7d&compare=previous&by=params.plan"
    answer = post(admin_client, "save", name="Plans, weekly", page="trends", query=query)
    assert answer.redirect_chain == [(f"{BOARD}trends/?{query}", 302)]
    assert "Saved as “Plans, weekly”." in answer.content.decode()
    view = SavedView.objects.get()
    assert (view.name, view.page, view.query, view.author) == ("Plans, weekly", "trends", query, "admin")
    assert str(view) == "Plans, weekly"
    page = admin_client.get(BOARD).content.decode()
    assert f'href="{BOARD}trends/?range=7d&amp;compare=previous&amp;by=params.plan"' in page
    post(admin_client, "save", name="Plans, weekly", page="overview", query="")
    assert SavedView.objects.get().page == "overview"
    answer = post(admin_client, "forget", view.pk, page="overview", query="")
    assert not SavedView.objects.exists()
    assert answer.redirect_chain == [(BOARD, 302)]


def test_who_logs_in_by_a_number_may_keep_views_too(
    admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field that a site's own accounts log in by need not be text: a number of staff, a UUID."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "id")
    assert "Saved as" in post(admin_client, "save", name="Mine", page="trends").content.decode()
    assert SavedView.objects.get().author == str(admin_user.pk)


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "page": "trends"},
        {"name": "x" * 101, "page": "trends"},
        {"name": "x", "page": "//evil.example/"},
    ],
)
def test_a_view_that_makes_no_sense_is_not_kept(admin_client: Client, form: dict[str, str]) -> None:
    """Nor does the form lead anywhere else."""
    answer = post(admin_client, "save", **form)
    assert "Nothing was saved." in answer.content.decode()
    assert answer.redirect_chain[0][0].startswith(BOARD)
    assert not SavedView.objects.exists()


def test_a_view_of_a_page_that_is_gone_leads_to_the_overview(admin_client: Client) -> None:
    SavedView.objects.create(name="Old", page="gone", query="range=7d")
    assert f'href="{BOARD}?range=7d"' in admin_client.get(BOARD).content.decode()


def test_an_annotation_is_written_and_deleted(admin_client: Client, settings: Any) -> None:
    """Its time is read in the current zone."""
    fill()
    answer = post(
        admin_client, "annotate", text="Deployed 4.2", at="2026-03-01T10:00", page="trends", query=""
    )
    assert answer.status_code == 200
    note = Annotation.objects.get()
    assert (note.text, note.author, str(note)) == ("Deployed 4.2", "admin", "Deployed 4.2")
    assert note.at.isoformat() == "2026-03-01T04:15:00+00:00"
    assert "Deployed 4.2" in admin_client.get(f"{BOARD}trends/").content.decode()
    post(admin_client, "unannotate", note.pk, page="trends", query="")
    assert not Annotation.objects.exists()
    assert post(admin_client, "unannotate", note.pk).status_code == 404
    for form in (
        {"text": "", "at": "2026-03-01T10:00"},
        {"text": "x", "at": "never"},
        {"text": "x\0", "at": "2026-03-01"},
        {"text": "x", "at": "0001-01-01T00:00"},
        {"text": "x", "at": "9999-12-31T23:59"},
    ):
        assert "Nothing was saved." in post(admin_client, "annotate", **form).content.decode()
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("use_tz", [True, False])
def test_an_annotation_is_read_as_it_was_written(admin_client: Client, settings: Any, use_tz: bool) -> None:
    """Its time is one of the current zone in the list as well, with or without USE_TZ."""
    fill()
    settings.USE_TZ = use_tz
    post(admin_client, "annotate", text="Deployed 4.2", at="2026-03-01T10:00", page="trends", query="")
    assert "1 Mar 2026, 10:00" in admin_client.get(f"{BOARD}trends/").content.decode()


def test_nothing_is_kept_by_looking(admin_client: Client) -> None:
    for action in ("save", "annotate"):
        assert admin_client.get(reverse(f"admin:littlebro_dashboard_{action}")).status_code == 405
