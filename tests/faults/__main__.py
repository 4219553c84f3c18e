"""Measure what callers feel of each outage: `python -m tests.faults [--seconds 20]`.

Prints a table, one row an outage, each held against a control run without a fault in the same command. Ends
with 0 if every row passes: nothing lost, nothing doubled, all that was refused counted, nothing raised, 99.9 % of
calls under 10 ms, and the longest at most 10 ms above the longest of the control run.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import trial
from tests.faults.harness import World, empty_database, table
from tests.faults.outages import FOLDER_OUTAGES, Database, Disk, locked_table
from tests.servers import UnavailableError

_SLOW = 10.0  # ms
_AFTER = 3.0  # seconds
_HEADS = (
    "outage",
    "calls",
    "refused",
    "counted",
    "lost",
    "doubled",
    "99.9% ms",
    "longest ms",
    "memory MB",
    "",
)


class Case(NamedTuple):
    """An outage by name, the control run that it belongs to, and how to make its world and itself."""

    name: str
    control: str
    world: Callable[[Path], World]
    outage: Callable[[World], AbstractContextManager[None]]
    size: int = 0


def _nothing(_world: World) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def cases(folder: Path, stack: ExitStack) -> Iterator[Case]:
    """Yield control runs and outages, each control first; say which cannot be had here."""
    template = empty_database(folder / "empty.sqlite3")
    sqlite = partial(World, database=template)
    yield Case("control (SQLite)", "", sqlite, _nothing)
    yield Case("table locked", "control (SQLite)", sqlite, locked_table)
    for name, outage in FOLDER_OUTAGES.items():
        yield Case(name, "control (SQLite)", _with_folder(sqlite), _on_folder(outage))
    try:
        disk = Disk(folder / "disk", "4m")
    except UnavailableError as error:
        print(f"no full disk: {error}", file=sys.stderr)
    else:
        stack.callback(disk.close)
        on_disk = partial(World, database=template, journal=folder / "disk" / "journal")
        yield Case("disk full", "control (SQLite)", on_disk, lambda _world: disk.full(), 300)
    try:
        database = Database(folder)
    except UnavailableError as error:
        print(f"no outages of PostgreSQL: {error}", file=sys.stderr)
        return
    stack.callback(database.close)
    yield Case("control (PostgreSQL)", "", lambda place: World(place, database.fresh()), _nothing)
    for name, away in database.outages.items():
        yield Case(
            name,
            "control (PostgreSQL)",
            lambda place: World(place, database.fresh()),
            lambda _world, away=away: away(),  # type: ignore[misc]
        )


def _with_folder(make: Callable[[Path], World]) -> Callable[[Path], World]:
    def made(place: Path) -> World:
        world = make(place)
        (world.journal / "default").mkdir(parents=True)
        return world

    return made


def _on_folder(
    outage: Callable[[Path], AbstractContextManager[None]],
) -> Callable[[World], AbstractContextManager[None]]:
    return lambda world: outage(world.journal)


def _passes(seen: trial.Trial, control: trial.Trial | None) -> bool:
    quick = seen.p999 < _SLOW and (control is None or seen.longest <= control.longest + 10)
    return seen.exact() and quick and (control is not None or not seen.refused)


def _row(name: str, seen: trial.Trial, control: trial.Trial | None) -> list[Any]:
    verdict = seen.verdict
    return [
        name, seen.calls, seen.refused, verdict.counted + seen.unwritten, verdict.lost, verdict.duplicated,
        f"{seen.p999:.2f}", f"{seen.longest:.1f}", f"{seen.grown:.1f}", "PASS" if _passes(seen, control) else "FAIL",
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run every case; return 0 if all pass."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="What callers feel of outages."
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long each outage lasts (default: 20)"
    )
    parser.add_argument("--gap", type=float, default=0.001, help="seconds between two calls (default: 0.001)")
    parser.add_argument("--only", default="", help="only outages whose name holds this text")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="littlebro-faults-"))
    seen: dict[str, trial.Trial] = {}
    rows = []
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for number, case in enumerate(cases(folder, stack)):
            if case.control and options.only not in case.name:
                continue
            world = case.world(folder / f"world-{number}")
            stack.callback(world.close)
            print(f"{case.name} ...", file=sys.stderr, flush=True)
            seen[case.name] = one = trial.run(
                world,
                case.outage(world),
                during=options.seconds,
                after=_AFTER,
                gap=options.gap,
                size=case.size,
            )
            rows.append(_row(case.name, one, seen.get(case.control)))
    print(table(_HEADS, rows))
    return 0 if all(row[-1] == "PASS" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
