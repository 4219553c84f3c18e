"""Files that lie between two bounds of a question: nobody looks at the time of each event in them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from littlebro import EventQuery
from littlebro.analysis import Step, breakdown, lake, retention, trend
from littlebro.analysis.lake.manifest import File, Lake
from littlebro.analysis.lake.write import read_with
from littlebro.analysis.reader import open_reader
from littlebro.analysis.rows import microseconds
from tests.analysis_logs import T0, event, fill, without_lake
from tests.oracle import logs

LATER = datetime(2030, 1, 1, tzinfo=UTC)
ANY = Step()


def answers(query: EventQuery, zone: Any, now: datetime) -> list[Any]:
    common: Any = {"tz": zone, "now": now}
    found: list[Any] = [
        trend(query, interval=interval, measure=measure, by=("name",), **common)
        for interval in ("day", "week")
        for measure in ("events", "people", "weekly_people")
    ]
    found.append(trend(query, measure="events_per_person", compare="previous", **common))
    found.append(breakdown(query, by=("name",), compare="previous", **common))
    found += [
        retention(query, ANY, ANY, first_time=first, on_or_after=later, **common)
        for first in (True, False)
        for later in (True, False)
    ]
    return [msgspec.structs.replace(each, as_of=LATER) for each in found]


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    log=st.sampled_from(logs.CENTRES).flatmap(logs.events),
    zone=logs.zones(),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    nudges=st.tuples(*[st.integers(-1, 1)] * 3),
)
@pytest.mark.parametrize("least", [0, 100_000])
def test_random_logs(
    with_lake: Any, monkeypatch: Any, least: int, log: list[Any], zone: Any, ends: Any, nudges: Any
) -> None:
    """Ranges that begin, end and are asked about at an event or a microsecond beside: the same as without files.

    And the same whether people are counted by bits or one by one.
    """
    monkeypatch.setattr("littlebro.analysis.lake.write._PART", least)
    fill(with_lake, log)
    times = sorted(each.timestamp for each in log) or [T0]
    start, end, now = (
        times[round(at * (len(times) - 1))] + timedelta(microseconds=nudge)
        for at, nudge in zip(ends, nudges, strict=True)
    )
    start, end = min(start, end), max(start, end) + timedelta(microseconds=1)
    query = EventQuery(start=start, end=end)
    lake.sync()
    found = answers(query, zone, now)
    with without_lake(with_lake), monkeypatch.context() as patch:
        patch.setattr("littlebro.analysis.crowds._MOST_BYTES", -1)
        assert found == answers(query, zone, now)


def test_which_files_have_one_moment(tmp_path: Path) -> None:
    """Those with no cut in them; a cut at the first event is none, one at the last event is."""
    where = Lake("default", tmp_path)
    file = File("f", "littlebro", 0, 3, 0, 0, 100, 200)

    def moment(*cuts: int) -> str:
        return read_with(where, [file], (), cuts).partition(" AS moment")[0].rpartition(", ")[2]

    assert moment() == "ts"
    for cuts in ((101,), (200,), (0, 150, 300)):
        assert moment(*cuts) == "ts"
    assert moment(201) == "CAST(200 AS BIGINT)"
    assert moment(100) == "CAST(100 AS BIGINT)"
    assert moment(3, 50, 201, 400) == "CAST(50 AS BIGINT)"


@pytest.mark.parametrize("least, column", [(0, "moment"), (100, "ts")])
def test_a_moment_is_for_its_own_cuts(with_lake: Any, monkeypatch: Any, least: int, column: str) -> None:
    """Asked about another bound, the reader names the time itself; so it does where few events lie between edges."""
    monkeypatch.setattr("littlebro.analysis.lake.write._PART", least)
    fill(with_lake, [event(0.25), event(1.25), event(1.5)])
    lake.sync()
    first, second, third, other = (microseconds(T0 + timedelta(days=day)) for day in (0, 1, 2, 3))
    with open_reader(cuts=[third, first], edges=[second]) as reader:
        assert reader.moment([first, third]) == "moment"
        assert reader.moment([first, second]) == column
        assert reader.moment([first, other]) == "ts"
        found = reader.rows("SELECT moment FROM events ORDER BY moment")
        assert found == ([(first,)] * 3 if column == "ts" else [(first,), (second,), (second,)])
