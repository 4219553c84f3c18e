"""Backend and sinks succeed and fail by themselves: none holds up another, and no cap loses unseen."""

from pathlib import Path

import pytest

from tests.faults.conftest import Maker
from tests.faults.harness import World, logged, wait_until

_FRAGILE = "tests.faults.site.stores.Fragile"
_CAP = 150_000


class Stores:
    """A world with two fragile stores: the alias's own, and one of a sink."""

    def __init__(self, make_world: Maker, folder: Path) -> None:
        self.own, self.sink = folder / "own.log", folder / "sink.log"
        self.world: World = make_world(
            backend={"BACKEND": _FRAGILE, "LOCATION": str(self.own)},
            sinks={"warehouse": {"BACKEND": _FRAGILE, "LOCATION": str(self.sink)}},
            options={"SEAL_EVENTS": 50, "SEAL_SECONDS": 0.1, "SINK_MAX_BYTES": _CAP},
        )

    def down(self, store: Path) -> None:
        Path(f"{store}.down").touch()

    def up(self, store: Path) -> None:
        Path(f"{store}.down").unlink()

    def has_all(self, store: Path) -> bool:
        return set(self.world.accepted()) <= set(logged(store))


@pytest.fixture
def stores(make_world: Maker, tmp_path: Path) -> Stores:
    return Stores(make_world, tmp_path)


def test_dead_sink_beside_a_good_backend(stores: Stores) -> None:
    """Three times the cap: the backend has all, the sink what the cap let in, and the rest is counted."""
    world = stores.world
    stores.down(stores.sink)
    child = world.start("wait_for", 700)
    size = 0
    while size < 3 * _CAP:  # a bit at a time, so that the fan-out sees what waits already
        world.hear(child)
        wait_until(lambda: stores.has_all(stores.own), what="delivery to the backend beside a dead sink")
        size = stores.own.stat().st_size
        assert child.stdin is not None
        child.stdin.write("more\n")
        child.stdin.flush()
    world.hear(child)
    world.result(child)
    world.upkeep()
    assert world.verdict(stored=logged(stores.own))[2:4] == (0, 0)
    assert logged(stores.sink) == []
    owed = sum(path.stat().st_size for path in (world.journal / "default" / "sinks").rglob("*.sealed"))
    assert _CAP / 2 < owed < _CAP * 1.2

    stores.up(stores.sink)
    assert world.upkeep()["left"] == 0
    refused = world.losses()
    assert list(refused) == ["sink-full:warehouse"]
    verdict = world.verdict(stored=logged(stores.sink))
    assert verdict.stored > 100
    assert verdict.duplicated == 0
    assert verdict.lost == refused["sink-full:warehouse"]
    assert world.verdict(stored=logged(stores.own))[2:4] == (0, 0)


def test_dead_backend_beside_a_good_sink(stores: Stores) -> None:
    """While the backend is down the sink gets every event, and the backend gets them afterwards."""
    world = stores.world
    stores.down(stores.own)
    child = world.start("wait_for", 200)
    world.hear(child)
    wait_until(lambda: stores.has_all(stores.sink), what="delivery to the sink beside a dead backend")
    stores.up(stores.own)
    wait_until(lambda: stores.has_all(stores.own), what="delivery to the backend")
    world.ask(child)  # one more round, with all in order
    world.result(child)
    world.upkeep()
    for store in (stores.own, stores.sink):
        assert world.verdict(stored=logged(store))[2:] == (0, 0, 0)


@pytest.mark.parametrize("first", ["own", "sink"])
def test_both_dead_then_one_heals(stores: Stores, first: str) -> None:
    """The one that heals gets every event, whatever the other tried and kept meanwhile."""
    world = stores.world
    stores.down(stores.own)
    stores.down(stores.sink)
    child = world.start("wait_for", 200)
    world.hear(child)
    wait_until(lambda: list(world.journal.rglob("sinks/*/*.sealed")), what="a try at the sink")
    healed, other = (stores.own, stores.sink) if first == "own" else (stores.sink, stores.own)
    wait_until(lambda: "down" in world.errors(), what="a failed try")
    stores.up(healed)
    wait_until(lambda: stores.has_all(healed), what=f"delivery to {first} while the other is down")
    assert logged(other) == []
    stores.up(other)
    world.result(child)
    world.upkeep()
    for store in (stores.own, stores.sink):
        assert world.verdict(stored=logged(store))[2:] == (0, 0, 0)
