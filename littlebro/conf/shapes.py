"""What each global setting must be, in code and in words.

In: a value from the settings. Out: whether it can be meant. Knows shapes, and nothing of what a value is used for;
a setting that is not named here (the aliases, the plugins) has a reader of its own.
"""

import re
from collections.abc import Callable, Mapping
from http.cookies import Morsel
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings

from littlebro.conf.defaults import GLOBAL_SETTINGS

__all__ = ["SHAPES", "Shape"]

_COOKIE_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
# The attributes of a cookie: http.cookies refuses a cookie of such a name, from Python 3.14 on "partitioned" too.
_COOKIE_WORDS: Final = {*Morsel(), "partitioned"}
_DJANGOS_COOKIES: Final = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
_OLDEST_COOKIE: Final = 400 * 86_400
_HEADER: Final = re.compile(r"(?!HTTP-)[A-Z0-9-]+", re.IGNORECASE)
_MEMORY: Final = re.compile(r"(?=.*[1-9])[0-9]{1,6}(\.[0-9]{1,6})? ?([MGT]i?B|%)", re.IGNORECASE)
_LONGEST: Final = 86_400


class Shape(NamedTuple):
    """Whether a value is of the shape, and what follows "must be" in a complaint."""

    fits: Callable[[Any], bool]
    words: str


def _is_whole(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_texts(value: object, fits: Callable[[str], object]) -> bool:
    """Return whether it is a list of texts that fit; a bare text would be read letter by letter."""
    return isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(entry, str) and fits(entry) for entry in value
    )


def _is_cookie_name(value: object) -> bool:
    """Return whether a cookie may bear the name, and it is not that of a cookie of Django's."""
    return (
        isinstance(value, str)
        and bool(_COOKIE_NAME.fullmatch(value))
        and value.lower() not in _COOKIE_WORDS
        and value not in {getattr(settings, name) for name in _DJANGOS_COOKIES}
    )


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST


def _or_none(shape: Shape) -> Shape:
    return Shape(lambda value: value is None or shape.fits(value), f"{shape.words}, or None")


SHAPES: Final[Mapping[str, Shape]] = {
    **{
        name: Shape(_is_whole, f"a whole number above zero, for instance {option.default}")
        for name, option in GLOBAL_SETTINGS.items()
        if name.startswith("LITTLEBRO_MAX_") or name == "LITTLEBRO_ANALYSIS_TAIL_EVENTS"
    },
    "LITTLEBRO_STRICT": Shape(lambda value: value is None or isinstance(value, bool), "True, False or None"),
    "LITTLEBRO_IP": Shape(
        lambda value: value in ("off", "truncated", "full"), "'off', 'truncated' or 'full'"
    ),
    # What makes an address, `littlebro.privacy` knows.
    "LITTLEBRO_TRUSTED_PROXIES": Shape(
        lambda value: _is_whole(value, 0) or _are_texts(value, bool),
        "the number of proxies in front of Django, or a list of their addresses, networks or address prefixes",
    ),
    "LITTLEBRO_SENSITIVE_KEYS": Shape(
        lambda value: _are_texts(value, lambda entry: any(map(str.isalnum, entry))), "a list of text"
    ),
    "LITTLEBRO_RESPECT": Shape(
        lambda value: _are_texts(value, _HEADER.fullmatch),
        "a list of headers by name, such as 'Sec-GPC': letters, digits and hyphens, no blank, no HTTP_ in front",
    ),
    "LITTLEBRO_ANONYMOUS_COOKIE": _or_none(
        Shape(
            _is_cookie_name,
            "the name of a cookie (RFC 6265), neither reserved as 'path' is, nor Django's own for sessions, CSRF or "
            "the language",
        )
    ),
    "LITTLEBRO_ANONYMOUS_COOKIE_AGE": Shape(
        lambda value: _is_whole(value) and value <= _OLDEST_COOKIE,
        f"a whole number of seconds above zero, at most {_OLDEST_COOKIE:,}: browsers keep no cookie for longer",
    ),
    "LITTLEBRO_MIDDLEWARE_IGNORE": Shape(
        lambda value: _are_texts(value, lambda entry: entry.startswith("/")),
        "a list of the beginnings of paths, each with its slash, such as '/static/'",
    ),
    "LITTLEBRO_CELERY_USER": Shape(lambda value: isinstance(value, bool), "True or False"),
    "LITTLEBRO_FORGET_KEY": _or_none(
        Shape(lambda value: isinstance(value, str | bytes) and bool(value), "a text that is not empty")
    ),
    "LITTLEBRO_LAKE": _or_none(
        Shape(
            lambda value: isinstance(value, str | Path) and Path(value).is_absolute(),
            "the absolute path of a folder",
        )
    ),
    "LITTLEBRO_ANALYSIS_MEMORY": Shape(
        lambda value: isinstance(value, str) and bool(_MEMORY.fullmatch(value)),
        "a size such as '512MB' or '1.5 GiB', or a share of the machine's such as '50%'",
    ),
    "LITTLEBRO_ANALYSIS_SECONDS": Shape(
        _is_duration, f"a number of seconds above zero, at most {_LONGEST:,}"
    ),
    "LITTLEBRO_ANALYSIS_THREADS": _or_none(Shape(_is_whole, "a whole number above zero")),
}
