"""Faults that are a short story each: processes that end, poison, repetition, rollback, rivals, odd clocks.

In: a stage. Out: one `Story` each; told in a folder it returns its world, for the verdict, or raises
`AssertionError` where a promise of this fault's own is broken. To list them starts no server.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.brokers.harness import Site
from tests.faults.harness import World, wait_until
from tests.faults.serving import get, served, visit
from tests.faults.stage import CELERY, PATHS, Stage

__all__ = ["Story", "stories"]

_DAY = 86400
_SETTLE = 120.0
_POISON_SQLITE = """CREATE TRIGGER poison BEFORE INSERT ON littlebro_storedevent WHEN NEW.name = 'poison'
BEGIN SELECT RAISE(ABORT, 'no poison in here'); END"""
_POISON_POSTGRESQL = "ALTER TABLE littlebro_storedevent ADD CONSTRAINT no_poison CHECK (name <> 'poison')"

Make = Callable[..., World]


@dataclass(frozen=True)
class Story:
    """A fault on a path, and how it is told; `refused` events are dead letters, and counted."""

    fault: str
    path: str
    tell: Callable[[Path], World]
    refused: int = 0


def stories(stage: Stage) -> Iterator[Story]:
    """Yield all of them."""
    for path in PATHS:

        def make(place: Path, path: str = path, **more: Any) -> World:
            return stage.world(path, place, **more)

        for fault, tell in _ENDS.items():
            yield Story(fault, path, partial(tell, make))
        yield Story("one poison event in a batch of 1,000", path, partial(_poison, make), refused=1)
        yield Story("the same batch three times", path, partial(_thrice, make))
        yield Story("rollback of the caller's transaction", path, partial(_rollback, make))
        yield Story("two adopters of the same orphans", path, partial(_adopters, make))
        yield Story("clocks a day off", path, partial(_clocks, make))
    for path in CELERY:
        yield Story("two beats, two workers", path, partial(_beats, partial(stage.world, path)))


def _killed(make: Make, place: Path) -> World:
    """Kill a process that tracks flat out, ten times."""
    world = make(place)
    nursery = world.start("nursery")
    for _ in range(10):
        born = world.ask(nursery)["child"]
        time.sleep(random.uniform(0.05, 0.4))
        os.kill(born, signal.SIGKILL)
    nursery.kill()
    world.settle(_SETTLE)
    assert len(world.accepted()) > 1000
    return world


def _exits(make: Make, place: Path) -> World:
    """End in order, and not, without a flush."""
    world = make(place)
    for end in ("return", "sys.exit", "os._exit"):
        world.run("some", 700, end)
    world.settle(_SETTLE)
    return world


def _sigterm(make: Make, place: Path, name: str = "gunicorn", killed: int = 0) -> World:
    """Stop a server as a deploy does, right after its last answer; before that, kill some of its processes."""
    world = make(place)
    with served(world, name, FAULTS_EARLY="9") as (server, address):
        for _ in range(killed):
            visit(address, 10)
            os.kill(get(f"{address}/pid"), signal.SIGKILL)
        visit(address, 40)
        server.send_signal(signal.SIGTERM)
        start = time.monotonic()
        server.wait(30)
        assert time.monotonic() - start < 15, "it took its time to end"
    world.settle(_SETTLE)
    assert len(world.accepted()) >= 289
    return world


def _forked(make: Make, place: Path) -> World:
    """Kill the parent of a child that was born after the first event, then the child."""
    world = make(place)
    parent = world.start("fork_and_live")
    told = world.hear(parent) | world.hear(parent)
    os.kill(told["parent"], signal.SIGKILL)
    parent.wait()
    world.upkeep()
    os.kill(told["child"], signal.SIGKILL)
    world.settle(_SETTLE)
    assert len(world.accepted()) == 50
    return world


_ENDS: dict[str, Callable[[Make, Path], World]] = {
    "web process killed (-9) mid-burst": _killed,
    "exit without flush": _exits,
    "SIGTERM to gunicorn": _sigterm,
    "gunicorn --preload, processes killed (-9)": partial(_sigterm, name="preload", killed=2),
    "fork after the first event, parent killed": _forked,
}


def _poison(make: Make, place: Path) -> World:
    world = make(place, options={"SEAL_EVENTS": 1000, "SEAL_SECONDS": 30.0})
    world.execute(_POISON_SQLITE if world.database.startswith("sqlite") else _POISON_POSTGRESQL)
    world.run("poison", 1000)
    wait_until(world.dead_letters, 30, "a dead letter")
    ((_, guilty, body, why),) = world.dead_letters()
    assert [guilty] == world.accepted("poison")
    assert guilty.encode() in body
    assert "poison" in why or "check" in why, why
    if isinstance(world, Site):  # the worker's process counts it, and writes that down with its next batch
        world.run("some", 1)
        wait_until(lambda: len(world.stored()) == 1000, 30, "the other events")
        world.stop(world.running[0])
        world.worker(pool="prefork")
    world.upkeep()
    wait_until(world.losses, 30, "the count of it")
    return world


def _thrice(make: Make, place: Path) -> World:
    world = make(place)
    if isinstance(world, Site):
        world.program("repeat", 3, 500)
    else:
        world.aliases["default"]["TRACKER_OPTIONS"]["SEAL_SECONDS"] = 30.0
        world.rewrite()
        world.run("some", 500, "os._exit")
        (orphan,) = (world.journal / "default").glob("*.active")
        content = orphan.read_bytes()
        for _ in range(3):
            orphan.with_suffix(".sealed").write_bytes(content)
            world.upkeep()
    world.settle(_SETTLE)
    return world


def _rollback(make: Make, place: Path) -> World:
    world = make(place)
    told = world.run("rollback", 200)
    world.settle(_SETTLE)
    assert len(told["undone"]) == 200
    assert not set(told["undone"]) & set(world.stored())
    assert len(world.accepted()) == 200
    assert told["queries"]
    return world


def _adopters(make: Make, place: Path) -> World:
    world = make(place, options={"SEAL_SECONDS": 30.0})
    nursery = world.start("nursery")
    for _ in range(3):
        born = world.ask(nursery)["child"]
        time.sleep(0.5)
        os.kill(born, signal.SIGKILL)
    nursery.kill()
    rivals = [world.start("repeat_upkeep", 5) for _ in range(2)]
    for rival in rivals:
        world.hear(rival)
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("go\n")
        rival.stdin.flush()
    for rival in rivals:
        world.result(rival)
    world.settle(_SETTLE)
    return world


def _clocks(make: Make, place: Path) -> World:
    """Track yesterday, tomorrow and today, and leave it to processes of other days."""
    world = make(place, options={"SEAL_EVENTS": 50})
    for shift in (_DAY, -_DAY, 0):
        world.run("some", 200, "os._exit", FAULTS_CLOCK=str(shift))
    for shift in (-_DAY, _DAY):
        world.run("upkeep", FAULTS_CLOCK=str(shift))
    world.settle(_SETTLE)
    rows = world.rows("SELECT timestamp, received_at FROM littlebro_storedevent ORDER BY timestamp")
    days = [round((_moment(row[0]) - datetime.now(UTC)).total_seconds() / _DAY) for row in rows]
    assert days == [-1] * 200 + [0] * 200 + [1] * 200, "each as its machine said, in order"
    return world


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _beats(make: Make, place: Path) -> World:
    world = make(place)
    assert isinstance(world, Site)
    world.worker(pool="prefork")
    for name in ("one", "two"):
        world.celery_program("beat", f"--schedule={place / name}", "--loglevel=INFO", CELERY_SITE_HASTE="1")
    for _ in range(3):
        world.run("some", 500, "os._exit")
    for chore in ("upkeep", "purge"):
        wait_until(lambda chore=chore: world.log().count(f"littlebro.{chore}[") >= 4, 30, chore)  # type: ignore[misc]
    world.settle(_SETTLE)
    return world
