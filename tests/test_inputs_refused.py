"""What cannot be kept: refused before any tracker, so by every backend alike, with the path; and never lost unseen."""

import datetime
import decimal
import time
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe

from littlebro import EventQuery, bind, tracker
from littlebro.delivery import losses
from littlebro.delivery.handler import trackers
from littlebro.exceptions import InvalidEvent
from littlebro.models import DeadLetter, LossCount, StoredEvent

SECRET = "what only the caller may see"


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


def nested(levels: int, kind: type = list) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"k": value}
    return value


def billion_laughs() -> list[Any]:
    value: list[Any] = ["lol"]
    for _ in range(18):
        value = [value] * 10
    return value


# By label: the params, the path of the refusal, and a word of its reason.
PARAMS: dict[str, tuple[Any, str, str]] = {
    "NUL in a value": ({"a": "x\0y"}, "params.a", "NUL"),
    "NUL in a deep value": ({"a": [{"b": "\0"}]}, "params.a[0].b", "NUL"),
    "NUL in a key": ({"a": {"x\0": 1}}, "params.a", "NUL"),
    "lone surrogate": ({"a": "x\ud800"}, "params.a", "surrogate"),
    "lone low surrogate": ({"a": ["\udc00"]}, "params.a[0]", "surrogate"),
    "lazy key": ({SimpleLazyObject(lambda: "k"): 1}, "params", "text"),
    "lone surrogate in a key": ({"\udfff": 1}, "params", "surrogate"),
    "NaN": ({"items": [{}, {"price": float("nan")}]}, "params.items[1].price", "not JSON"),
    "NaN on top": ({"a": float("nan")}, "params.a", "not JSON"),
    "Infinity": ({"a": float("inf")}, "params.a", "not JSON"),
    "-Infinity": ({"a": [float("-inf")]}, "params.a[0]", "not JSON"),
    "1e400": ({"a": 1e400}, "params.a", "not JSON"),
    "2^63": ({"a": 2**63}, "params.a", "2^63"),
    "-2^63-1": ({"a": {"b": -(2**63) - 1}}, "params.a.b", "2^63"),
    "a huge integer": ({"a": 10**5000}, "params.a", "2^63"),
    "bytes": ({"a": b"x"}, "params.a", "decode it"),
    "bytearray": ({"a": bytearray(b"x")}, "params.a", "decode it"),
    "set": ({"a": {1}}, "params.a", "sorted list"),
    "frozenset": ({"a": frozenset()}, "params.a", "sorted list"),
    "generator": ({"a": (item for item in [1])}, "params.a", "pass a list"),
    "iterator": ({"a": iter([1])}, "params.a", "pass a list"),
    "model instance": ({"user": User(pk=1)}, "params.user", "pass its pk"),
    "anonymous user": ({"user": AnonymousUser()}, "params.user", "AnonymousUser"),
    "complex": ({"a": 1j}, "params.a", "complex"),
    "function": ({"a": len}, "params.a", "no form in JSON"),
    "class": ({"a": decimal.Decimal}, "params.a", "no form in JSON"),
    "object": ({"odd key": {"b.c": object()}}, "params['odd key']['b.c']", "no form in JSON"),
    "number as key": ({1: "a", "1": "b"}, "params", "not text"),
    "None as key": ({"a": {None: 1}}, "params.a", "not text"),
    "True as key": ({"a": [{True: 1}]}, "params.a[0]", "not text"),
    "bytes as key": ({b"a": 1}, "params", "not text"),
    "tuple as key": ({(1, 2): 1}, "params", "not text"),
    "a cycle of objects": (cycle(), "params", "cycle"),
    "101 levels of lists": ({"a": nested(101)}, "params.a[0]", "deeper"),
    "21 levels": (nested(21, dict), "params.k.k", "deeper than 20"),
    "100,000 levels": ({"a": nested(100_000)}, "params.a[0]", "deeper"),
    "a billion laughs": ({"a": billion_laughs()}, "params.a", ""),
    "1001 keys": ({f"k{number}": 1 for number in range(1001)}, "params", "1001 keys"),
    "1001 keys in all": ({"a": [{f"k{number}": 1} for number in range(1000)]}, "params.a[99", "1000 keys"),
    "a key of 257": ({"k" * 257: 1}, "params", "257"),
    "32 KiB": ({"a": "x" * 32_768}, "params", "32768"),
    "32 KiB in four bytes each": ({"a": "\U0001f600" * 8_192}, "params", "32768"),
    "a list of 32 KiB": ({"a": [1] * 20_000}, "params.a", "32768"),
    "a list as params": ([("a", 1)], "params", "must be an object"),
    "text as params": ("a", "params", "must be an object"),
    "a number as params": (0, "params", "must be an object"),
    "False as params": (False, "params", "must be an object"),
    "bytes as params": (b"{}", "params", "must be an object"),
    "a datetime that is no moment": (
        {"at": datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))},
        "params.at",
        "",
    ),
}

