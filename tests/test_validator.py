"""The validator by itself: redaction, limits by settings, conversions, and callers' objects that misbehave."""

import dataclasses
import datetime
import re
import threading
import time
import uuid
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString

from littlebro import tracker
from littlebro.events import convert
from littlebro.events.validator import REDACTED, Validator
from littlebro.exceptions import InvalidEvent


def refusal(params: Any, **settings: Any) -> InvalidEvent:
    with override_settings(**settings), pytest.raises(InvalidEvent) as caught:
        Validator().snapshot(params)
    return caught.value


SENSITIVE = [
    "password", "Password", "PASSWORD", "user_password", "userPassword", "UserPASSWORD", "password2", "new-password",
    "passwordHash", "PasswordHash", "xPasswordX", "passwd", "pwd", "db_pwd", "secret", "client_secret", "clientSecret",
    "token", "access_token", "accessToken", "accesstoken", "csrfmiddlewaretoken", "refreshToken2",
    "api_key", "apiKey", "API_KEY",
    "apikey", "x-api-key", "Authorization", "HTTP_AUTHORIZATION", "cookie", "Cookie", "set-cookie", "sessionid",
    "session_id", "sessionId", "pin", "PIN", "user.pin", "pin_code", "otp", "cvv", "cvc2", "card_number", "cardNumber",
    "CARDNUMBER", "creditCard", "iban", "IBAN", "ssn", "social security", "jwt", "bearer", "privateKey",
]  # fmt: skip
HARMLESS = [
    "shipping", "spinner", "pinned", "opinion", "laptop", "hotpot", "pass", "compass", "key", "keyboard", "monkey",
    "ibanez", "cardigan", "card", "number", "session", "sessions", "api", "tok", "en",
    "max_tokens", "tokens", "robotpart", "", "0", "\u00e9",
]  # fmt: skip


@pytest.mark.parametrize("key", SENSITIVE)
def test_sensitive_keys_are_redacted(key: str) -> None:
    """A key that names a secret loses its value, whatever its case and writing, on top, nested, and in lists."""
    secret = {"deep": ["s3cret"]}
    copy = Validator().snapshot({key: "s3cret", "a": {key: secret, "b": [{key: None}]}})
    assert copy == {key: REDACTED, "a": {key: REDACTED, "b": [{key: REDACTED}]}}


@pytest.mark.parametrize("key", HARMLESS)
def test_harmless_keys_are_kept(key: str) -> None:
    """A short word inside a longer one is no match."""
    assert Validator().snapshot({key: "value", "a": [{key: 1}]}) == {key: "value", "a": [{key: 1}]}


def test_a_redacted_value_is_not_even_read() -> None:
    """What stands under a sensitive key may be anything: it is neither converted nor refused."""
    assert Validator().snapshot({"password": object(), "a": {"token": float("nan")}}) == {
        "password": REDACTED,
        "a": {"token": REDACTED},
    }


def test_sensitive_keys_come_from_the_setting() -> None:
    """The setting replaces the list; an empty one redacts nothing; entries of several words match side by side."""
    params = {"password": 1, "homeAddress": 2, "address_home": 3, "my_home_address_2": 4}
    with override_settings(LITTLEBRO_SENSITIVE_KEYS=["home_address"]):
        assert Validator().snapshot(params) == {
            "password": 1,
            "homeAddress": REDACTED,
            "address_home": 3,
            "my_home_address_2": REDACTED,
        }
    with override_settings(LITTLEBRO_SENSITIVE_KEYS=()):
        assert Validator().snapshot(params) == params


def test_sensitive_keys_in_other_alphabets() -> None:
    """An entry may be of any alphabet, and matches in any case."""
    with override_settings(LITTLEBRO_SENSITIVE_KEYS=["\u043f\u0430\u0440\u043e\u043b\u044c"]):
        assert Validator().snapshot({"\u041f\u0410\u0420\u041e\u041b\u042c": 1}) == {
            "\u041f\u0410\u0420\u041e\u041b\u042c": REDACTED
        }


