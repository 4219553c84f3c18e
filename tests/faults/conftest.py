"""What the trials share: a migrated database to copy, and a maker of worlds that ends their children."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import World, empty_database

Maker = Callable[..., World]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a migrated SQLite database."""
    return empty_database(tmp_path_factory.mktemp("template") / "empty.sqlite3")


@pytest.fixture
def make_world(tmp_path: Path, template: Path) -> Iterator[Maker]:
    """Give a function that makes a world, in SQLite unless told otherwise."""
    made: list[World] = []

    def make(database: str | Path = template, **more: Any) -> World:
        made.append(World(tmp_path / f"world-{len(made)}", database, **more))
        return made[-1]

    yield make
    for world in made:
        world.close()