# By label: the argument, its value, and a word of the reason; the argument is the path, too.
ARGUMENTS: dict[str, tuple[str, Any, str]] = {
    "empty name": ("name", "", "empty"),
    "a name of 201": ("name", "n" * 201, "201"),
    "name not text": ("name", 7, "text"),
    "name None": ("name", None, "text"),
    "name bytes": ("name", b"x", "text"),
    "name with a line": ("name", "a\nb", "control"),
    "name with NUL": ("name", "a\0", "control"),
    "name with C1": ("name", "a\x85", "control"),
    "name with a line separator": ("name", "a\u2028b", "separator"),
    "name with a paragraph separator": ("name", "a\u2029b", "separator"),
    "name with half a pair": ("name", "a\ud83d", "surrogate"),
    "empty id": ("event_id", "", "1 to 200"),
    "an id of 201": ("event_id", "x" * 201, "201"),
    "id not text": ("event_id", 7, "text"),
    "id with a tab": ("event_id", "a\tb", "control"),
    "id with half a pair": ("event_id", "\udc00", "surrogate"),
    "empty anonymous id": ("anonymous_id", "", "1 to 200"),
    "anonymous id with NUL": ("anonymous_id", "\0", "control"),
    "anonymous id not text": ("anonymous_id", 7, "text"),
    "empty user": ("user", "", "1 to 200"),
    "a user of 201": ("user", "u" * 201, "201"),
    "user with a control character": ("user", "a\x1b", "control"),
    "user bytes": ("user", b"1", "pk"),
    "user True": ("user", True, "pk"),
    "user float": ("user", 1.5, "pk"),
    "user list": ("user", [1], "pk"),
    "empty collection": ("collection", "", "1-64"),
    "a collection of 65": ("collection", "c" * 65, "1-64"),
    "collection with a dot": ("collection", "a.b", "1-64"),
    "collection with $": ("collection", "$a", "1-64"),
    "collection with a space": ("collection", "a ", "1-64"),
    "collection with a line": ("collection", "a\n", "1-64"),
    "collection not ASCII": ("collection", "caf\u00e9", "1-64"),
    "collection with other digits": ("collection", "\u0661", "1-64"),
    "collection not text": ("collection", 1, "1-64"),
    "timestamp text": ("timestamp", "2026-01-01T00:00:00Z", "datetime"),
    "timestamp number": ("timestamp", 1_700_000_000, "datetime"),
    "timestamp date": ("timestamp", datetime.date(2026, 1, 1), "datetime"),
    "timestamp before the calendar": (
        "timestamp",
        datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5))),
        "UTC",
    ),
    "lazy name": ("name", SimpleLazyObject(lambda: "n"), "text"),
    "lazy id": ("event_id", SimpleLazyObject(lambda: "1"), "text"),
    "lazy anonymous id": ("anonymous_id", SimpleLazyObject(lambda: "a"), "text"),
    "lazy user": ("user", SimpleLazyObject(lambda: "1"), "read"),
    "lazy number as user": ("user", SimpleLazyObject(lambda: 1), "read"),
    "user of 5,000 digits": ("user", 10**5000, "digits"),
    "lazy collection": ("collection", SimpleLazyObject(lambda: "c"), "1-64"),
    "on_commit of no database": ("on_commit", "defualt", "Did you mean 'default'?"),
    "on_commit a number": ("on_commit", 5, "alias"),
    "on_commit a list": ("on_commit", [], "alias"),
}
PATHS = {"event_id": "id"}


