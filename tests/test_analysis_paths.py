"""Paths: sessions, repeats, forward and backward, nodes and links that add up."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from littlebro.analysis.question import Person
from littlebro.analysis.reports.paths import Paths, apaths, paths
from littlebro.analysis.result import OTHER, Key
from littlebro.events.event import Event
from littlebro.events.query import EventQuery
from littlebro.exceptions import InvalidQuery
from littlebro.storage.handler import backends

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = EventQuery(start=T0, end=T0 + timedelta(days=1))
LATER = T0 + timedelta(days=100)

Log = Callable[..., None]


@pytest.fixture
def log(settings: Any, tmp_path: Any) -> Log:
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    ids = iter(range(100_000))

    def store(who: str | None, *happened: tuple[float, str], **fields: Any) -> None:
        backends["default"].save_many(
            [
                Event(**{
                    "id": f"e{next(ids):05}", "name": name, "timestamp": T0 + minute * MINUTE, "received_at": T0,
                    "params": {}, "context": {}, "user_id": who, **fields,
                })
                for minute, name in happened
            ]
        )  # fmt: skip

    return store


def ask(**given: Any) -> Paths:
    return paths(**{"query": DAY, "now": LATER, **given})


def names(found: Paths) -> list[list[tuple[Any, int]]]:
    """Return for each step the labels with their sessions."""
    return [
        [(node.key.label, node.sessions) for node in found.nodes if node.step == step]
        for step in range(found.steps)
    ]


def test_sessions_are_cut_by_silence(log: Log) -> None:
    """Thirty minutes without an event, to the microsecond, and repeats break the silence."""
    log("1", (0, "a"), (29.999, "b"), (59.999, "c"))
    log("2", (0, "a"), (20, "a"), (40, "a"), (60, "b"))
    found = ask(steps=2)
    assert (found.people, found.sessions) == (2, 3)
    assert names(found) == [[("a", 2), ("c", 1)], [("b", 2)]]
    assert ask(gap=40 * MINUTE).sessions == 2


def test_repeats_are_one_before_the_cut(log: Log) -> None:
    """A path of three steps holds three names."""
    log("1", *((minute, "a") for minute in range(9)), (9, "b"), (10, "b"), (11, "a"))
    assert names(ask(steps=3)) == [[("a", 1)], [("b", 1)], [("a", 1)]]


def test_repeats_across_silence_are_two_sessions(log: Log) -> None:
    """A silence is a silence, whatever comes after it."""
    log("1", (0, "a"), (40, "a"), (41, "b"))
    found = ask(steps=2)
    assert (found.people, found.sessions) == (1, 2)
    assert names(found) == [[("a", 2)], [("b", 1)]]
    first = found.nodes[0]
    assert (first.people, first.ended, first.dropped) == (1, 1, 0)


def test_forward_and_backward(log: Log) -> None:
    """From a session's first event of that name; sessions without it have no path."""
    log("1", (0, "x"), (1, "a"), (2, "b"), (3, "a"), (4, "c"))
    log("2", (0, "c"), (1, "b"))
    assert names(ask(start="a", steps=4)) == [[("a", 1)], [("b", 1)], [("a", 1)], [("c", 1)]]
    assert names(ask(end="b", steps=3)) == [[("b", 2)], [("a", 1), ("c", 1)], [("x", 1)]]
    back = ask(end="b", steps=2)
    assert [(node.key.label, node.ended) for node in back.nodes] == [("b", 0), ("a", 0), ("c", 1)]
    assert (back.direction, back.anchor) == ("backward", "b")
    nobody = ask(start="never")
    assert (nobody.people, nobody.sessions, nobody.nodes, nobody.links) == (0, 0, [], [])


def test_people_and_sessions(log: Log) -> None:
    """A person with two sessions counts once as people, twice as sessions."""
    log("1", (0, "a"), (1, "b"), (100, "a"), (101, "c"), (200, "a"))
    log("2", (0, "a"))
    found = ask(steps=2)
    first = found.nodes[0]
    assert (first.people, first.sessions, first.ended, first.dropped) == (2, 4, 2, 1)
    assert [(link.target.label, link.people, link.sessions) for link in found.links] == [
        ("b", 1, 1),
        ("c", 1, 1),
    ]
    assert found.table().rows[-1] == [1, "c", None, 1, 1]
    assert found.table().rows[2] == [0, "a", None, 1, 2]
    assert found.as_json()["nodes"][0]["key"] == {"kind": "value", "value": "a"}


def test_others_are_one(log: Log) -> None:
    """Names beyond the limit are one node at each step, apart from a name "other"."""
    log("1", (0, "a"), (1, "other"))
    log("2", (0, "a"), (1, "x"))
    log("3", (0, "b"), (1, "other"))
    log("3", (100, "c"), (101, "y"))
    found = ask(limit=1, steps=2)
    assert [(node.step, node.key, node.people, node.sessions) for node in found.nodes] == [
        (0, Key("value", "a"), 2, 2),
        (0, OTHER, 1, 2),
        (1, Key("value", "other"), 2, 2),
        (1, OTHER, 2, 2),
    ]


