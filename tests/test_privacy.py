"""What of a request is recorded, and what never is."""

import tracemalloc
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from littlebro import privacy


def ask(path: str = "/", **meta: str) -> HttpRequest:
    return RequestFactory().get(path, **meta)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "policy,address,kept",
    [
        ("truncated", "203.0.113.77", "203.0.113.0"),
        ("truncated", " 203.0.113.77 ", "203.0.113.0"),
        ("truncated", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("truncated", "::ffff:203.0.113.77", "203.0.113.0"),
        ("truncated", "2002:cb00:714d::1", "2002:cb00:7100::"),
        ("truncated", "fe80::1%eth0", "fe80::"),
        ("truncated", "", None),
        ("truncated", "host.example", None),
        ("full", "203.0.113.77", "203.0.113.77"),
        ("full", "2001:DB8::0:1", "2001:db8::1"),
        ("full", "::ffff:203.0.113.77", "203.0.113.77"),
        ("full", "unix:", None),
        ("off", "203.0.113.77", None),
    ],
)
def test_address_policy(policy: str, address: str, kept: str | None) -> None:
    """An address is dropped, cut (/24, /48) or kept; requests and log lines go by the same setting."""
    with override_settings(LITTLEBRO_IP=policy):
        assert privacy.shorten_ip(address) == kept
        assert privacy.client_ip(ask(REMOTE_ADDR=address)) == kept


def test_address_is_truncated_by_default() -> None:
    """Nobody has to find a setting to be careful."""
    assert privacy.client_ip(ask(REMOTE_ADDR="203.0.113.77")) == "203.0.113.0"


