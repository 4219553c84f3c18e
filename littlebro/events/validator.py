"""The one validator: a walk over params that copies, checks and redacts at once.

Called by the pipeline before any tracker, so that all backends accept and refuse alike (the table stands in
`docs/events.rst`). What comes out is a snapshot: plain dicts, lists, text, numbers, True, False and None.
The walk looks each key up in a bounded dict of keys judged before; only unknown keys cost more.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

from littlebro.conf import COLLECTION, setting
from littlebro.events.convert import NO_RULE, is_text, plain, refusal, to_utc
from littlebro.exceptions import InvalidEvent

__all__ = ["REDACTED", "Validator"]

REDACTED: Final = "[redacted]"
ID_LENGTH: Final = 200
_REMEMBERED: Final = 4096
_LOWEST: Final = -(2**63)
_BEYOND: Final = 2**63
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_FREE: Final = frozenset({bool, type(None)})

# The place of a value, innermost key last; a chain of pairs costs nothing until an error is shown.
_Place = tuple[Any, object]


class _Budget:
    """What one event's params may still use: keys, and array items (no item takes less than two bytes)."""

    __slots__ = ("items", "keys")

    def __init__(self, keys: int, items: int) -> None:
        self.keys = keys
        self.items = items


class Validator:
    """Checks and copies what a caller gives. One a tracker; threads may share it."""

    def __init__(self) -> None:
        self.max_bytes: int = setting("LITTLEBRO_MAX_EVENT_BYTES")
        self._max_depth: int = setting("LITTLEBRO_MAX_DEPTH")
        self._max_keys: int = setting("LITTLEBRO_MAX_KEYS")
        self._max_key_length: int = setting("LITTLEBRO_MAX_KEY_LENGTH")
        self._max_name_length: int = min(setting("LITTLEBRO_MAX_NAME_LENGTH"), 200)
        self._sensitive = [_words(entry) for entry in setting("LITTLEBRO_SENSITIVE_KEYS")]
        self._judged: dict[object, bool] = {}
        self._harmless: set[object] = set()  # those of `_judged` that are not sensitive
        self._names: dict[object, str] = {}

    def snapshot(self, params: Any, label: str = "params") -> dict[str, Any]:
        """Return a checked, redacted copy of `params`; None is an empty object.

        Raises `InvalidEvent` with the path of the first thing that cannot be kept.
        """
        if type(params) is not dict:
            params = self._object(params, label)
        if len(params) > self._max_keys:
            raise InvalidEvent(label, f"{len(params)} keys; at most {self._max_keys} are kept")
        copy: dict[str, Any] = params.copy()
        # Mostly all keys are known and none is sensitive: one question for all is much faster than one for each.
        if not self._harmless.issuperset(copy):
            copy = self._with_judged_keys(copy, label)
        budget: _Budget | None = None
        try:
            for key, value in copy.items():
                kind = type(value)
                if kind is str or kind in _FREE:
                    continue
                if kind is int:
                    if _LOWEST <= value < _BEYOND:
                        continue
                elif kind is float and value - value == 0.0 != value:
                    continue
                if budget is None:
                    budget = _Budget(self._max_keys - len(copy), self.max_bytes // 2)
                copy[key] = self._value(value, ((None, label), key), 1, budget)
        except RecursionError as error:
            raise InvalidEvent(label, "nested too deep to be read, or in a cycle") from error
        except RuntimeError as error:  # another thread changes one of the caller's dicts under our hands
            raise InvalidEvent(label, f"changed while it was read ({error}); pass a copy") from error
        return copy

    def _with_judged_keys(self, params: dict[Any, Any], label: str) -> dict[str, Any]:
        """Return `params` with each key checked and made plain text, and values of sensitive keys redacted."""
        judged = self._judged
        copy: dict[str, Any] = {}
        for key, value in params.items():
            if (sensitive := judged.get(key)) is None:
                key, sensitive = self._judge(key, copy, (None, label))  # noqa: PLW2901 - text subclass to text
            copy[key] = REDACTED if sensitive else value
        return copy

    def _object(self, params: Any, label: str) -> dict[Any, Any]:
        if params is None:
            return {}
        value = _by_rule(params, (None, label))
        if type(value) is not dict:
            raise InvalidEvent(label, f"must be an object (a dictionary), not {type(params).__name__}")
        return value

    def _judge(self, key: Any, copy: Mapping[str, Any], place: _Place) -> tuple[str, bool]:
        """Return the key as plain text, and whether its value is to be redacted."""
        if not is_text(key):
            raise InvalidEvent(_path(place), _key_not_text(key))
        text = str.__str__(key)
        if text in copy:
            raise InvalidEvent(_path((place, text)), "two keys with the same text; one would be lost")
        if len(text) > self._max_key_length:
            raise InvalidEvent(
                _path(place), f"a key of {len(text)} characters; at most {self._max_key_length}"
            )
        if "\0" in text:
            raise InvalidEvent(_path(place), "a key holds NUL, which PostgreSQL cannot keep")
        if not _encodable(text):
            raise InvalidEvent(_path(place), "a key holds half a surrogate pair, which UTF-8 cannot encode")
        sensitive = self.is_sensitive(text)
        if len(self._judged) >= _REMEMBERED:
            self._judged.clear()
            self._harmless.clear()
        self._judged[text] = sensitive
        if not sensitive:
            self._harmless.add(text)
        return text, sensitive

    def are_harmless(self, keys: Iterable[str]) -> bool:
        """Return whether all `keys` were found fit before, and none has its value redacted."""
        return self._harmless.issuperset(keys)

    def is_sensitive(self, key: str) -> bool:
        """Return whether values under `key` are redacted: see `LITTLEBRO_SENSITIVE_KEYS`.

        A key is cut into words (at punctuation, digits and humps: ``userPassword2`` is user, password, 2). An
        entry matches where its words stand in the key side by side; entries of six letters or more also match
        inside a word (``passwordhash``).
        """
        words = _words(key)
        joined = "".join(words)
        for entry in self._sensitive:
            whole = "".join(entry)
            if len(whole) >= 6 and whole in joined:
                return True
            if _stands_in(whole, words):
                return True
        return False

    def _value(self, value: Any, place: _Place, depth: int, budget: _Budget) -> Any:
        """Return the copy of one nested or unusual value."""
        kind = type(value)
        if kind is str or kind in _FREE:
            return value
        if kind is int:
            if not _LOWEST <= value < _BEYOND:
                raise InvalidEvent(_path(place), "an integer beyond ±2^63; pass it as text")
            return value
        if kind is float:
            if value - value != 0.0:
                raise InvalidEvent(_path(place), f"{value} is not JSON; pass None or text")
            return value or 0.0
        if kind is dict:
            return self._dict(value, place, depth + 1, budget)
        if kind is list or kind is tuple:
            return self._list(value, place, depth + 1, budget)
        converted = _by_rule(value, place)
        if converted is NO_RULE:
            raise InvalidEvent(_path(place), refusal(value))
        return self._value(converted, place, depth, budget)

    def _dict(self, value: dict[Any, Any], place: _Place, depth: int, budget: _Budget) -> dict[str, Any]:
        self._deep(depth, place)
        budget.keys -= len(value)
        if budget.keys < 0:
            raise InvalidEvent(_path(place), f"more than {self._max_keys} keys in all")
        copy: dict[str, Any] = {}
        for key, item in value.items():
            if (sensitive := self._judged.get(key)) is None:
                key, sensitive = self._judge(key, copy, place)  # noqa: PLW2901 - text subclass to text
            copy[key] = REDACTED if sensitive else self._value(item, (place, key), depth, budget)
        return copy

    def _list(self, value: Iterable[Any], place: _Place, depth: int, budget: _Budget) -> list[Any]:
        self._deep(depth, place)
        copy: list[Any] = []
        for index, item in enumerate(value):
            budget.items -= 1
            if budget.items < 0:
                raise InvalidEvent(_path(place), f"more items than fit into {self.max_bytes} bytes")
            copy.append(self._value(item, (place, index), depth, budget))
        return copy

    def _deep(self, depth: int, place: _Place) -> None:
        if depth > self._max_depth:
            raise InvalidEvent(_path(place), f"nested deeper than {self._max_depth} levels, or in a cycle")

    def name(self, name: Any) -> str:
        """Return a checked event name: 1-200 characters, no control, line or paragraph separators."""
        if type(name) is str and name in self._names:
            return name
        if not is_text(name):
            raise InvalidEvent("name", f"must be text, not {type(name).__name__}")
        text = str.__str__(name)
        if not text:
            raise InvalidEvent("name", "is empty")
        if len(text) > self._max_name_length:
            raise InvalidEvent("name", f"has {len(text)} characters; at most {self._max_name_length}")
        if any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} for letter in text):
            raise InvalidEvent("name", "holds a control character or a line or paragraph separator")
        if not _encodable(text):
            raise InvalidEvent("name", "holds half a surrogate pair, which UTF-8 cannot encode")
        if len(self._names) >= _REMEMBERED:
            self._names.clear()
        self._names[text] = text
        return text

    def find_unfit(self, value: Any, path: str) -> None:
        """Raise `InvalidEvent` for what only the encoder saw in a copied `value`: NUL, half a surrogate pair, odd keys.

        A key that is no text may have passed the walk if it equals, and hashes as, one that does.
        """
        stack: list[tuple[Any, _Place]] = [(value, (None, path))]
        while stack:
            item, place = stack.pop()
            if isinstance(item, str):
                if "\0" in item:
                    raise InvalidEvent(_path(place), "holds NUL, which PostgreSQL cannot keep")
                if not _encodable(item):
                    raise InvalidEvent(_path(place), "holds half a surrogate pair, which UTF-8 cannot encode")
            elif isinstance(item, dict):
                for key in item:
                    if not isinstance(key, str):
                        raise InvalidEvent(_path(place), _key_not_text(key))
                stack.extend((inner, (place, key)) for key, inner in item.items())
            elif isinstance(item, list):
                stack.extend((inner, (place, index)) for index, inner in enumerate(item))

    def identifier(self, value: Any, label: str) -> str:
        """Return a checked id: 1-200 characters of text, no control characters; nothing is trimmed."""
        if type(value) is not str and not is_text(value):
            raise InvalidEvent(label, f"must be text, not {type(value).__name__}")
        text = str.__str__(value)
        if not 1 <= len(text) <= ID_LENGTH:
            raise InvalidEvent(label, f"has {len(text)} characters; must have 1 to {ID_LENGTH}")
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            raise InvalidEvent(label, "holds a control character")
        if not _encodable(text):
            raise InvalidEvent(label, "holds half a surrogate pair, which UTF-8 cannot encode")
        return text

    def person(self, user: Any) -> str | None:
        """Return the id of `user`, an object with a pk, or a pk; an anonymous user gives None."""
        try:
            if hasattr(user, "pk"):
                user = user.pk
                if user is None:
                    return None
        except Exception as error:  # a lazy one that must be loaded, in an event loop for instance
            reason = f"could not be read ({type(error).__name__}); load it before, or pass its pk"
            raise InvalidEvent("user", reason) from error
        kind = type(user)
        if kind is bool or not issubclass(kind, str | int):
            user = _by_rule(user, (None, "user"))
            if not isinstance(user, str):
                raise InvalidEvent("user", "must be a user, or the pk of one (text, number or UUID)")
        if not isinstance(user, str):
            try:
                user = str(int(user))
            except ValueError as error:  # Python refuses to write numbers of thousands of digits
                raise InvalidEvent("user", "is a number of too many digits") from error
        return self.identifier(user, "user")

    def collection(self, collection: Any) -> str:
        """Return a checked collection name: 1-64 of ``A-Z a-z 0-9 _ -``."""
        if not is_text(collection) or not COLLECTION.fullmatch(collection):
            raise InvalidEvent("collection", "must be 1-64 of A-Z a-z 0-9 _ -")
        return str.__str__(collection)

    def timestamp(self, moment: Any, label: str = "timestamp") -> datetime.datetime:
        """Return `moment` in UTC; a naive one is read in the current time zone."""
        if not isinstance(moment, datetime.datetime):
            raise InvalidEvent(label, f"must be a datetime, not {type(moment).__name__}")
        try:
            return to_utc(moment)
        except (OverflowError, ValueError) as error:
            raise InvalidEvent(label, f"cannot be put into UTC: {error}") from error


def _by_rule(value: Any, place: _Place) -> Any:
    """Return `plain(value)`, whose errors (a caller's own `__str__`, a property that fails) name the place."""
    try:
        return plain(value)
    except Exception as error:
        raise InvalidEvent(
            _path(place), f"{type(value).__name__} could not be read: {type(error).__name__}"
        ) from error


def _key_not_text(key: object) -> str:
    return f"a key is {type(key).__name__}, not text; two keys could become one"


def _words(key: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(key)]


def _stands_in(entry: str, words: list[str]) -> bool:
    for start in range(len(words)):
        run = ""
        for word in words[start:]:
            run += word
            if run == entry:
                return True
            if len(run) >= len(entry):
                break
    return False


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _path(place: _Place) -> str:
    """Return a place as the caller would write it: ``params.items[3]["odd key"]``."""
    parts: list[str] = []
    chain: Any = place
    while chain is not None:
        chain, part = chain
        if chain is None:
            parts.append(str(part))
        elif isinstance(part, int):
            parts.append(f"[{part}]")
        elif isinstance(part, str) and part.isidentifier():
            parts.append(f".{part[:60]}")
        else:
            parts.append(f"[{part!r:.60}]")
    return "".join(reversed(parts))