def test_order_of_one_moment(log: Log) -> None:
    """Events of one moment follow each other by id."""
    log("1", (0, "b"), id="2")
    log("1", (0, "a"), id="1")
    log("1", (0, "b"), id="3")
    log("1", (0, "a"), id="4")
    log("2", (0, "x"), (1, "y"))
    assert names(ask(steps=4, limit=5)) == [[("a", 1), ("x", 1)], [("b", 1), ("y", 1)], [("a", 1)], []]


def test_one_moment_before_somebody_logged_in(log: Log) -> None:
    """What bears the anonymous id alone is on the way of the one who logged in, also where moments are shared."""
    log(None, (0, "b"), (0, "a"), anonymous_id="x")
    log("1", (1, "c"), anonymous_id="x")
    log("2", (0, "b"), (1, "a"))
    for found in (ask(steps=3), ask(steps=3, person=Person(user_id="1"))):
        assert ("c", 1) in names(found)[2]


def test_what_is_looked_at(log: Log) -> None:
    """The range, the query's conditions, the resolved person, nobody's events and those of the future."""
    log(None, (0, "a"), anonymous_id="d")
    log("1", (1, "b"), anonymous_id="d")
    log(None, (0, "a"), (1, "b"))
    log("2", (-1, "c"), (0, "a"))
    assert names(ask(steps=2)) == [[("a", 2)], [("b", 1)]]
    assert names(ask(steps=2, person=Person(anonymous_id="d"))) == [[("a", 1)], [("b", 1)]]
    only = EventQuery(start=DAY.start, end=DAY.end, names=("b",))
    assert names(ask(query=only, steps=1)) == [[("b", 1)]]
    assert names(ask(now=T0, steps=2)) == [[("a", 2)], []]


async def test_twin(log: Log) -> None:
    """The twin answers the same."""
    assert (await apaths(DAY, now=LATER)).sessions == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 21},
        {"limit": 0},
        {"limit": 101},
        {"start": "a", "end": "b"},
        {"gap": 0 * MINUTE},
    ],
)
def test_refused(log: Log, wrong: dict[str, Any]) -> None:
    """What makes no sense is an error that says so."""
    with pytest.raises(InvalidQuery):
        ask(**wrong)


@pytest.mark.parametrize("anchor", [{}, {"start": "c"}, {"end": "c"}])
@pytest.mark.parametrize("limit", [2, 100])
def test_against_walking_by_hand(log: Log, anchor: dict[str, str], limit: int) -> None:
    """Three hundred people with random events, ties among them."""
    rng = random.Random(3)
    walks: list[tuple[str, list[str]]] = []
    for number in range(300):
        who = f"p{number}"
        happened = [
            (rng.randrange(rng.choice([3, 200])), rng.choice("aabbcde")) for _ in range(rng.randrange(1, 15))
        ]
        log(who, *happened)
        happened.sort(key=lambda event: event[0])  # ids are in the order of storing, and so is a stable sort
        sessions: list[list[str]] = []
        for index, (minute, name) in enumerate(happened):
            if not index or minute - happened[index - 1][0] >= 30:
                sessions.append([])
            if not sessions[-1] or sessions[-1][-1] != name:
                sessions[-1].append(name)
        for session in sessions:
            if not anchor:
                walks.append((who, session))
            elif "c" in session:
                place = session.index("c")
                walks.append((who, session[place:] if "start" in anchor else session[place::-1]))
    found = ask(steps=4, limit=limit, **anchor)
    assert (found.sessions, found.people) == (len(walks), len({who for who, _ in walks}))
    nodes: dict[Any, list[tuple[str, bool]]] = defaultdict(list)
    links: dict[Any, list[str]] = defaultdict(list)
    kept = []
    for step in range(4):
        counts = Counter(walk[step] for _, walk in walks if len(walk) > step)
        kept.append(sorted(counts, key=lambda name: (-counts[name], name))[:limit])
    for who, walk in walks:
        keys = [Key("value", name) if name in top else OTHER for name, top in zip(walk, kept, strict=False)]
        for step, key in enumerate(keys):
            nodes[step, key].append((who, len(walk) > step + 1))
            if step + 1 < len(keys):
                links[step, key, keys[step + 1]].append(who)
    assert {(n.step, n.key): (n.people, n.sessions, n.ended, n.dropped) for n in found.nodes} == {
        place: (
            len({who for who, _ in those}),
            len(those),
            sum(not on for _, on in those),
            len({who for who, _ in those} - {who for who, on in those if on}),
        )
        for place, those in nodes.items()
    }
    assert {(link.step, link.source, link.target): (link.people, link.sessions) for link in found.links} == {
        place: (len(set(those)), len(those)) for place, those in links.items()
    }
