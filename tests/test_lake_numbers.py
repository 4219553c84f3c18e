"""People by number: one for each, for good; and the sets of them that reports count."""

import os
from pathlib import Path
from typing import Any

import pytest

from littlebro import EventQuery
from littlebro.analysis import Step, breakdown, lake, paths, retention, trend
from littlebro.analysis.erasure import forget
from littlebro.analysis.lake.manifest import Manifest, lake_of
from littlebro.analysis.question import Person
from littlebro.analysis.reader import open_reader
from littlebro.storage.handler import backends
from tests.analysis_logs import DAY, T0, event, fill

BOTH = ("littlebro", "other")
WEEK: Any = {"start": T0, "end": T0 + 7 * DAY}


def store(*who: str, collection: str = "littlebro") -> None:
    backends["default"].save_many([event(who=each, collection=collection) for each in who])


def numbers() -> dict[str, int]:
    """Return the number of each person with events, as a report sees it."""
    keys = {Person.parse(f"{kind}:{number}").who: f"{kind}{number}" for kind in "ua" for number in range(30)}
    with open_reader(collections=BOTH) as reader:
        rows = reader.rows("SELECT DISTINCT who, number FROM events WHERE who IS NOT NULL")
        low, high = reader.numbers
    assert len(rows) == len(dict(rows)), "two numbers for one"
    assert all(low <= number < high for _, number in rows)
    return {keys[who]: number for who, number in rows}


def manifest() -> Manifest:
    found = lake_of("default")
    state = found.load() if found else None
    assert state is not None
    return state


def in_files() -> dict[int, int]:
    """Return what the files of people say."""
    found = lake_of("default")
    assert found is not None
    listed = ", ".join(f"'{found.path(file.name)}'" for file in manifest().people or ())
    with open_reader() as reader:
        return dict(reader.rows(f"SELECT who, number FROM read_parquet([{listed}])"))


def test_a_number_stays(with_lake: Any) -> None:
    """Users count up from 0 and anonymous ids down from -1, through lake and tail, in every collection."""
    fill(with_lake, [event(who=who) for who in ("u1", "u2", "a1")])
    first = numbers()
    assert sorted(first.values()) == [-1, 0, 1]
    assert first["a1"] == -1
    lake.sync()
    kept = numbers()
    assert sorted(kept.values()) == [-1, 0, 1]
    store("u2", "u3", "a2", collection="other")
    store("a1", "u4")
    tailed = numbers()
    assert tailed.items() >= kept.items()
    assert sorted(tailed.values()) == [-2, -1, 0, 1, 2, 3]
    lake.sync()
    assert numbers().items() >= kept.items()
    assert sorted(numbers().values()) == [-2, -1, 0, 1, 2, 3]
    assert sorted(in_files().values()) == [-2, -1, 0, 1, 2, 3]
    assert manifest().numbered == (4, 2)


def test_files_stay_few(with_lake: Any) -> None:
    """However often somebody new comes."""
    fill(with_lake, [])
    for number in range(20):
        store(f"u{number}", f"a{number}")
        lake.sync()
        assert len(manifest().people or ()) <= 8
    assert sorted(in_files().values()) == list(range(-20, 20))
    assert sorted(numbers().values()) == list(range(-20, 20))


@pytest.mark.parametrize("harm", ["gone", "cut short"])
def test_a_damaged_file_is_made_anew(with_lake: Any, harm: str) -> None:
    """From the events, which bear the numbers."""
    fill(with_lake, [event(who=f"u{number}") for number in range(9)])
    lake.sync()
    before = numbers()
    (file,) = manifest().people or ()
    path = manifest_path(file.name)
    if harm == "gone":
        path.unlink()
    else:
        os.truncate(path, 10)
    store("u9")
    assert numbers().items() > before.items()
    lake.sync()
    assert numbers().items() > before.items()
    assert sorted(in_files().values()) == list(range(10))


def manifest_path(name: str) -> Path:
    found = lake_of("default")
    assert found is not None
    return found.path(name)


@pytest.mark.django_db
def test_nobody_gets_the_number_of_the_forgotten(with_lake: Any) -> None:
    """They are in no file any more, and others keep theirs."""
    fill(with_lake, [event(who=f"u{number}") for number in range(3)])
    lake.sync()
    before = numbers()
    forget("default", user_id="2")
    assert Person(user_id="2").who not in in_files()
    store("u5")
    lake.sync()
    assert numbers() == {"u0": before["u0"], "u1": before["u1"], "u5": 3}


@pytest.mark.parametrize("most", [-1, 1 << 20])
def test_by_bits_or_one_by_one(with_lake: Any, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Whoever was anonymous is the user later on, whether sets of people fit into memory or not."""
    monkeypatch.setattr("littlebro.analysis.crowds._MOST_BYTES", most)
    fill(
        with_lake,
        [
            event(0, who="a1"), event(0, who="a2"), event(0, "buy", who="u1"),
            event(1, who=None, anonymous_id="1", user_id="1"), event(1, who="a2"),
            event(2, "buy", who="a1"), event(2, who=None),
        ],
    )  # fmt: skip
    lake.sync()
    store("a1")  # on the first day, in the tail
    daily = trend(EventQuery(**WEEK), measure="people", tz="UTC", now=T0 + 30 * DAY).series[0]
    assert (daily.values, daily.total) == ([2, 2, 1, 0, 0, 0, 0], 2)
    by_name = breakdown(EventQuery(**WEEK), by=("name",), tz="UTC", now=T0 + 30 * DAY)
    assert [(row.key.value, row.people) for row in by_name.rows] == [("view", 2), ("buy", 1)]
    assert by_name.total_people == 2
    back = retention(EventQuery(**WEEK), Step(), Step(), periods=3, tz="UTC", now=T0 + 30 * DAY).cohorts
    assert [[cell.people for cell in cohort.cells] for cohort in back[:2]] == [[2, 2, 1], [0, 0, 0]]
    ways = paths(EventQuery(**WEEK), tz="UTC", now=T0 + 30 * DAY)
    assert (ways.people, ways.sessions) == (2, 5)
    assert [(node.step, node.key.value, node.people, node.sessions) for node in ways.nodes] == [
        (0, "view", 2, 4), (0, "buy", 1, 1), (1, "buy", 1, 1), (2, "view", 1, 1),
    ]  # fmt: skip
