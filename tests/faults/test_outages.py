"""While something is away callers notice nothing, and afterwards nothing is lost that is not counted.

How long a call may take is measured by `python -m tests.faults`: a shared machine has moods.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import trial
from tests.faults.conftest import Maker
from tests.faults.harness import logged, wait_until
from tests.faults.outages import FOLDER_OUTAGES, Database, Disk, locked_table
from tests.servers import UnavailableError
from tests.services import demanded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    pytest.importorskip("psycopg")
    try:
        found = Database(tmp_path_factory.mktemp("postgresql"))
    except UnavailableError as error:
        if demanded():
            raise
        pytest.skip(str(error))
    yield found
    found.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        found = Disk(tmp_path / "disk", "2m")
    except UnavailableError as error:
        pytest.skip(str(error))
    yield found
    found.close()


@pytest.mark.parametrize("name", ["database stopped", "database frozen", "network cut", "network swallows"])
def test_database_away(make_world: Maker, database: Database, name: str) -> None:
    """Every event waits in the journal, and is stored once when the database is back."""
    world = make_world(database.fresh())
    seen = trial.run(world, database.outages[name](), during=2.5, after=1.5, gap=0.0005)
    assert seen.verdict.accepted == seen.calls > 1000
    assert seen.exact(), seen
    assert seen.verdict[2:] == (0, 0, 0)


def test_table_locked(make_world: Maker) -> None:
    """The same with a SQLite file that another process has locked."""
    world = make_world()
    seen = trial.run(world, locked_table(world), during=2.5, after=1.5, gap=0.0005)
    assert seen.verdict.accepted == seen.calls > 1000
    assert seen.exact(), seen
    assert seen.verdict[2:] == (0, 0, 0)


def test_disk_full(make_world: Maker, disk: Disk, tmp_path: Path) -> None:
    """What finds no room is refused and counted to the last event; with room again all goes on."""
    world = make_world(journal=tmp_path / "disk" / "journal", options={"SEAL_BYTES": 100_000})
    seen = trial.run(world, disk.full(), during=2.5, after=2.5, gap=0.0005, size=300)
    assert seen.refused > 100
    assert seen.exact(), seen
    assert seen.verdict.lost == seen.verdict.duplicated == 0
    assert set(world.losses()) == {"journal-full"}
    assert seen.verdict.accepted > 100


def test_cap_reached(make_world: Maker, tmp_path: Path) -> None:
    """A journal that holds MAX_BYTES refuses the newest, counted; it takes events again as soon as it drains."""
    down = tmp_path / "events.log.down"
    down.touch()
    world = make_world(
        backend={"BACKEND": "tests.faults.site.stores.Fragile", "LOCATION": str(tmp_path / "events.log")},
        options={"MAX_BYTES": 200_000, "SEAL_EVENTS": 50, "POLL_SECONDS": 30.0},
    )
    child = world.start("wait_for", 1000)
    told = world.hear(child)
    assert 200 < told["accepted"] < 1000
    assert told["accepted"] + told["refused"] == 1000
    down.unlink()
    refused = told["refused"]
    wait_until(lambda: len(logged(tmp_path / "events.log")) >= told["accepted"] - 50, what="draining")
    told = world.ask(child)
    assert told["refused"] - refused < 700  # two fifths of the cap were free by then, at the least
    refused = told["refused"]
    world.result(child)
    world.upkeep()
    assert world.losses() == {"journal-full": refused}
    assert world.verdict(stored=logged(tmp_path / "events.log"))[2:4] == (0, 0)


@pytest.mark.parametrize("name", ["database stopped", "network swallows"])
def test_exit_while_database_is_away(make_world: Maker, database: Database, name: str) -> None:
    """A normal exit takes as long as EXIT_SECONDS allows, and leaves the rest for later."""
    world = make_world(database.fresh(), options={"EXIT_SECONDS": 1.0})
    child = world.start("wait_for", 300)
    world.hear(child)
    with database.outages[name]():
        world.ask(child)
        start = time.monotonic()
        world.result(child)
        assert time.monotonic() - start < 4
    world.upkeep()
    verdict = world.verdict()
    assert (verdict.accepted, *verdict[2:]) == (600, 0, 0, 0)


@pytest.mark.parametrize("name", list(FOLDER_OUTAGES))
def test_journal_folder(make_world: Maker, name: str) -> None:
    """A folder that is deleted or read-only loses nothing that is not counted to the last event."""
    world = make_world(options={"SEAL_EVENTS": 100})
    (world.journal / "default").mkdir(parents=True)
    seen = trial.run(world, FOLDER_OUTAGES[name](world.journal), during=2.5, after=2.5, gap=0.0005)
    assert seen.verdict.accepted > 1000
    assert seen.exact(), (seen, world.losses(), world.errors())
    if name == "journal removed":
        assert (seen.refused, seen.verdict.lost) == (0, 0)
    elif "removed" in name:  # now and then a new segment is deleted at birth
        assert seen.refused + seen.verdict.lost < seen.calls / 50
    else:
        assert seen.refused > 100