@pytest.mark.parametrize(
    "proxies,forwarded,peer,visitor",
    [
        # Without proxies the header is anybody's word.
        (0, "198.51.100.9", "203.0.113.7", "203.0.113.7"),
        ([], "198.51.100.9", "203.0.113.7", "203.0.113.7"),
        # One proxy: the last entry is what that proxy saw; those before it are the visitor's claims.
        (1, "198.51.100.9", "10.0.0.1", "198.51.100.9"),
        (1, "6.6.6.6, 198.51.100.9", "10.0.0.1", "198.51.100.9"),
        (1, "<script>, 198.51.100.9", "10.0.0.1", "198.51.100.9"),
        (1, "198.51.100.9:4711", "10.0.0.1", "198.51.100.9"),
        (1, "[2001:db8::9]:4711", "10.0.0.1", "2001:db8::9"),
        (2, "6.6.6.6, 198.51.100.9, 10.0.0.2", "10.0.0.1", "198.51.100.9"),
        # Past the proxies, or a proxy's own health check: the peer is the visitor.
        (1, None, "203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.9", "203.0.113.7", "203.0.113.7"),
        # A proxy that hides its visitor.
        (1, "unknown", "10.0.0.1", None),
        (1, "6.6.6.6, unknown", "10.0.0.1", None),
        # A list: the last hop that is none of ours.
        (["10."], "198.51.100.9", "10.0.0.1", "198.51.100.9"),
        (["10."], "6.6.6.6, 198.51.100.9, 10.0.0.2", "10.0.0.1", "198.51.100.9"),
        (["10.0.0.0/8", "172.16.1.1"], "6.6.6.6, 198.51.100.9, 172.16.1.1", "10.0.0.1", "198.51.100.9"),
        (["10."], "198.51.100.9", "203.0.113.7", "203.0.113.7"),
        (["10."], None, "10.0.0.1", "10.0.0.1"),
        (["10."], "10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
        (["10."], "6.6.6.6, unknown", "10.0.0.1", None),
        (["10."], "6.6.6.6,, ", "10.0.0.1", None),
        # A unix socket has no address: gunicorn and uvicorn give none for the peer, waitress gives a name.
        (1, "6.6.6.6, 198.51.100.9", "", "198.51.100.9"),
        (1, "198.51.100.9", None, "198.51.100.9"),
        (2, "6.6.6.6, 198.51.100.9, 10.0.0.2", "localhost", "198.51.100.9"),
        (["127.0.0.1"], "6.6.6.6, 198.51.100.9", "", "198.51.100.9"),
        (["10."], "198.51.100.9", "", "127.0.0.1"),
        (1, None, "", "127.0.0.1"),
        (0, "198.51.100.9", "", None),
    ],
)
@override_settings(LITTLEBRO_IP="full")
def test_trusted_proxies(proxies: Any, forwarded: str | None, peer: str | None, visitor: str | None) -> None:
    """X-Forwarded-For counts as far as our own proxies wrote it, and not one entry further."""
    request = ask() if forwarded is None else ask(HTTP_X_FORWARDED_FOR=forwarded)
    request.META["REMOTE_ADDR"] = peer
    with override_settings(LITTLEBRO_TRUSTED_PROXIES=proxies):
        assert privacy.client_ip(request) == visitor


@override_settings(LITTLEBRO_TRUSTED_PROXIES=1, LITTLEBRO_IP="full")
def test_a_long_chain_is_cut_from_the_left() -> None:
    """A header of a megabyte costs no more than a short one, and the visitor is still found."""
    forwarded = "6.6.6.6, " * 100_000 + "198.51.100.9"
    assert privacy.client_ip(ask(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)) == "198.51.100.9"


@pytest.mark.parametrize("proxies", ["10.", True, -1, [""], ["no address"], [1], [["10."]], {"10.": 1}, 1.5])
def test_wrong_proxies_are_an_error(proxies: Any) -> None:
    """A wrong setting says so, and trusts nobody."""
    with (
        override_settings(LITTLEBRO_TRUSTED_PROXIES=proxies),
        pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO_TRUSTED_PROXIES must be"),
    ):
        privacy.client_ip(ask())


@pytest.mark.parametrize("policy", ["on", None, True, ["full"]])
def test_wrong_address_policy_is_an_error(policy: Any) -> None:
    """A misspelt policy never means "full"."""
    with (
        override_settings(LITTLEBRO_IP=policy),
        pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO_IP must be"),
    ):
        privacy.client_ip(ask())


@pytest.mark.parametrize(
    "sent,kept",
    [
        ("https://shop.example/list?q=secret#top", "https://shop.example/list"),
        ("https://shop.example/list#top?q=secret", "https://shop.example/list"),
        ("https://ada:pass@shop.example/a@b", "https://shop.example/a@b"),
        ("https://ada:p@ss@shop.example", "https://shop.example"),
        ("https://shop.example?u=a@b", "https://shop.example"),
        ("/list?q=secret", "/list"),
        ("about:blank", "about:blank"),
        ("https://shop.example/a\r\nb\x00c\x85", "https://shop.example/abc"),
        ("http://[broken/", "http://[broken/"),
        ("", ""),
        ("https://x.example/" + "a" * 5000, ("https://x.example/" + "a" * 5000)[:1024]),
    ],
)
def test_referrer(sent: str, kept: str) -> None:
    """A referrer keeps origin and path: no query, fragment, user name or password, no control characters."""
    assert privacy.clean_referrer(sent) == kept


def test_user_agent() -> None:
    """A user agent loses control characters and what is over 512 characters."""
    assert privacy.clean_user_agent("Mozilla\x00/5.0\x1b[31m\x9b") == "Mozilla/5.0[31m"
    assert len(privacy.clean_user_agent("x" * 100_000)) == 512


@pytest.mark.parametrize(
    "path,kept",
    [
        ("/a b/é/漢", "/a b/é/漢"),
        ("/a\x00b\n\x7f", "/a%00b%0A%7F"),
        ("/\x85", "/%C2%85"),
        ("/\ud800", "/%ED%A0%80"),
        ("/" + "a" * 1999, "/" + "a" * 1999),
        ("/" + "a" * 2000, "/" + "a" * 1998 + "…"),
        ("/\x00" + "é" * 4000, ("/%00" + "é" * 4000)[:1999] + "…"),
    ],
)
def test_path(path: str, kept: str) -> None:
    """A path that no backend could keep comes back encoded and cut, so that its event is not lost."""
    assert privacy.clean_path(path) == kept


@given(st.text(st.characters(), max_size=3000))
def test_texts_are_always_fit(text: str) -> None:
    """Whatever is sent, what is kept can be encoded, is bounded and holds no control character."""
    for clean, limit in ((privacy.clean_path, 2000), (privacy.clean_referrer, 1024)):
        kept = clean(text)
        assert len(kept) <= limit
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in kept)
        kept.encode()


