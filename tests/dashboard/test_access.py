"""Being staff shows nothing: each view asks for the dashboard's own permissions, JSON and exports included."""

from typing import Any, ClassVar

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, get_resolver, path, resolve, reverse
from django.utils import timezone
from django.utils.html import strip_tags

from littlebro.analysis.lake.sync import sync
from littlebro.dashboard import actions
from littlebro.dashboard.accounts import Accounts
from littlebro.dashboard.export import FORMATS
from littlebro.dashboard.pages import PAGES
from littlebro.dashboard.panels import PANELS
from littlebro.delivery import transactions
from littlebro.models import Annotation, SavedView, StoredEvent
from tests.dashboard.site import (
    BOARD,
    ERASE,
    EXPORT,
    MANAGE,
    PERSON,
    STEPS,
    VIEW,
    AwayStore,
    event,
    export,
    fill,
    panel,
    staff,
    store,
)

pytestmark = pytest.mark.django_db

QUERIES = {
    "list": "by=params.plan", "breakdown": "by=params.plan", "funnel": STEPS, "funnel-people": f"{STEPS}&people=1",
    "person": "who=u:1",
}  # fmt: skip
OPEN = [slug for slug, found in PANELS.items() if not found.persons]
PERSONAL = [slug for slug, found in PANELS.items() if found.persons]


def every_address() -> list[str]:
    """Return every address of the dashboard, taken from its own list, with arguments filled in."""
    view = SavedView.objects.create(name="v", page="trends")
    note = Annotation.objects.create(at=event("x").timestamp, text="n")
    arguments: dict[str, Any] = {
        "panel": [[slug] for slug in PANELS],
        "export": [[slug, kind] for slug in PANELS for kind in FORMATS],
        "page": [[slug] for slug in PAGES if slug != "overview"],
        "added": [["anything"]], "forget": [[view.pk]], "unannotate": [[note.pk]],
    }  # fmt: skip
    names = {
        pattern.name
        for pattern in _flat(get_resolver())
        if pattern.name and pattern.name.startswith("littlebro_dashboard_")
    }
    assert len(names) > 9
    found = []
    for name in sorted(names):
        given = arguments.get(name.removeprefix("littlebro_dashboard_"), [[]])
        found += [reverse(f"admin:{name}", args=each) for each in given]
    return found


def _flat(resolver: Any) -> list[URLPattern]:
    found: list[URLPattern] = []
    for pattern in resolver.url_patterns:
        found += [pattern] if isinstance(pattern, URLPattern) else _flat(pattern)
    return found


def test_staff_without_a_permission_see_nothing(client: Client) -> None:
    """Neither by looking nor by sending; strangers are sent to log in."""
    fill()
    addresses = every_address()
    for address in addresses:
        assert client.get(address).status_code in {302, 405}
    client.force_login(staff(PERSON, EXPORT, MANAGE, ERASE))
    for address in addresses:
        assert client.get(address).status_code in {403, 405}, address
        assert client.post(address).status_code in {403, 405}, address
    assert b"littlebro/dashboard" not in client.get(reverse("admin:index")).content
    assert (SavedView.objects.count(), Annotation.objects.count()) == (1, 1)


def test_looking_takes_its_permission(client: Client) -> None:
    fill()
    client.force_login(staff(VIEW))
    assert b"littlebro/dashboard" in client.get(reverse("admin:index")).content
    for slug in OPEN:
        assert client.get(panel(slug, QUERIES.get(slug, ""))).status_code == 200, slug


def test_persons_take_a_permission_of_their_own(client: Client) -> None:
    """Without it there is no list, no timeline, no filter by one, no id anywhere."""
    store(event("seen", 1, user_id="secret-user", anonymous_id="secret-visitor", params={"a": 1}))
    client.force_login(staff(VIEW, EXPORT))
    for slug in PERSONAL:
        assert client.get(panel(slug, QUERIES.get(slug, ""))).status_code == 403
        assert client.get(export(slug, "csv", QUERIES.get(slug, ""))).status_code == 403
    for page in (
        "people/",
        "person/?who=u:1",
        "?person=u:1",
        "breakdown/?by=user_id",
        "trends/?by=anonymous_id",
    ):
        assert client.get(BOARD + page).status_code == 403, page
    for query in ("by=user_id", "by=%20user_id", "by=anonymous_id", "person=u:secret-user"):
        for slug in OPEN:
            assert client.get(panel(slug, query)).status_code == 403, (slug, query)
            assert client.get(export(slug, "json", query)).status_code == 403, (slug, query)
    for slug in OPEN:
        query = QUERIES.get(slug, "").replace("signed-up", "seen")
        texts = [client.get(panel(slug, query)).content]
        texts += [client.get(export(slug, kind, query)).content for kind in FORMATS]
        assert not any(b"secret" in text for text in texts), slug
    for page in ("", "live/", f"funnel/?{STEPS}&people=1", "suggest/"):
        content = client.get(BOARD + page + ("&" if "?" in page else "?") + "every=1").content
        assert b"secret" not in content
        assert b'id="lb-find"' not in content


