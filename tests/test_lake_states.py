"""A process keeps what it read of a lake, while the lake goes on from state to state."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from littlebro import EventQuery
from littlebro.analysis import Step, lake, trend
from littlebro.analysis.engine import Session, engine
from littlebro.analysis.lake.erase import erase_person, expire
from littlebro.analysis.lake.manifest import FORMAT, Lake, Manifest, lake_of
from littlebro.analysis.reports.funnel import funnel_people
from littlebro.analysis.tail import Tail, tail_of
from littlebro.exceptions import AnalysisTimeout
from littlebro.storage.handler import backends
from littlebro_backends.memory import Backend
from tests.analysis_logs import DAY, T0, event, fill

WEEK = EventQuery(start=T0, end=T0 + 7 * DAY)
READER = "littlebro.analysis.reader"
LINKED: dict[str, Any] = {"who": None, "anonymous_id": "d", "user_id": "0"}


def present() -> tuple[Lake, Manifest]:
    found = lake_of("default")
    state = found.load() if found else None
    assert found is not None
    assert state is not None
    return found, state


def store(**fields: Any) -> None:
    backends["default"].save_many([event(**fields)])


def people() -> list[str]:
    """Return who did anything; the answer is not kept, and reads files of people and of links."""
    found = funnel_people(WEEK, [Step()], step=0, now=T0 + 9 * DAY)
    return sorted(str(each) for each in found)


def how_many(days: int = 7) -> float | None:
    return trend(
        EventQuery(start=T0, end=T0 + days * DAY), measure="people", tz="UTC", now=T0 + 99 * DAY
    ).series[0].total  # fmt: skip


def how_many_events() -> float | None:
    return trend(WEEK, tz="UTC", now=T0 + 99 * DAY).series[0].total


def tables() -> list[str]:
    with engine.session(None) as session:
        return [
            row[0] for row in session.rows("SELECT table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY 1")
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["people", "links"])
def test_a_file_that_is_gone_while_nothing_is_stored(with_lake: Any, kind: str) -> None:
    """The lake is mended, and whoever kept the state before reads the mended one."""
    fill(with_lake, [event(who="u1"), event(**LINKED), event(who="ad")])
    lake.sync()
    before = people()
    assert before == ["u:0", "u:1"]
    folder, state = present()
    (file,) = getattr(state, kind)
    folder.path(file.name).unlink()
    assert people() == before
    lake.sync()
    assert people() == before


@pytest.mark.parametrize("kind", ["people", "links"])
def test_a_question_between_two_steps_of_a_sync(
    with_lake: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that the sync puts together are gone some minutes later; by then nobody goes on naming them."""
    fill(with_lake, [event(who="u0"), event(**LINKED)])
    module = sys.modules["littlebro.analysis.lake.sync"]
    step = "gather" if kind == "people" else "merge_links"
    real: Callable[..., Manifest] = getattr(module, step)
    seen: list[list[str]] = []

    def after_a_question(session: Session, folder: Lake, state: Manifest) -> Manifest:
        seen.append(people())
        return real(session, folder, state)

    for number in range(1, 10):
        # Of another day, or the sync would put files of events together as well.
        store(**{**LINKED, "at": number / 2, "anonymous_id": f"d{number}", "user_id": str(number)})
        with monkeypatch.context() as patch:
            patch.setattr(module, step, after_a_question)
            lake.sync()
    assert len(seen[-1]) == 10
    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr("littlebro.analysis.lake.manifest.time.time", lambda: now() + 600)
        lake.sync()
    assert people() == seen[-1]


@pytest.mark.parametrize("how", ["forgotten", "expired"])
def test_a_lake_of_another_version_keeps_nobody(
    with_lake: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is to be gone when the call returns is not left in files that only an older littlebro could read."""
    fill(with_lake, [event(who=f"u{number}") for number in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr("littlebro.analysis.lake.manifest.FORMAT", 1)
        lake.sync()
    folder = lake_of("default")
    assert folder is not None
    manifest = folder.path("manifest.json")
    manifest.write_text(manifest.read_text().replace(f'"v":{FORMAT}', '"v":1'))
    assert folder.load() is None
    assert len(list(folder.folder.glob("*.parquet"))) == 2
    assert (erase_person("default", "1", None) if how == "forgotten" else expire("default", WEEK)) == 0
    assert [path.name for path in folder.folder.iterdir() if path.is_file()] == ["lock"]
    assert people() == ["u:0", "u:1", "u:2"]  # the store was not asked to forget: the lake is a copy of it


@pytest.mark.parametrize("how", ["forgotten", "expired"])
def test_what_another_store_forgets(with_lake: Any, how: str) -> None:
    """Two projects that share a folder, or one that moved its store: whoever is called alike is somebody else."""
    fill(with_lake, [event(who="u1"), event(who="u2")])
    lake.sync()
    ours = with_lake.LITTLEBRO
    fill(with_lake, [event(who="u1")])
    assert (erase_person("default", "1", None) if how == "forgotten" else expire("default", WEEK)) == 0
    folder = lake_of("default")
    assert folder is not None
    assert not list(folder.folder.glob("*.parquet"))
    with_lake.LITTLEBRO = ours
    assert people() == ["u:1", "u:2"]
    lake.sync()
    assert people() == ["u:1", "u:2"]


def test_a_clock_that_is_set_back(with_lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake that was synced, and verified, at a moment that is yet to come is not taken for a fresh one."""
    with_lake.LITTLEBRO_ANALYSIS_TAIL_EVENTS = 1
    fill(with_lake, [event(who="u0"), event(who="u1")])
    monkeypatch.setattr(Backend, "supports_scan_stored", False)
    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now() + 86_400)
        lake.sync()
    store(who="u2")
    assert how_many_events() == 3
    monkeypatch.setattr(Backend, "supports_scan_stored", True)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now() + 86_400)
        lake.verify()
    lake.sync()
    assert present()[1].verified_at < now() + 60