@pytest.fixture
def database_alias(request: pytest.FixtureRequest) -> str:
    """Let a test be asked for the store in memory, too."""
    return str(request.param)


EVERYWHERE = pytest.mark.parametrize(
    "database_alias", ["memory", "default", "postgresql", "mariadb"], indirect=True
)


@EVERYWHERE
@pytest.mark.django_db
class TestAlike:
    """The same inputs on each backend that reads."""

    @pytest.fixture(autouse=True)
    def _store(self, settings: Any, database_alias: str, request: pytest.FixtureRequest) -> None:
        place: dict[str, Any] = {"BACKEND": "simple", "LOCATION": database_alias}
        if database_alias == "memory":
            place = {"BACKEND": "memory", "LOCATION": request.node.nodeid}
        settings.LITTLEBRO = {"default": place}

    @pytest.mark.parametrize("label", PARAMS)
    def test_params(self, label: str) -> None:
        """Refused by name of the path, in a second of processor time, without a RecursionError; nothing is stored."""
        params, path, word = PARAMS[label]
        start = time.thread_time()
        with pytest.raises(InvalidEvent) as caught:
            tracker.track_event("refused", params)
        assert time.thread_time() - start < 1
        assert caught.value.path.startswith(path)
        assert word in caught.value.reason
        assert len(str(caught.value)) < 2000
        assert tracker.events().events == []

    @pytest.mark.parametrize("label", ARGUMENTS)
    def test_arguments(self, label: str) -> None:
        """A name, id, person, collection or timestamp that is none is refused, never replaced; nothing is stored."""
        argument, value, word = ARGUMENTS[label]
        with pytest.raises(InvalidEvent) as caught:
            tracker.track_event(**{"name": "refused", argument: value})
        assert caught.value.path == PATHS.get(argument, argument)
        assert word in caught.value.reason
        assert tracker.events().events == []

    def test_one_bad_event_among_good_ones(self) -> None:
        """The good ones are stored, in their order, and the error names what was wrong with the bad one."""
        items: list[dict[str, Any]] = [
            {"name": "a"},
            {"name": "b", "params": {"x": [float("nan")]}},
            {"name": "c", "event_id": "1"},
        ]
        with pytest.raises(InvalidEvent, match=r"params\.x\[0\]"):
            tracker.track_events(items)
        assert [event.name for event in tracker.events().events] == ["a", "c"]

    def test_in_production_bad_events_are_none_and_good_ones_stored(self, settings: Any) -> None:
        """Nothing is raised; the list says which were refused, and they are counted."""
        settings.LITTLEBRO_STRICT = False
        bad: list[dict[str, Any]] = [{"name": "bad", "params": params} for params, _, _ in PARAMS.values()]
        bad += [{"name": "bad", argument: value} for argument, value, _ in ARGUMENTS.values()]
        losses.drain("default")
        events = tracker.track_events([{"name": "first"}, *bad, {"name": "last"}])
        assert [event and event.name for event in events] == ["first", *[None] * len(bad), "last"]
        assert [event.name for event in tracker.events().events] == ["first", "last"]
        assert losses.drain("default") == {"invalid": len(bad)}


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_cycle_is_refused_at_any_limit(settings: Any, depth: int) -> None:
    """Where the limit lets the walk go deeper than Python can, the reason is still the depth."""
    settings.LITTLEBRO_MAX_DEPTH = depth
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "deep"}}
    with pytest.raises(InvalidEvent, match="nested too deep"):
        tracker.track_event("refused", cycle())