def test_with_it_persons_are_there(client: Client) -> None:
    fill()
    client.force_login(staff(VIEW, PERSON))
    for slug in PERSONAL:
        assert client.get(panel(slug, QUERIES.get(slug, ""))).status_code == 200, slug
    assert b"who=u%3A1" in client.get(panel("people")).content
    assert b'id="lb-find"' in client.get(BOARD).content


def test_exports_take_a_permission_of_their_own(client: Client) -> None:
    fill()
    client.force_login(staff(VIEW, PERSON))
    for slug in PANELS:
        for kind in FORMATS:
            assert client.get(export(slug, kind, QUERIES.get(slug, ""))).status_code == 403
    assert b"/export/" not in client.get(BOARD).content
    client.force_login(staff(VIEW, PERSON, EXPORT, name="other"))
    for slug in PANELS:
        for kind in FORMATS:
            assert client.get(export(slug, kind, QUERIES.get(slug, ""))).status_code == 200, (slug, kind)
    assert b"/export/" in client.get(BOARD).content


def test_keeping_views_takes_a_permission_of_its_own(client: Client) -> None:
    fill()
    client.force_login(staff(VIEW, PERSON, EXPORT))
    view = SavedView.objects.create(name="Mine", page="trends", query="range=7d")
    form = {"name": "x", "page": "trends", "query": "", "text": "x", "at": "2026-03-01T10:00"}
    for name, given in (("save", []), ("forget", [view.pk]), ("annotate", []), ("unannotate", [1])):
        assert client.post(reverse(f"admin:littlebro_dashboard_{name}", args=given), form).status_code == 403
    page = client.get(f"{BOARD}trends/").content
    assert b"Mine" in page
    assert b"Save this page as" not in page
    assert b"What happened" not in page
    assert SavedView.objects.count() == 1


@pytest.mark.parametrize(
    "page, query",
    [
        ("trends", "person=u:secret"), ("person", "who=u:secret"), ("breakdown", "by=user_id&name=secret"),
        ("trends", "&".join(["name=secret"] * 1_001)),
    ],
    ids=["filter", "page", "field", "unreadable"],
)  # fmt: skip
def test_a_view_of_persons_is_kept_from_who_may_not_see_them(client: Client, page: str, query: str) -> None:
    """Its address names them, and what one calls it may too."""
    SavedView.objects.create(name="Of secret", page=page, query=query)
    SavedView.objects.create(name="Plans", page="trends", query="by=params.plan&person=")
    client.force_login(staff(VIEW, MANAGE))
    content = client.get(BOARD).content
    assert b"secret" not in content
    assert b"Plans" in content
    client.force_login(staff(VIEW, PERSON, name="other"))
    assert b"Of secret" in client.get(BOARD).content


def test_erasing_takes_a_permission_of_its_own(client: Client) -> None:
    """It is asked for before, and done by POST alone."""
    fill()
    address = f"{BOARD}erase/?who=u:1"
    client.force_login(staff(VIEW, PERSON, EXPORT, MANAGE))
    assert client.get(address).status_code == 403
    assert client.post(address, {"who": "u:1", "confirmed": "yes"}).status_code == 403
    assert b"Erase" not in client.get(panel("person", "who=u:1")).content
    user = staff(VIEW, PERSON, ERASE, name="other")
    client.force_login(user)
    assert b"Erase" in client.get(panel("person", "who=u:1")).content
    assert b"cannot be undone" in client.get(address).content
    assert client.post(address, {"who": "u:1"}).status_code == 403
    assert client.get(f"{BOARD}erase/?who=x").status_code == 404
    assert StoredEvent.objects.filter(user_id="1").exists()
    answer = client.post(address, {"who": "u:1", "confirmed": "yes"}, follow=True)
    assert "Erased. backend: 3" in answer.content.decode()
    assert not StoredEvent.objects.filter(user_id="1").exists()


def test_a_person_is_erased_from_the_alias_that_was_named_or_not_at_all(admin_client: Client) -> None:
    """An address of old days, whose alias the settings have no more, does not erase from another one."""
    fill()
    address = f"{BOARD}erase/?who=u:1&alias=gone"
    assert admin_client.get(address).status_code == 404
    assert admin_client.post(address, {"who": "u:1", "confirmed": "yes"}).status_code == 404
    assert StoredEvent.objects.filter(user_id="1").count() == 3


