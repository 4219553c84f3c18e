"""Columns of their own for frequent keys: which get one, and the same answers with them as without."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from littlebro import EventQuery
from littlebro.analysis import Breakdown, Key, Trend, breakdown, lake, trend
from littlebro.analysis.engine import engine
from littlebro.analysis.lake.manifest import Manifest, lake_of
from littlebro.storage.handler import backends
from tests.analysis_logs import T0, event, fill, without_lake
from tests.oracle import logs

LATER = datetime(2030, 1, 1, tzinfo=UTC)
PATHS = [("params", key) for key in logs.KEYS] + [("context", "a.b"), ("params", "never")]


def manifest() -> Manifest:
    folder = lake_of("default")
    found = folder.load() if folder is not None else None
    assert found is not None
    return found


def test_which_keys_get_a_column(with_lake: Any) -> None:
    """Frequent ones at which something short stands, or something that repeats; all that could have one are noted."""
    fill(
        with_lake,
        [
            event(
                params={
                    "plan": ["free", "pro"][n % 2], "n": n, "url": f"/a/long/address/of/{n % 7}/",
                    "hash": f"{n:032x}", "text": "x" * 80, "it's": 1, "a/b": 1, "1st": 1,
                    **({"rare": 1} if n == 5 else {}),
                },
                context={"ip": "192.0.2.0", "none": None},
            )
            for n in range(40)
        ],
    )  # fmt: skip
    lake.sync()
    (file,) = manifest().files
    assert sorted(file.own) == ["context/ip", "context/none", "params/n", "params/plan", "params/url"]
    assert file.keys is not None
    assert set(file.keys) == {*file.own, "params/hash", "params/text", "params/rare"}
    with engine.session(None) as session:
        columns = session.rows(f"DESCRIBE FROM '{with_lake.LITTLEBRO_LAKE}/default/{file.name}'")
    assert {f"params/{key}" for key in ("plan", "n", "url")} <= {column[0] for column in columns}


def test_too_many_keys_are_not_noted(with_lake: Any) -> None:
    """A hundred keys of a document at most; what a file may hold is then looked up as before."""
    fill(with_lake, [event(params={f"key-{n}": n, "plan": "pro"}) for n in range(200)])
    lake.sync()
    (file,) = manifest().files
    assert file.keys is None
    assert file.own == ("params/plan",)
    span = EventQuery(start=T0, end=T0 + timedelta(days=1))
    rows = breakdown(span, by=("params", "key-7"), tz="UTC", now=LATER).rows
    assert [(row.key.kind, row.events) for row in rows] == [("value", 1), ("none", 199)]


def test_files_that_differ_are_read_as_one(with_lake: Any) -> None:
    """With a column, without the key, with the key but no column, in the tail: each event counts once."""
    fill(with_lake, [event(params={"plan": "pro"}) for _ in range(10)])
    lake.sync()
    kept = backends["default"]
    kept.save_many([event(1, params={"other": 1}) for _ in range(10)])
    lake.sync()
    kept.save_many([event(2, params={"plan": "pro"} if n == 3 else {}) for n in range(50)])
    lake.sync()
    assert Counter(file.own for file in manifest().files) == {
        ("params/plan",): 1,
        ("params/other",): 1,
        (): 1,
    }
    kept.save_many([event(2, params={"plan": "free"}) for _ in range(4)])
    span = EventQuery(start=T0, end=T0 + timedelta(days=3))
    found = breakdown(span, by=("params", "plan"), tz="UTC", now=LATER)
    assert [(row.key, row.events) for row in found.rows] == [
        (Key("value", "pro"), 11), (Key("value", "free"), 4), (Key("none"), 59),
    ]  # fmt: skip
    whole = lake_of("default")
    assert whole is not None
    old = msgspec.structs.replace(
        manifest(), files=tuple(msgspec.structs.replace(file, keys=None, own=()) for file in manifest().files)
    )
    with whole.writing():
        whole.commit(
            manifest(), msgspec.structs.replace(old, number=old.number + 7)
        )  # as it was written before
    assert breakdown(span, by=("params", "plan"), tz="UTC", now=LATER).rows == found.rows


def test_keys_that_differ_in_case(with_lake: Any) -> None:
    """Only one of them has a column, since the engine would take two for one."""
    fill(
        with_lake,
        [event(params={"Plan": "upper", "plan": "lower"}) for _ in range(5)]
        + [event(params={"plan": "only"})],
    )
    lake.sync()
    span = EventQuery(start=T0, end=T0 + timedelta(days=1))
    for key, values in (("Plan", ["upper", None]), ("plan", ["lower", "only"])):
        rows = breakdown(span, by=("params", key), tz="UTC", now=LATER).rows
        assert [(row.key.value, row.events) for row in rows] == list(zip(values, [5, 1], strict=True))


def answers(query: EventQuery, by: Any, value: Any) -> list[Breakdown | Trend]:
    common: Any = {"tz": "UTC", "now": LATER, "value": value, "limit": 3}
    found: list[Any] = [breakdown(query, by=by, measure=measure, **common) for measure in ("sum", "max")]
    found += [trend(query, by=by, measure=measure, **common) for measure in ("average", "median")]
    del common["value"]
    found += [
        breakdown(query, by=by, measure=measure, compare="previous", **common)
        for measure in (None, "events_per_person")
    ]
    found += [
        trend(query, by=by, measure=measure, **common) for measure in ("events", "people", "weekly_people")
    ]
    return [msgspec.structs.replace(each, as_of=LATER) for each in found]


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    log=st.sampled_from(logs.CENTRES).flatmap(logs.events),
    by=st.sampled_from(PATHS), value=st.sampled_from(PATHS), cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)  # fmt: skip
def test_random_logs(with_lake: Any, log: list[Any], by: Any, value: Any, cuts: tuple[float, float]) -> None:
    """Half in columns, half in the tail: the reports answer as from the store itself."""
    first, second = sorted(round(cut * len(log)) for cut in cuts)
    fill(with_lake, log[:first])
    moments = [each.timestamp for each in log] or [T0]
    query = EventQuery(start=min(moments) - timedelta(days=1), end=min(moments) + timedelta(days=40))
    for news in (log[first:second], log[second:]):
        lake.sync()
        backends["default"].save_many(news)
    found = answers(query, by, value)
    with without_lake(with_lake):
        assert found == answers(query, by, value)


@pytest.mark.parametrize(
    "question", [{"compare": "previous"}, {"compare": "year"}, {"measure": "weekly_people"}]
)
def test_days_before_the_range_are_read_too(with_lake: Any, question: dict[str, str]) -> None:
    """Where a report compares, or looks back: files of other days are left out, those are not."""
    fill(with_lake, [event(day, who=f"u{day}") for day in (-359, 0, 4, 5, 9, 11)])
    query = EventQuery(start=T0 + timedelta(days=5), end=T0 + timedelta(days=10))
    plain: Any = {"tz": "UTC", "now": LATER, **question}
    expected = trend(query, **plain).table()
    lake.sync()
    assert len(manifest().files) == 6
    assert trend(query, **plain).table() == expected
    if "compare" in question:
        assert [row.previous_events for row in breakdown(query, by=("name",), **plain).rows] != [0]
