"""The table of `python -m tests.faults`, what of it goes through a broker: each fault once, with a short outage.

How long a call may take is for the command to say, on a machine that does nothing else.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import perform
from tests.faults.felt import Felt, felt
from tests.faults.stage import PATHS, RABBITMQ, REDIS, Stage
from tests.faults.stories import Story, stories
from tests.servers import UnavailableError
from tests.services import demanded

pytestmark = pytest.mark.slow

_SECONDS = 1.0

# Grouped by broker; queues deleted, workers killed and old, limits, beats and poison have tests of their own.
CASES = [
    (RABBITMQ, "broker killed, batches in it"),
    (RABBITMQ, "broker in a black hole"),
    (RABBITMQ, "worker's machine vanishes from the network"),
    (REDIS, "broker killed"),
    (REDIS, "broker frozen"),
    (REDIS, "broker slow"),
    (REDIS, "broker away at the start"),
    (REDIS, "broker's network cut"),
    (REDIS, "connections to the broker dead for good"),
    (REDIS, "database stopped"),
    (REDIS, "journal full (MAX_BYTES), broker frozen"),
    (REDIS, "all at once"),
    (REDIS, "Redis full, noeviction"),
    (REDIS, "Redis full, allkeys-lru"),
    (REDIS, "Redis restarted without appendonly"),
    (REDIS, "web process killed (-9) mid-burst"),
    (REDIS, "clocks a day off"),
]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Give a stage with servers of its own: they are killed and frozen."""
    folder = Path(tempfile.mkdtemp(prefix="littlebro-faults-"))
    with Stage(folder) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


def find(stage: Stage, path: str, fault: str) -> Felt | Story:
    every: list[Felt | Story] = [*felt(stage), *stories(stage)]
    (found,) = [case for case in every if (case.path, case.fault) == (path, fault)]
    return found


@pytest.mark.parametrize("path,fault", CASES, ids=[f"{path.split()[2]}-{fault}" for path, fault in CASES])
def test_outage(stage: Stage, tmp_path: Path, path: str, fault: str) -> None:
    """Nothing is lost or doubled, or as much as the documentation says."""
    try:
        stage.broker(path)
        stage.database  # noqa: B018 - started when first asked for
    except UnavailableError as error:
        if demanded():
            raise
        pytest.skip(str(error))
    row = perform(find(stage, path, fault), stage, tmp_path / "trial", seconds=_SECONDS)
    assert not row.broken, row.broken


def test_every_path_has_its_table(tmp_path: Path) -> None:
    """To list all trials starts nothing, and none is there twice."""
    stage = Stage(tmp_path)
    every: list[Felt | Story] = [*felt(stage), *stories(stage)]
    names = [(case.fault, case.path) for case in every]
    assert len(names) == len(set(names)) > 60
    assert {path for _, path in names} == set(PATHS)
    assert not list(tmp_path.iterdir())