def test_a_store_that_is_away_is_said_where_one_would_erase(admin_client: Client, settings: Any) -> None:
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": f"{AwayStore.__module__}.AwayStore"}}
    form = {"who": "u:1", "confirmed": "yes"}
    answer = admin_client.post(f"{BOARD}erase/", form, follow=True)
    assert answer.redirect_chain == [(f"{BOARD}erase/?alias=default&who=u%3A1", 302)]
    assert "Not all is erased: The store of &#x27;default&#x27; could not be asked" in answer.content.decode()
    assert "hunter2" not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_erasing_is_done_in_no_transaction(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ATOMIC_REQUESTS: until its end, others would store what still waits of the person."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen: list[bool] = []

    def look(*_: object) -> dict[str, int]:
        seen.append(transactions.is_open())
        return {}

    monkeypatch.setattr(actions, "forget", look)
    admin_client.post(f"{BOARD}erase/", {"who": "u:1", "confirmed": "yes"})
    assert seen == [False]


class _Refusing(AwayStore):
    """Tells whether it is asked in a transaction, and refuses."""

    asked: ClassVar[list[bool]] = []

    def scan(self, query: Any, after: Any = None) -> Any:
        self.asked.append(transactions.is_open())
        raise OperationalError("canceling statement due to statement timeout")

    def scan_stored(self, after: Any = None) -> Any:
        return self.scan(None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["", "?every=1", "suggest/", "panel/figures/", "export/figures/csv/"])
def test_a_store_is_asked_in_no_transaction(
    admin_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Of ATOMIC_REQUESTS: one that has refused a question would refuse all that the page asks besides."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.LITTLEBRO = {"default": {"TRACKER": "dummy", "BACKEND": f"{__name__}._Refusing"}}
    _Refusing.asked.clear()
    admin_client.get(f"{BOARD}{address}")
    assert _Refusing.asked
    assert not any(_Refusing.asked)


def test_erasing_reaches_the_lake(admin_client: Client, with_lake: Any) -> None:
    """The page says so; what the reports read is gone with the store's rows."""
    fill()
    sync()
    assert b"signed-up" in admin_client.get(panel("person", "who=u:1")).content
    answer = admin_client.post(f"{BOARD}erase/", {"who": "u:1", "confirmed": "yes"}, follow=True)
    assert "Erased. backend: 3, dead letters: 0, lake: 3." in answer.content.decode()
    assert b"signed-up" not in admin_client.get(panel("person", "who=u:1")).content


def test_accounts_are_named_to_those_who_may_see_accounts(client: Client) -> None:
    """A user id is joined to the site's own account; the search finds it by name."""
    anna = staff(name="anna@shop")
    store(
        event("seen", 1, user_id=str(anna.pk)),
        event("seen", 1, user_id="x" * 200),
        event("seen", 1, user_id="9" * 30),
    )
    user = staff(VIEW, PERSON)
    client.force_login(user)
    assert b"anna@shop" not in client.get(panel("people")).content
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    for address in (
        panel("people"),
        panel("person", f"who=u:{anna.pk}"),
        panel("live"),
        panel("people", "q=ANNA"),
        panel("list", "by=user_id"),
        panel("breakdown", "by=user_id"),
    ):
        content = client.get(address).content.decode()
        assert "anna@shop" in content, address
    assert (
        f"/admin/auth/user/{anna.pk}/change/"
        in client.get(panel("person", f"who=u:{anna.pk}")).content.decode()
    )
    assert client.get(panel("people", "q=%00")).status_code in {200, 400}
    user.user_permissions.add(Permission.objects.get(codename="erase_person"))
    asked = " ".join(strip_tags(client.get(f"{BOARD}erase/?who=u:{anna.pk}").content.decode()).split())
    assert f"Erase anna@shop, user {anna.pk}?" in asked


class _OwnTeam(UserAdmin):
    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).exclude(username__startswith="other-")


def test_accounts_that_the_admin_keeps_from_who_asks_are_kept_here_too(
    rf: RequestFactory, admin_user: Any
) -> None:
    """A site's own admin of accounts may show each team its own: `get_queryset` says which."""
    site = AdminSite("teams")
    site.register(User, _OwnTeam)
    mine, others = staff(name="our-anna"), staff(name="other-anna")
    request = rf.get("/")
    request.user = admin_user
    with override_settings(ROOT_URLCONF=type("urls", (), {"urlpatterns": [path("teams/", site.urls)]})):
        found = Accounts(site, request)
        assert set(found.look_up([str(mine.pk), str(others.pk)])) == {str(mine.pk)}
        assert [account.name for account in found.search("anna")] == ["our-anna"]


_people = AdminSite("people")
_people.register(Session)
urlpatterns = [path("people/", _people.urls)]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("key", ["plain", "anna_2Fb", "_5F", "a/b", 'a"b'])
def test_accounts_whose_keys_are_texts(rf: RequestFactory, admin_user: Any, settings: Any, key: str) -> None:
    """The admin writes such keys in a way of its own into addresses; ours lead to the same page."""
    Session.objects.create(session_key=key, expire_date=timezone.now())
    settings.AUTH_USER_MODEL = "sessions.Session"
    request = rf.get("/")
    request.user = admin_user
    found = Accounts(_people, request).look_up([key])
    assert unquote(resolve(found[key].url.replace("%22", '"')).kwargs["object_id"]) == key