def test_facts_are_worked_out_once() -> None:
    """Facts of one request are one object, of what is known; headers are read as the UTF-8 they are."""
    agent = "Café/1.0".encode().decode("latin-1")
    request = ask(HTTP_USER_AGENT=agent, HTTP_REFERER="https://a.example/?q=1", REMOTE_ADDR="203.0.113.7")
    facts = privacy.request_facts(request)
    assert facts == {"ip": "203.0.113.0", "user_agent": "Café/1.0", "referrer": "https://a.example/"}
    assert privacy.request_facts(request) is facts
    assert privacy.request_facts(ask(REMOTE_ADDR="", HTTP_USER_AGENT="\xff\x00")) == {"user_agent": "ÿ"}


@pytest.mark.parametrize("agent", ["Mozilla/5.0", "Mozilla\x00/5.0", "x" * 511 + "\x00y", "x" * 5000])
def test_a_header_sent_again_is_kept_alike(agent: str) -> None:
    """Short ones are remembered as they were cleaned; neither that nor their length changes what is kept."""
    kept = {"user_agent": privacy.clean_user_agent(agent)}
    for _ in range(2):
        assert privacy.request_facts(ask(REMOTE_ADDR="", HTTP_USER_AGENT=agent)) == kept


@pytest.mark.parametrize("length", [500, 8000])
def test_headers_do_not_fill_the_memory(length: int) -> None:
    """Whoever sends ever new ones: few are remembered, and no long ones."""
    tracemalloc.start()
    try:
        for number in range(4000):
            privacy.request_facts(
                ask(HTTP_USER_AGENT=f"{number:0{length}}", HTTP_REFERER=f"/{number:0{length}}")
            )
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_facts_hold_nothing_else() -> None:
    """No body, query string, cookie or credential is among the facts of a request."""
    request = RequestFactory().post(
        "/?q=hidden-query",
        {"field": "hidden-body"},
        headers={"authorization": "Bearer hidden-token", "cookie": "session=hidden-cookie"},
    )
    recorded = {**privacy.request_facts(request), **privacy.page_params(request, None, None, 0.1)}
    assert "hidden" not in repr(recorded)


@pytest.mark.parametrize(
    "respected,meta,out",
    [
        (("DNT", "Sec-GPC"), {"HTTP_DNT": "1"}, True),
        (("DNT", "Sec-GPC"), {"HTTP_SEC_GPC": " 1 "}, True),
        (("DNT", "Sec-GPC"), {"HTTP_DNT": "0"}, False),
        (("DNT", "Sec-GPC"), {"HTTP_DNT": "1,1"}, True),
        (("DNT", "Sec-GPC"), {"HTTP_SEC_GPC": "0, 1"}, True),
        (("DNT", "Sec-GPC"), {"HTTP_DNT": "0,0", "HTTP_SEC_GPC": "11"}, False),
        (("DNT", "Sec-GPC"), {"HTTP_DNT": 1}, True),
        (("DNT", "Sec-GPC"), {}, False),
        (["sec-gpc"], {"HTTP_DNT": "1"}, False),
        (["sec-gpc"], {"HTTP_SEC_GPC": "1"}, True),
        ((), {"HTTP_DNT": "1", "HTTP_SEC_GPC": "1"}, False),
    ],
)
def test_opt_out(respected: Any, meta: dict[str, Any], out: bool) -> None:
    """DNT and Sec-GPC count where they are listed, and only with the value 1, also if that was sent twice."""
    with override_settings(LITTLEBRO_RESPECT=respected):
        request = ask(**meta)
        assert privacy.opted_out(request) is out
        assert privacy.opted_out(request) is out


@pytest.mark.parametrize("respected", ["DNT", None, [1]])
def test_wrong_list_is_an_error(respected: Any) -> None:
    """A bare string is not a list of its letters."""
    with (
        override_settings(LITTLEBRO_RESPECT=respected),
        pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO_RESPECT must be a list"),
    ):
        privacy.opted_out(ask())


class Rest:
    """As Django REST framework's request: none of Django's, but it holds one."""

    def __init__(self, held: object) -> None:
        self._request = held


