"""One call in the caller's thread, while delivery is idle (sealing included) and while it runs.

Each contender lives in a process of its own; they take turns, round by round, so that whatever else the
machine does hits all alike. A round times every single call; of each round the percentiles are taken, and
shown is the median of the rounds'. The garbage collector works as it does for every user. Where the system
allows it, all contenders run at a raised priority, so that other programs' turns are not counted as theirs.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from benchmarks import sink
from benchmarks.contenders import CONTENDERS, PARAMS, Contender
from benchmarks.priority import go_before_others
from benchmarks.report import Report, middle, percentile

__all__ = ["run"]

IDLE_CALLS, IDLE_ROUNDS = 4_000, 15
RUNNING_CALLS, RUNNING_ROUNDS = 10_000, 5

_processes = get_context("spawn")


class Round(NamedTuple):
    """One contender's round, in microseconds."""

    p50: float
    p99: float
    longest: float
    mean: float


def measure(contender: Contender, calls: int) -> Round:
    """Time each of `calls` calls."""
    call, clock, params = contender.call, perf_counter_ns, PARAMS
    taken = [0] * calls
    for number in range(calls):
        given = params[number & 255]
        start = clock()
        call(given)
        taken[number] = clock() - start
    taken.sort()
    return Round(
        percentile(taken, 0.5) / 1e3,
        percentile(taken, 0.99) / 1e3,
        taken[-1] / 1e3,
        sum(taken) / calls / 1e3,
    )


def work(name: str, folder: Path, url: str, pipe: Connection) -> None:
    """Be one contender: play the rounds that are asked for through `pipe`, until it closes."""
    go_before_others()
    folder.mkdir()
    contender = CONTENDERS[name](folder, url)
    pipe.send(contender.version())
    while True:
        try:
            mode, calls = pipe.recv()
        except EOFError:
            return
        if mode == "idle":
            contender.park()
        played = measure(contender, calls)
        contender.unpark()
        contender.settle()
        pipe.send(played)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[dict[str, tuple[Connection, str]]]:
    """Run all contenders' processes and the server they post to; give each one's pipe and version."""
    ours, theirs = _processes.Pipe()
    server = _processes.Process(target=sink.serve, args=(theirs,), daemon=True)
    server.start()
    url = ours.recv()
    children = []
    pipes: dict[str, tuple[Connection, str]] = {}
    try:
        for name in CONTENDERS:
            here, there = _processes.Pipe()
            child = _processes.Process(target=work, args=(name, folder / name.split()[0], url, there))
            child.start()
            there.close()
            children.append(child)
            pipes[name] = (here, here.recv())
        yield pipes
    finally:
        for pipe, _ in pipes.values():
            pipe.close()
        for child in children:
            child.join(30)
        server.terminate()
        server.join()


def play(pipes: dict[str, tuple[Connection, str]], mode: str, calls: int, rounds: int) -> dict[str, Round]:
    """Let the contenders take turns; return each one's median over the rounds, the first not counted."""
    played: dict[str, list[Round]] = {name: [] for name in pipes}
    for number in range(rounds + 1):
        for name, (pipe, _) in pipes.items():
            pipe.send((mode, calls))
            result = pipe.recv()
            if number:
                played[name].append(result)
    return {
        name: Round(*(middle(column) for column in zip(*all_, strict=True))) for name, all_ in played.items()
    }


def run(options: Any) -> list[Report]:
    """Measure; return a report while delivery is idle and one while it runs."""
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder, started(Path(folder)) as pipes:
        versions = {name: version for name, (_, version) in pipes.items()}
        idle = play(pipes, "idle", IDLE_CALLS, IDLE_ROUNDS)
        running = play(pipes, "running", RUNNING_CALLS, RUNNING_ROUNDS)
    return [_idle(idle, versions), _running(running, versions)]


def _table(title: str, note: str, rounds: dict[str, Round], versions: dict[str, str]) -> Report:
    columns = ("µs a call", "p50", "p99", "longest", "mean", "× limit", "÷ OpenTelemetry", "survives kill -9")
    report = Report(title, note, columns)
    for name, one in rounds.items():
        report.row(
            f"{name} {versions[name]}".strip(),
            *one,
            one.p50 / rounds["limit"].p50,
            one.p50 / rounds["OpenTelemetry"].p50,
            CONTENDERS[name].survives,
        )
    return report


def _idle(rounds: dict[str, Round], versions: dict[str, str]) -> Report:
    note = (
        f"Median of {IDLE_ROUNDS} rounds of {IDLE_CALLS:,} calls, in turns; each one's delivering thread waits\n"
        "before its exporter or backend. littlebro seals a segment every 500 events, as always."
    )
    report = _table("One call, delivery idle", note, rounds, versions)
    ours, limit, peer = rounds["littlebro thread"], rounds["limit"], rounds["OpenTelemetry"]
    report.at_most("p50 of littlebro ÷ limit", ours.p50 / limit.p50, 4.5, " ×")
    report.at_most("p50 of littlebro ÷ OpenTelemetry", ours.p50 / peer.p50, 0.6, " ×")
    report.at_most("p99 of littlebro ÷ its own p50", ours.p99 / ours.p50, 3.0, " ×")
    return report


def _running(rounds: dict[str, Round], versions: dict[str, str]) -> Report:
    note = (
        f"Median of {RUNNING_ROUNDS} rounds of {RUNNING_CALLS:,} calls, in turns, as fast as one thread can, while\n"
        "littlebro writes to SQLite and the others encode and post to a server on the loopback."
    )
    report = _table("One call, delivery running", note, rounds, versions)
    report.at_most(
        "p99 of littlebro, of OpenTelemetry's while it exports",
        rounds["littlebro thread"].p99,
        rounds["OpenTelemetry"].p99,
        " µs",
    )
    return report