def test_what_poses_as_text_and_fails_breaks_no_call(settings: Any) -> None:
    """A lazy object that raises when it is looked at is refused and counted; so is bad input with a template's text."""
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "lazy"}}
    losses.drain("default")
    for argument in ("name", "event_id", "collection"):
        for value in (SimpleLazyObject(lambda: 1 // 0), mark_safe("text")):
            arguments: dict[str, Any] = {"name": "refused", "params": 1, argument: value}
            assert tracker.track_event(**arguments) is None
    assert losses.drain("default") == {"invalid": 6}


# `bind` takes names and values; these are of an event as a whole, or no name.
BINDABLE = [
    label
    for label, (params, _, _) in PARAMS.items()
    if isinstance(params, dict)
    and all(isinstance(key, str) for key in params)
    and label not in {"32 KiB", "32 KiB in four bytes each", "1001 keys", "lazy key"}
]


@pytest.mark.parametrize("label", BINDABLE)
def test_bound_values_are_left_out(settings: Any, label: str) -> None:
    """An unfit value of the ambient context is left out and counted, its neighbours stay; strict mode raises."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "bound"}}
    params, path, _ = PARAMS[label]
    with bind(**params, good=1), pytest.raises(InvalidEvent) as caught:
        tracker.track_event("kept")
    assert caught.value.path.startswith(path.replace("params", "context"))
    settings.LITTLEBRO_STRICT = False
    losses.drain("default")
    with bind(**params, good=1):
        event = tracker.track_event("kept")
    assert event is not None
    assert event.context == {"good": 1}
    assert losses.drain("default") == {"invalid-context": 1}


def test_a_context_beyond_the_limit_is_refused(settings: Any) -> None:
    """The limit of bytes is one of the whole event, its context included; the error names the larger part."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": "large"}}
    with bind(large="x" * 20_000):
        tracker.track_event("kept", {"v": "x" * 10_000})
        with pytest.raises(InvalidEvent, match=r"params: .* at most 32768"):
            tracker.track_event("refused", {"v": "x" * 20_000})
    with bind(large="x" * 40_000), pytest.raises(InvalidEvent, match=r"context: .* at most 32768"):
        tracker.track_event("refused", {"v": 1})


@pytest.mark.django_db(transaction=True)
def test_production_with_a_journal(settings: Any, journal: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Every refused event is counted once and becomes one dead letter with its reason, and the payload is nowhere."""
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    losses.drain("default")
    calls: list[dict[str, Any]] = []
    for label, (params, _, _) in PARAMS.items():
        if isinstance(params, dict) and len(params) < 1000:
            calls.append({"name": label, "params": {"secret": SECRET, "said": SECRET, **params}})
        else:
            calls.append({"name": label, "params": params})
    calls += [
        {"name": "refused", "params": {"said": SECRET}, argument: value}
        for argument, value, _ in ARGUMENTS.values()
    ]
    for call in calls:
        assert tracker.track_event(**call) is None
    assert tracker.track_event("good") is not None
    assert tracker.flush(20)
    assert [event.name for event in StoredEvent.objects.all()] == ["good"]
    letters = {letter.name: letter for letter in DeadLetter.objects.all()}
    assert DeadLetter.objects.count() == len(calls)
    for label, (_, path, word) in PARAMS.items():
        assert letters[label].reason.startswith(path[:40])
        assert word in letters[label].reason
    for letter in DeadLetter.objects.all():
        body = msgspec.json.decode(bytes(letter.body))
        assert body["littlebro"] == "refused"
        assert SECRET not in str(body) + letter.reason
    trackers["default"].upkeep()
    counted = LossCount.objects.all()  # a row a segment: on a slow day the courier comes by in between
    assert {loss.reason for loss in counted} == {"invalid"}
    assert sum(loss.n for loss in counted) == len(calls)
    assert SECRET not in caplog.text
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in journal.rglob("*") if file.is_file())


@pytest.mark.django_db(transaction=True)
def test_a_refusal_tells_only_safe_things(
    settings: Any, journal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A hostile name reaches neither log nor dead letter as more than one line of printable text."""
    settings.LITTLEBRO_STRICT = False
    settings.LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": str(journal)}}}
    hostile = "a\nERROR forged \x1b[31m \u202e \ud800\0"
    ids: list[Any] = [None, "own-id", "bad\nid", "x" * 300, 7]
    for event_id in ids:
        assert tracker.track_event(hostile, {"v": SECRET}, collection="no\0ne", event_id=event_id) is None
    assert tracker.flush(20)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    letters = list(DeadLetter.objects.all())
    assert len(letters) == 5
    assert {letter.collection for letter in letters} == {"littlebro"}
    assert [letter.event_id for letter in letters].count("own-id") == 1
    assert all((letter.name + letter.reason + letter.event_id).isprintable() for letter in letters)
    assert tracker.events(EventQuery(collections=("littlebro",))).events == []