LIMITS = {
    "LITTLEBRO_MAX_DEPTH": (3, {"a": {"b": 1}}, {"a": [{"b": {}}]}, "params.a[0].b"),
    "LITTLEBRO_MAX_KEYS": (3, {"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "c": 2}, "d": 3}, "params.a"),
    "LITTLEBRO_MAX_KEY_LENGTH": (3, {"abc": {"abc": 1}}, {"a": {"abcd": 1}}, "params.a"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_settings(name: str) -> None:
    """Depth, number of keys and length of keys end where the setting says, and not one earlier."""
    limit, within, beyond, path = LIMITS[name]
    with override_settings(**{name: limit}):
        assert Validator().snapshot(within) == within
    error = refusal(beyond, **{name: limit})
    assert (error.path, str(limit) in error.reason) == (path, True)


def test_the_length_of_names_is_a_setting() -> None:
    """LITTLEBRO_MAX_NAME_LENGTH narrows names; beyond 200 characters it does not widen them."""
    with override_settings(LITTLEBRO_MAX_NAME_LENGTH=3):
        validator = Validator()
        assert validator.name("abc") == "abc"
        with pytest.raises(InvalidEvent, match="4 characters; at most 3"):
            validator.name("abcd")
    with override_settings(LITTLEBRO_MAX_NAME_LENGTH=500), pytest.raises(InvalidEvent, match="at most 200"):
        Validator().name("n" * 201)


def test_remembered_keys_and_names_are_bounded() -> None:
    """A caller who makes up keys and names for ever does not fill the memory, and is judged rightly all along."""
    validator = Validator()
    for number in range(10_000):
        key = f"password{number}" if number % 2 else f"k{number}"
        assert validator.snapshot({key: number}) == {key: REDACTED if number % 2 else number}
        validator.name(f"name-{number}")
    assert len(validator._judged) <= 4096
    assert len(validator._names) <= 4096


class Half(float):
    pass


class Whole(int):
    def __int__(self) -> int:
        return -1


def test_number_subclasses_become_numbers() -> None:
    """A number of another class is the number it is, whatever it says of itself; its limits hold."""
    copy = Validator().snapshot({"a": Half(0.5), "b": [Whole(7)]})
    assert copy == {"a": 0.5, "b": [7]}
    assert (type(copy["a"]), type(copy["b"][0])) == (float, int)
    assert refusal({"a": Half("nan")}).path == "params.a"
    assert refusal({"a": Whole(2**63)}).path == "params.a"


class Subtext(str):
    __slots__ = ()


class Sly(str):
    """Text that lies about itself wherever it is asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return "lie"

    def __repr__(self) -> str:
        raise RuntimeError

    def casefold(self) -> str:
        return "lie"


@pytest.mark.parametrize("kind", [Subtext, SafeString, Sly], ids=lambda kind: kind.__name__)
def test_text_subclasses_become_text(kind: type[str]) -> None:
    """Keys, values, names and ids of a text subclass come out as plain text, the first time and the next."""
    validator = Validator()
    for _ in range(2):
        copy = validator.snapshot(
            {kind("key"): kind("value"), "deep": {kind("password"): 1, kind("b"): [kind("c")]}}
        )
        assert copy == {"key": "value", "deep": {"password": REDACTED, "b": ["c"]}}
        assert type(copy["key"]) is type(copy["deep"]["b"][0]) is str
        for text in (
            validator.name(kind("n")),
            validator.identifier(kind("i"), "id"),
            validator.collection(kind("c")),
        ):
            assert type(text) is str
            assert text in "nic"


def test_two_keys_that_become_one_are_refused() -> None:
    """Keys that are unequal to Python and the same text cannot both be kept."""

    class Apart(str):
        __slots__ = ()
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            return self is other

    error = refusal({Apart("a"): 1, Apart("a"): 2})
    assert (error.path, "would be lost" in error.reason) == ("params.a", True)


def test_mappings_that_are_no_dict() -> None:
    """A read-only view, on top or nested, becomes an object of its own."""
    inner = {"x": 1}
    copy = Validator().snapshot(MappingProxyType({"a": MappingProxyType(inner)}))
    inner["x"] = 2
    assert copy == {"a": {"x": 1}}
    assert type(copy["a"]) is dict


class Unreadable:
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class UnreadableMapping(dict[str, int]):
    def items(self) -> Any:
        raise ZeroDivisionError("secret text")


class UnreadableModel:
    model_fields_set = frozenset({"a"})

    def model_dump(self) -> dict[str, Any]:
        raise ZeroDivisionError("secret text")


@dataclasses.dataclass
class Hollow:
    a: int

    def __post_init__(self) -> None:
        del self.a


class NotUTC(datetime.tzinfo):
    def utcoffset(self, moment: object) -> Any:
        raise ZeroDivisionError("secret text")

    dst = tzname = utcoffset


UNREADABLE: dict[str, Any] = {
    "object": Unreadable(),
    "mapping": UnreadableMapping(),
    "model": UnreadableModel(),
    "dataclass": Hollow(1),
    "datetime": datetime.datetime(2026, 1, 1, tzinfo=NotUTC()),
    "lazy object": SimpleLazyObject(lambda: 1 / 0),
    "lazy text": SimpleLazyObject(lambda: "text"),
}


@pytest.mark.parametrize("label", UNREADABLE)
def test_objects_that_cannot_be_read_are_refused(label: str) -> None:
    """An object whose own code raises is refused with its path; the message holds the class, not the error's text."""
    error = refusal({"a": [UNREADABLE[label]]})
    assert error.path == "params.a[0]"
    assert "secret text" not in str(error)


def test_params_that_cannot_be_read_are_refused() -> None:
    """The same holds for the params themselves."""
    assert refusal(UnreadableMapping()).path == "params"


def test_a_key_that_cannot_be_shown_is_refused() -> None:
    """A key whose __repr__ raises is refused as any key that is not text."""
    error = refusal({"a": {Unreadable(): 1}})
    assert (error.path, "not text" in error.reason) == ("params.a", True)


def test_a_key_that_poses_as_text_is_refused(settings: Any) -> None:
    """A key that equals a known text without being one is refused as any key that is not text."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "poser"}}

    class Poser:
        def __hash__(self) -> int:
            return hash("a")

        def __eq__(self, other: object) -> bool:
            return other == "a"

    assert tracker.track_event("kept", {"a": 1, "deep": {"a": 1}})
    for params, path in (({Poser(): 1}, "params"), ({"deep": [{Poser(): 1}]}, "params.deep[0]")):
        with pytest.raises(InvalidEvent, match="not text") as caught:
            tracker.track_event("refused", params)
        assert caught.value.path == path


def test_a_model_that_dumps_itself_is_refused() -> None:
    """What never becomes an object is refused as well, and not by a RecursionError."""

    class Endless:
        model_fields_set = frozenset({"a"})

        def model_dump(self) -> Any:
            return Endless()

    assert refusal({"a": Endless()}).path.startswith("params")


def test_a_dict_changed_by_another_thread_is_refused_or_read() -> None:
    """A dict that grows while it is read gives a whole copy or an InvalidEvent, and no RuntimeError."""
    shared: dict[str, Any] = {"inner": {}}
    ended = threading.Event()

    def meddle() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            shared[f"k{number % 50}"] = shared["inner"][f"k{number % 50}"] = number
            shared.pop(f"k{(number + 25) % 50}", None)
            shared["inner"].pop(f"k{(number + 25) % 50}", None)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        end = time.monotonic() + 0.5
        validator = Validator()
        while time.monotonic() < end:
            try:
                validator.snapshot(shared)
            except InvalidEvent as error:
                assert "changed while it was read" in error.reason  # noqa: PT017 - either outcome is right
    finally:
        ended.set()
        thread.join()


def test_a_dict_that_changes_while_it_is_read_is_refused() -> None:
    """The same, without luck: reading a value adds a key to the dict that holds it."""
    inner: dict[str, Any] = {}

    class Adder:
        model_fields_set = frozenset({"a"})

        def model_dump(self) -> dict[str, Any]:
            inner["more"] = 1
            return {}

    inner.update(a=Adder(), b=1)
    assert "changed while it was read" in refusal({"inner": inner}).reason


def test_paths_read_as_python_does() -> None:
    """Keys that are no names stand in brackets, cut where they are long; indexes follow their list."""
    error = refusal({"a": {"b c": {"$d.e": [1, {"f" * 100: float("nan")}]}}})
    assert error.path == f"params.a['b c']['$d.e'][1].{'f' * 60}"
    assert str(error) == f"{error.path}: nan is not JSON; pass None or text"
    assert not re.search(r"\n", refusal({"a\nb": object()}).path)


USERS: dict[str, tuple[Any, str | None]] = {
    "text": ("u-1", "u-1"),
    "number": (7, "7"),
    "zero": (0, "0"),
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "user": (User(pk=7), "7"),
    "lazy user": (SimpleLazyObject(lambda: User(pk=7)), "7"),
    "user without pk": (User(), None),
    "anonymous user": (AnonymousUser(), None),
}


@pytest.mark.parametrize("label", USERS)
def test_people(label: str) -> None:
    """A person is an object with a pk or a pk itself; who has none is nobody."""
    given, expected = USERS[label]
    person = Validator().person(given)
    assert person == expected
    assert person is None or type(person) is str


def test_a_person_who_cannot_be_read_is_refused() -> None:
    """A user whose loading fails (a lazy one in an event loop, say) is refused by name, and the error kept as cause."""
    with pytest.raises(InvalidEvent) as caught:
        Validator().person(SimpleLazyObject(lambda: 1 / 0))
    assert caught.value.path == "user"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "value, word",
    [
        (b"x", "base64"), (memoryview(b"x"), "base64"), ({1}, "sorted list"), ({}.keys(), "sorted list"),
        (numbers(), "list"), (User(), "pass its pk"), (object(), "no form in JSON"), (range(3), "no form in JSON"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_refusals_say_what_to_pass(value: object, word: str) -> None:
    """What has no rule has a sentence on what to do instead."""
    assert convert.plain(value) is convert.NO_RULE
    assert word in convert.refusal(value)