class Hostile:
    """Raises whatever it is asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Unbound:
    """As a proxy of werkzeug's outside of its context."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("nothing is bound")


def test_a_request_is_told_by_itself() -> None:
    """Django's request is one, and what holds it; nothing else is, and nothing is asked of what else there is."""
    request = ask()
    assert privacy.as_request(request) is request
    assert privacy.as_request(Rest(request)) is request
    lazy = SimpleLazyObject(_never)
    others: list[object] = [
        None,
        1,
        "GET",
        [],
        HttpRequest,
        Rest(None),
        Rest(lazy),
        lazy,
        Hostile(),
        Unbound(),
    ]
    assert [privacy.as_request(other) for other in [*others, Mock(), Mock(spec=request)]] == [None] * 12


def _never() -> Any:
    raise AssertionError("the user was loaded")


def _lazy(user: object, *, loaded: bool) -> Any:
    lazy = SimpleLazyObject(lambda: user if loaded else _never())
    if loaded:
        str(lazy)
    return lazy


ADA = User(pk=7, username="ada")


@pytest.mark.parametrize(
    "held,known",
    [
        ({}, None),
        ({"user": ADA}, "7"),
        ({"user": AnonymousUser()}, None),
        ({"user": None}, None),
        ({"user": _lazy(ADA, loaded=True)}, "7"),
        ({"user": _lazy(AnonymousUser(), loaded=True)}, None),
        ({"user": _lazy(ADA, loaded=False)}, None),
        ({"user": _lazy(ADA, loaded=False), "_cached_user": ADA}, "7"),
        ({"user": _lazy(ADA, loaded=False), "_acached_user": ADA}, "7"),
        ({"user": _lazy(ADA, loaded=False), "_cached_user": AnonymousUser()}, None),
        # After logout() the request says who it is now, not who it was.
        ({"user": AnonymousUser(), "_cached_user": ADA}, None),
        ({"user": User(username="unsaved")}, None),
        ({"user": object()}, None),
    ],
)
def test_user_is_read_where_loaded(held: dict[str, Any], known: str | None) -> None:
    """The user counts where somebody loaded it; asking never loads one."""
    request = ask()
    request.__dict__.update(held)
    assert privacy.loaded_user_id(request) == known


def test_anonymous_id_is_off_by_default() -> None:
    """Without the setting no cookie is read and none issued."""
    request = ask(HTTP_COOKIE="visitor=abc")
    assert privacy.anonymous_id(request) is None
    assert privacy.issue_anonymous_id(request) is None


@pytest.mark.parametrize(
    "sent,kept",
    [("abc", "abc"), ("a" * 200, "a" * 200), ("a" * 201, None), ("", None), ('"a\\012b"', None), ("A ", "A")],
)
@override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor")
def test_anonymous_id_is_checked(sent: str, kept: str | None) -> None:
    """A cookie is taken as it is if it is an id, and replaced by a random one if it is not."""
    request = ask(HTTP_COOKIE=f"visitor={sent}")
    assert privacy.anonymous_id(request) == kept
    fresh = privacy.issue_anonymous_id(request)
    assert (fresh is None) == (kept is not None)
    if fresh is not None:
        assert len(fresh) >= 20
        assert privacy.anonymous_id(request) == fresh
        assert privacy.issue_anonymous_id(ask()) != fresh


@override_settings(LITTLEBRO_ANONYMOUS_COOKIE="visitor")
def test_no_anonymous_id_for_those_who_opted_out() -> None:
    """A visitor who opted out has no anonymous id, cookie or not."""
    request = ask(HTTP_COOKIE="visitor=abc", HTTP_DNT="1")
    assert privacy.anonymous_id(request) is None
    assert privacy.issue_anonymous_id(request) is None


@pytest.mark.parametrize("name", ["two words", "", "a;b", 5])
def test_wrong_cookie_name_is_an_error(name: Any) -> None:
    """A name that no browser would send back says so before a view runs."""
    with (
        override_settings(LITTLEBRO_ANONYMOUS_COOKIE=name),
        pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO_ANONYMOUS_COOKIE must be"),
    ):
        privacy.issue_anonymous_id(ask())