@contextmanager
def held_back(after: int) -> Iterator[None]:
    """Let the store tell so many events in the order of storing, as if somebody's transaction were open."""
    whole = Backend.scan_stored
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Backend,
            "scan_stored",
            lambda self, position=None: (pair for pair in whole(self, position) if int(pair[0]) <= after),
        )
        yield


def test_an_event_that_is_there_long_before_it_is_in_order(with_lake: Any) -> None:
    """Verifying finds what is kept out of the order of storing; once it is in there, it is no second one."""
    fill(with_lake, [event(who="u0")])
    lake.sync()
    store(who="u1")
    with held_back(after=1):
        assert lake.verify().mended == 1
        lake.sync()
    assert how_many_events() == 2
    store(who="u2")
    assert how_many_events() == 3
    assert lake.sync().rows == 3


def test_a_store_that_tells_nothing_for_a_while(with_lake: Any) -> None:
    """While a transaction keeps all out of the order of storing, the lake is kept, and what was known besides."""
    fill(with_lake, [event(who="u0"), event(who="u1")])
    lake.sync()
    store(who="u2")
    assert how_many_events() == 3
    _, before = present()
    with held_back(after=0):
        assert how_many_events() == 3
        assert lake.sync().rows == 2
        assert how_many_events() == 3
    _, after = present()
    assert after.made == before.made
    assert how_many_events() == 3
    assert lake.sync().rows == 3


@pytest.mark.parametrize("chunk", [3, 100])
def test_what_is_read_again_does_not_dwindle(
    with_lake: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with each sync that finds nothing, nor where the last chunk was short: the lake is not made anew."""
    monkeypatch.setattr(sys.modules["littlebro.analysis.lake.sync"], "CHUNK", chunk)
    fill(with_lake, [event(who=f"u{number}") for number in range(4)])
    for _ in range(6):
        lake.sync()
    before = present()[1]
    assert before.anchor != before.position
    store(who="u5")
    assert lake.sync().added == 1
    assert present()[1].made == before.made
    assert how_many_events() == 5


def test_who_gets_a_number_in_the_tail(with_lake: Any) -> None:
    """A device that was never seen without its user has no number in the lake; there it is that user all the same."""
    fill(with_lake, [event(**LINKED), event(who="u5")])
    lake.sync()
    assert how_many() == 2
    store(who="ad")
    assert how_many() == 2
    store(who="ad7")
    assert how_many() == 3
    store(who=None, anonymous_id="d7", user_id="5")
    assert how_many() == 2


def test_tables_of_earlier_states_are_let_go(with_lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that another question has in hand, or is at work with, when it becomes an earlier one."""
    fill(with_lake, [event(who="u1")])
    assert how_many() == 1
    assert len(tables()) == 4
    with engine.session(None) as session:
        first = session.instance.kept["tail", "default"]
    assert isinstance(first, Tail)
    lake.sync()
    with first.lock:
        assert how_many(8) == 1
        assert len(tables()) == 8
    assert how_many(9) == 1
    assert len(tables()) == 4

    reached, go = threading.Event(), threading.Event()
    found: list[float | None] = []

    def held(*given: Any) -> Tail:
        tail = tail_of(*given)
        if threading.current_thread() is late and not reached.is_set():
            reached.set()
            assert go.wait(20)
        return tail

    late = threading.Thread(target=lambda: found.append(how_many(10)))
    monkeypatch.setattr(f"{READER}.tail_of", held)
    late.start()
    assert reached.wait(20)
    store(who="u2")
    lake.sync()
    assert how_many(11) == 2
    go.set()
    late.join(20)
    assert found == [2]
    assert len(tables()) == 4


def test_a_question_waits_for_another_as_long_as_it_may(settings: Any) -> None:
    """Whoever waits for a question that reads what was stored ends in time, with an error that names the setting."""
    fill(settings, [event(who="u1")])
    assert how_many() == 1
    with engine.session(None) as session:
        tail = session.instance.kept["tail", "default"]
    assert isinstance(tail, Tail)
    with (
        tail.lock,
        engine.session(0.2) as session,
        pytest.raises(AnalysisTimeout, match="LITTLEBRO_ANALYSIS_SECONDS"),
        tail.held(session),
    ):
        pass


def test_cut_off_between_two_tables(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that ends while tables are let go does not leave the next one to look for them."""
    fill(settings, [event(who="u1")])
    assert how_many() == 1
    real = Session.rows

    def late(self: Session, sql: str, *rest: Any) -> list[tuple[Any, ...]]:
        if sql.startswith("DROP") and "tail_links" in sql:
            raise AnalysisTimeout("late")
        return real(self, sql, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "rows", late)
        patch.setattr(Tail, "_since", lambda *_: (1, None))
        with pytest.raises(AnalysisTimeout, match="late"):
            how_many(8)
    assert how_many(9) == 1


def test_some_go_while_others_come(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lake, as many events may come during a question as went before it: who is gone is not there."""
    fill(settings, [event(who="u1"), *(event(who="u2") for _ in range(300))])
    assert people() == ["u:1", "u:2"]
    backends["default"].delete_many(EventQuery(user_id="1"))
    real = Backend.count
    counted: list[int] = []

    def busy(self: Backend, query: EventQuery) -> int:
        if len(counted) == 1:
            store(who="u3")
        counted.append(real(self, query))
        return counted[-1]

    monkeypatch.setattr(Backend, "count", busy)
    assert people() in (["u:2"], ["u:2", "u:3"])
