"""What of a request may be recorded, and in what form: the one place that looks into requests.

A request flows in; out come an address under the policy, a user agent, a referrer without its query, a path,
the id of a user who is loaded already, an anonymous id. Runs no query, opens no session, and never looks at
bodies, query strings or Authorization. Must not know of trackers or backends.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    PermissionDenied,
    SuspiciousOperation,
)
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty
from python_ipware import IpWare

from littlebro.conf import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "anonymous_id",
    "as_request",
    "clean_path",
    "clean_referrer",
    "clean_user_agent",
    "client_ip",
    "is_no_visit",
    "issue_anonymous_id",
    "loaded_user_id",
    "mark_no_visit",
    "opted_out",
    "page_params",
    "read_settings",
    "request_facts",
    "request_id",
    "shorten_ip",
]

MAX_USER_AGENT: Final = 512
MAX_REFERRER: Final = 1024
MAX_PATH: Final = 2000
MAX_ID: Final = 200
_MAX_METHOD: Final = 32
_MAX_FORWARDED: Final = 1000
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
# How many values of a header are remembered cleaned, and of what length, in characters, at most.
_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 512

# Cc and lone surrogates: what no backend can keep, or no terminal should show.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_HOP: Final = "HTTP_X_FORWARDED_FOR"
# The peer of a unix socket, which has no address: gunicorn and uvicorn give none, waitress this name.
_SOCKETS: Final = frozenset({"", "localhost"})
_SIXTOFOUR: Final = ipaddress.IPv6Network("2002::/16")

# Keys of the request's own __dict__ under which answers are kept: one request is asked several times.
_FACTS: Final = "_littlebro_facts"
_ISSUED: Final = "_littlebro_anonymous_id"
_NO_VISIT: Final = "_littlebro_no_visit"


def as_request(value: object) -> HttpRequest | None:
    """Return `value` if it is a request, or the one inside Django REST framework's own request; else None.

    Asks a stranger's object nothing: a lazy user would run its query, a mock has whatever it is asked for.
    """
    kind = type(value)
    if issubclass(kind, HttpRequest):
        return value  # type: ignore[return-value]  # mypy knows isinstance() alone, which asks the object
    if not kind.__dictoffset__:
        return None  # text, a number: without a __dict__ of its own, to ask for it would raise
    try:
        held = object.__getattribute__(value, "__dict__").get("_request")
    except Exception:  # noqa: BLE001 - a proxy may answer for __dict__ too, and raise what it likes
        return None
    return held if issubclass(type(held), HttpRequest) else None


def read_settings() -> None:
    """Read what the event of a request goes by, before the view runs; raises `ImproperlyConfigured`."""
    setting("LITTLEBRO_STRICT")
    setting("LITTLEBRO_RESPECT")
    setting("LITTLEBRO_ANONYMOUS_COOKIE")
    if setting("LITTLEBRO_IP") != "off" and setting("LITTLEBRO_TRUSTED_PROXIES"):
        _proxies()


def request_facts(request: HttpRequest) -> Mapping[str, Any]:
    """Return what the request says of where it came from: `ip`, `user_agent`, `referrer`, `request_id`.

    A fact that is unknown, or switched off by `LITTLEBRO_IP`, is left out. Worked out once a request.
    """
    known: Mapping[str, Any] | None = request.__dict__.get(_FACTS)
    if known is not None:
        return known
    meta, facts = request.META, {}
    if ip := client_ip(request):
        facts["ip"] = ip
    for fact, key, clean in _HEADERS:
        if (sent := meta.get(key)) and (kept := clean(sent)):
            facts[fact] = kept
    request.__dict__[_FACTS] = facts
    return facts


def mark_no_visit(request: HttpRequest) -> None:
    """Say that nobody opened a page by this request: a page asks by itself, again and again. None is recorded."""
    request.__dict__[_NO_VISIT] = True


def is_no_visit(request: HttpRequest) -> bool:
    """Return whether `mark_no_visit` was called for this request."""
    return _NO_VISIT in request.__dict__


def request_id(request: HttpRequest) -> str | None:
    """Return the header X-Request-ID, by which a proxy or another middleware names the request, or None."""
    return _request_id(request.META.get("HTTP_X_REQUEST_ID"))


def page_params(
    request: HttpRequest, response: object, error: BaseException | None, seconds: float
) -> dict[str, Any]:
    """Return the params that a page view is recorded with, by decorator and middleware alike.

    `path` (see `clean_path`), `method`, `route` (the URL pattern, None where none matched), `status` (the
    response's; for an `error`, the one that Django answers it with; None where nothing was answered),
    `duration_ms` (milliseconds, to the microsecond) and, for an `error`, `exception` (its class name).
    """
    match = request.resolver_match
    params = {
        "path": clean_path(request.path),
        "method": method if (method := request.method) in _METHODS else _safe(method or "")[:_MAX_METHOD],
        "route": None if match is None else match.route,
        "status": _status(response) if error is None else _status_of(error),
        "duration_ms": round(seconds * 1000, 3),
    }
    if error is not None:
        params["exception"] = type(error).__name__
    return params


def _status(response: object) -> int | None:
    # `type(...)`, since whatever a function returned comes here, and a lazy object would be loaded.
    status = getattr(response, "status_code", None) if issubclass(type(response), HttpResponseBase) else None
    return int(status) if isinstance(status, int) else None


def _status_of(error: BaseException) -> int | None:
    """Return the status that Django answers `error` with (`django.core.handlers.exception`)."""
    if not isinstance(error, Exception):
        return None  # a cancelled task, an exiting process: nobody was answered
    if isinstance(error, Http404):
        return 404
    if isinstance(error, PermissionDenied):
        return 403
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
        return 400
    return 500


def client_ip(request: HttpRequest) -> str | None:
    """Return the visitor's address as `LITTLEBRO_IP` allows it, or None.

    Without `LITTLEBRO_TRUSTED_PROXIES` it is the peer's address and X-Forwarded-For is ignored, since anyone
    can send that. A number says how many proxies stand in front of Django, the peer among them; a list holds
    their addresses, networks or address prefixes, and the visitor is the last hop that none of them matches.
    A proxy that comes by a unix socket counts as 127.0.0.1.
    """
    policy = setting("LITTLEBRO_IP")
    if policy == "off":
        return None
    meta = request.META
    peer = str(meta.get("REMOTE_ADDR") or "")
    if setting("LITTLEBRO_TRUSTED_PROXIES"):
        peer = "127.0.0.1" if peer in _SOCKETS else peer
        hops = str(meta.get(_HOP) or "")[-_MAX_FORWARDED:]
        peer = _visitor(f"{hops},{peer}" if hops else peer, _proxies())
    return _shorten(peer, policy)


def shorten_ip(text: str) -> str | None:
    """Return an address from a log line as `LITTLEBRO_IP` allows it; None for what is no address."""
    policy = setting("LITTLEBRO_IP")
    return None if policy == "off" else _shorten(text, policy)


@lru_cache(maxsize=4096)
def _shorten(text: str, policy: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if policy == "full":
        return str(address)
    # A 6to4 address carries the whole IPv4 one in its first 48 bits (RFC 3056).
    kept = 24 if address.version == 4 else 40 if address in _SIXTOFOUR else 48
    return str(ipaddress.ip_network((address, kept), strict=False).network_address)


@lru_cache(maxsize=1024, typed=True)
def _visitor(chain: str, trusted: int | tuple[str, ...]) -> str:
    """Return the visitor's hop of a `chain` that ends with the peer, or ``""`` where a proxy hid it."""
    hops = [hop.strip() for hop in chain.split(",")]
    readers = _readers(trusted)
    if isinstance(trusted, int):
        # Only the hops that our own proxies wrote count; what a visitor put in front of them is not even
        # parsed. A chain that is too short came past the proxies: then the peer is the visitor.
        if len(hops) <= trusted:
            return hops[-1]
        address, _ = readers[0].get_client_ip({_HOP: ",".join(hops[-trusted - 1 :])}, strict=True)
        return str(address or "")
    while len(hops) > 1:
        last = {_HOP: f"{hops[-2]},{hops[-1]}"}
        answers = [reader.get_client_ip(last) for reader in readers]
        address = next((address for address, matched in answers if matched), None)
        if address is None:
            # Either the last hop is nobody's proxy, then it is the visitor, or a proxy wrote no address.
            probe = {_HOP: f"192.0.2.1,{hops[-1]}"}
            return "" if any(reader.get_client_ip(probe)[1] for reader in readers) else hops[-1]
        hops[-2:] = [str(address)]
    return hops[0]


@lru_cache(maxsize=8, typed=True)  # typed, since True == 1
def _readers(trusted: int | tuple[str, ...]) -> list[IpWare]:
    """Return python-ipware's readers of one header for `trusted`: one for a number, one a listed proxy."""
    if isinstance(trusted, int):
        return [IpWare(precedence=(_HOP,), proxy_count=trusted)]
    return [IpWare(precedence=(_HOP,), proxy_list=[entry]) for entry in trusted]


def _proxies() -> int | tuple[str, ...]:
    """Return `LITTLEBRO_TRUSTED_PROXIES`; raises `ImproperlyConfigured` for an entry that is no address."""
    trusted: int | tuple[str, ...] = setting("LITTLEBRO_TRUSTED_PROXIES")
    try:
        _readers(trusted)
    except ValueError as error:
        message = (
            "LITTLEBRO_TRUSTED_PROXIES must be the number of proxies in front of Django, or a list of their "
            f"addresses, networks or address prefixes, not {trusted!r}: {error}."
        )
        raise ImproperlyConfigured(message) from error
    return trusted


def _header(value: object) -> str:
    """Return a header as text; WSGI and ASGI both hand its bytes over as if they were Latin-1."""
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _safe(text: str) -> str:
    return text if text.isprintable() else _UNSAFE.sub("", text)


def clean_user_agent(text: str) -> str:
    """Return a user agent without control characters, at most 512 characters."""
    return _safe(text[: 4 * MAX_USER_AGENT])[:MAX_USER_AGENT]


def clean_referrer(text: str) -> str:
    """Return a referrer without query, fragment, user name and password, at most 1,024 characters."""
    text = _safe(text[: 4 * MAX_REFERRER]).partition("#")[0].partition("?")[0]
    scheme, mark, rest = text.partition("://")
    if mark:
        host, slash, path = rest.partition("/")
        text = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return text[:MAX_REFERRER]


def _request_id(sent: object) -> str | None:
    given = _header(sent)
    return given if given and len(given) <= MAX_ID and not _UNSAFE.search(given) else None


def _remembering(clean: Callable[[str], str]) -> Callable[[object], str]:
    """Return `clean` for a header as it was sent: most visitors send what others sent before."""
    remembered = lru_cache(maxsize=_REMEMBERED)(lambda sent: clean(_header(sent)))

    def cleaned(sent: object) -> str:
        # Long ones are not kept: whoever sends many of them would fill the memory.
        return (
            remembered(sent)
            if type(sent) is str and len(sent) <= _LONGEST_REMEMBERED
            else clean(_header(sent))
        )

    return cleaned


# Fact, key in META, what makes the one of the other.
_HEADERS: Final[tuple[tuple[str, str, Callable[[object], str | None]], ...]] = (
    ("user_agent", "HTTP_USER_AGENT", _remembering(clean_user_agent)),
    ("referrer", "HTTP_REFERER", _remembering(clean_referrer)),
    ("request_id", "HTTP_X_REQUEST_ID", _request_id),
)


def clean_path(path: str) -> str:
    """Return a path that every backend keeps.

    Control characters come back percent-encoded, as the client sent them (``%00``); beyond 2,000 characters
    the path is cut and ends in an ellipsis.
    """
    if not path.isprintable():
        path = _UNSAFE.sub(lambda found: quote(found.group(), errors="surrogatepass"), path)
    return path if len(path) <= MAX_PATH else f"{path[: MAX_PATH - 1]}…"


def opted_out(request: HttpRequest) -> bool:
    """Return whether the visitor asked not to be tracked, by a header listed in `LITTLEBRO_RESPECT`."""
    meta = request.META
    for key in _meta_keys(setting("LITTLEBRO_RESPECT")):  # any() takes three times as long, for two keys
        if key in meta and "1" in map(str.strip, str(meta[key]).split(",")):  # sent twice, it comes as "1,1"
            return True
    return False


@lru_cache(maxsize=8)
def _meta_keys(headers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"HTTP_{header.upper().replace('-', '_')}" for header in headers)


def loaded_user_id(request: HttpRequest) -> str | None:
    """Return the primary key of the request's user as text, where the view loaded the user already.

    Never runs a query: a user nobody asked for yet stays unknown, an anonymous one is None. What `login`
    or `logout` put on the request counts, not what the session said before.
    """
    held = request.__dict__
    user: object = held.get("user")
    # `type(...)` and `object`, since a lazy object lies about its class, and asking it would load it.
    if user is None or (
        issubclass(type(user), LazyObject) and object.__getattribute__(user, "_wrapped") is empty
    ):
        cached = held.get("_cached_user")
        user = held.get("_acached_user") if cached is None else cached
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    key = getattr(user, "pk", None)
    return None if key is None else str(key)


def anonymous_id(request: HttpRequest) -> str | None:
    """Return the anonymous id of the visitor: what the cookie says, or what was issued in this request.

    None while `LITTLEBRO_ANONYMOUS_COOKIE` is unset, and for visitors who opted out. A cookie that is no id
    (1-200 characters, no control characters) counts as none.
    """
    issued: str | None = request.__dict__.get(_ISSUED)
    if issued is not None:
        return issued
    name = setting("LITTLEBRO_ANONYMOUS_COOKIE")
    if name is None or opted_out(request):
        return None
    sent = request.COOKIES.get(name)
    if sent and len(sent) <= MAX_ID and not _UNSAFE.search(sent):
        return sent
    return None


def issue_anonymous_id(request: HttpRequest) -> str | None:
    """Give a visitor without an anonymous id a random one; return it if a cookie is to be set, else None."""
    if (
        setting("LITTLEBRO_ANONYMOUS_COOKIE") is None
        or opted_out(request)
        or anonymous_id(request) is not None
    ):
        return None
    fresh = secrets.token_urlsafe(16)
    request.__dict__[_ISSUED] = fresh
    return fresh
