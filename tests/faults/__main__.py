"""The whole table of faults, with real processes: `python -m tests.faults [--seconds 3] [--only TEXT]`.

Prints a row for each fault on each path, outages beside a control run without a fault in the same command. Ends with
0 if every row holds: nothing lost, nothing doubled, what was refused counted to the last event, 99.9 % of calls under
10 ms, and the longest at most 10 ms above the longest of the control run, memory flat. Where a broker forgets what it
has confirmed, the row shows that events are lost, and that a worker had warned of it.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import backlog, trial
from tests.faults.felt import CONTROL, Felt, felt
from tests.faults.harness import table
from tests.faults.rows import HEADS, Row, of_story, of_trial, rst
from tests.faults.stage import CELERY, PATHS, Stage
from tests.faults.stories import Story, stories
from tests.servers import UnavailableError
from tests.services import SERVICES, _install

_AFTER = 3.0  # seconds
_KINDS = ("postgresql", "redis", "rabbitmq")


def perform(
    case: Felt | Story,
    stage: Stage,
    place: Path,
    *,
    seconds: float | None = None,
    gap: float = 0.001,
    control: Row | None = None,
) -> Row:
    """Do one trial in a folder of its own; return its row, and say at once what is broken."""
    try:
        if isinstance(case, Story):
            world = case.tell(place)
            return of_story(case, world)
        world = case.world(place)
        seen = trial.run(
            world,
            case.outage(world),
            during=case.seconds if seconds is None else seconds,
            after=_AFTER if seconds is None else min(_AFTER, seconds),
            gap=gap,
            size=case.size,
            early=case.early,
        )
        return of_trial(case, seen, control, world.log())
    except UnavailableError as error:
        return Row(case.fault, case.path, broken=[str(error)])
    except Exception:
        return Row(case.fault, case.path, broken=[traceback.format_exc()])
    finally:
        stage.clear()


def _provide() -> None:
    """Install the servers that this machine lacks, where that can be done; trials without theirs fail."""
    lacking = [service for service in (SERVICES[name]() for name in _KINDS) if not service.find()]
    reason = _install(lacking) if lacking else None
    if reason:
        print(reason, file=sys.stderr)


def _chosen(stage: Stage, only: Sequence[str]) -> Iterator[Felt | Story]:
    """Yield the trials whose fault or path holds each of the texts; controls where their path has any."""
    outages = list(felt(stage))
    every: list[Felt | Story] = [*outages, *stories(stage)]
    for path in PATHS:
        wanted = [case for case in every if case.path == path and _holds(case, only)]
        if any(isinstance(case, Felt) for case in wanted):
            yield from (case for case in outages if case.path == path and case.fault == CONTROL)
        yield from (case for case in wanted if case.fault != CONTROL)


def _holds(case: Felt | Story, only: Sequence[str]) -> bool:
    return all(text.lower() in f"{case.fault} | {case.path}".lower() for text in only)


def run(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for each trial that is asked for."""
    controls: dict[str, Row] = {}
    with Stage(folder) as stage:
        for number, case in enumerate(_chosen(stage, options.only)):
            print(f"{case.fault} | {case.path} ...", file=sys.stderr, flush=True)
            place = folder / f"trial-{number}"
            row = perform(
                case, stage, place, seconds=options.seconds, gap=options.gap, control=controls.get(case.path)
            )
            if case.fault == CONTROL:
                controls[case.path] = row
            yield row
            if not row.broken:
                shutil.rmtree(place, ignore_errors=True)
        for path in CELERY:
            if all(text.lower() in f"backlog | {path}".lower() for text in options.only):
                print(f"backlog | {path} ...", file=sys.stderr, flush=True)
                yield backlog.run(stage, path, folder / f"backlog-{CELERY.index(path)}", options.backlog)


def main(arguments: Sequence[str]) -> int:
    """Run every trial; return 0 if all rows hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The whole table of faults.")
    parser.add_argument(
        "--seconds", type=float, help="how long each outage lasts (default: 20, a store's 60)"
    )
    parser.add_argument("--gap", type=float, default=0.001, help="seconds between two calls (default: 0.001)")
    parser.add_argument(
        "--backlog", type=int, default=1_000_000, help="events of the backlog (default: 1000000)"
    )
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="rows whose fault or path holds this text; again: and this one")  # fmt: skip
    parser.add_argument("--write", type=Path, help="write the table into this file, for the documentation")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and mounts are to be ended in order
    _provide()
    folder = Path(tempfile.mkdtemp(prefix="littlebro-faults-"))
    rows = []
    try:
        for row in run(folder, options):
            rows.append(row)
            print(
                f"    {row.verdict} {row.cells()[2:-1]}",
                *row.broken,
                sep="\n    ",
                file=sys.stderr,
                flush=True,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(HEADS, [row.cells() for row in rows]))
    if options.write:
        options.write.write_text(
            rst(rows, " ".join(["python -m tests.faults", *arguments])), encoding="utf-8"
        )
    return 0 if all(row.verdict != "FAIL" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
