"""One call in the caller's thread, while delivery is idle (sealing included) and while it runs.

Each contender lives in a process of its own; they take turns, round by round, so that whatever else the
machine does hits all alike. A round times every single call; of each round the percentiles are taken, and
shown is the median of the rounds'. The garbage collector works as it does for every user. Where the system
allows it, all contenders run at a raised priority, so that other programs' turns are not counted as theirs.

A machine that is shared below the operating system may stop a process many thousand times a second. Then one
call in a hundred meets a stop, and its 99th percentile tells of the machine as well. To tell the two apart, the
tail is shown once more, of rounds before and after which a loop that only reads the clock was stopped too rarely
for that. These explain; the bound is held against all rounds in turns, whatever the machine did.
"""

import contextlib
import tempfile
import time
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
from benchmarks.stops import stops

__all__ = ["run"]

IDLE_CALLS, IDLE_ROUNDS = 4_000, 15
RUNNING_CALLS, RUNNING_ROUNDS = 10_000, 5
# So long, in seconds, it is waited for rounds that the machine does not disturb, and so long from look to look.
PATIENCE, LOOK_AGAIN = 60, 0.02

Pipes = dict[str, tuple[Connection, str]]

_processes = get_context("spawn")


class Round(NamedTuple):
    """One contender's round, in microseconds, and the machine's stops a second right before or after it."""

    p50: float
    p99: float
    longest: float
    mean: float
    stops: float

    @property
    def undisturbed(self) -> bool:
        """Whether fewer than one call in a hundred meets a stop: stops alone do not make the 99th percentile."""
        return self.stops * self.p50 / 1e6 < 0.01


def measure(contender: Contender, calls: int) -> Round:
    """Time each of `calls` calls."""
    call, clock, params = contender.call, perf_counter_ns, PARAMS
    taken = [0] * calls
    before = stops()
    for number in range(calls):
        given = params[number & 255]
        start = clock()
        call(given)
        taken[number] = clock() - start
    after = stops()
    taken.sort()
    return Round(
        percentile(taken, 0.5) / 1e3,
        percentile(taken, 0.99) / 1e3,
        taken[-1] / 1e3,
        sum(taken) / calls / 1e3,
        max(before, after),
    )


def measure_undisturbed(contender: Contender, calls: int) -> list[Round]:
    """Time rounds whenever the machine is still, until enough were undisturbed or patience ends; return those."""
    found: list[Round] = []
    usual = measure(contender, calls)
    end = time.monotonic() + PATIENCE
    while len(found) < IDLE_ROUNDS and time.monotonic() < end:
        if not usual._replace(stops=stops()).undisturbed:
            # Nothing tells when the machine is still again: it can only be looked at now and then.
            time.sleep(LOOK_AGAIN)
        elif (one := measure(contender, calls)).undisturbed:
            found.append(one)
    return found


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
        if mode != "running":
            contender.park()
        played = (measure_undisturbed if mode == "undisturbed" else measure)(contender, calls)
        contender.unpark()
        contender.settle()
        pipe.send(played)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Pipes]:
    """Run all contenders' processes and the server they post to; give each one's pipe and version."""
    ours, theirs = _processes.Pipe()
    server = _processes.Process(target=sink.serve, args=(theirs,), daemon=True)
    server.start()
    url = ours.recv()
    children = []
    pipes: Pipes = {}
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


def ask(pipe: Connection, mode: str, calls: int) -> Any:
    """Let one contender play; return its round, or for the mode "undisturbed" its rounds."""
    pipe.send((mode, calls))
    return pipe.recv()


def play(pipes: Pipes, mode: str, calls: int, rounds: int) -> dict[str, list[Round]]:
    """Let the contenders take turns; return each one's rounds, the first not counted."""
    played: dict[str, list[Round]] = {name: [] for name in pipes}
    for number in range(rounds + 1):
        for name, (pipe, _) in pipes.items():
            result = ask(pipe, mode, calls)
            if number:
                played[name].append(result)
    return played


def typical(rounds: list[Round]) -> Round:
    """Return the median of each figure."""
    return Round(*(middle(column) for column in zip(*rounds, strict=True)))


def run(options: Any) -> list[Report]:
    """Measure; return a report while delivery is idle, one of its tail, and one while delivery runs."""
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder, started(Path(folder)) as pipes:
        versions = {name: version for name, (_, version) in pipes.items()}
        idle = play(pipes, "idle", IDLE_CALLS, IDLE_ROUNDS)
        running = play(pipes, "running", RUNNING_CALLS, RUNNING_ROUNDS)
        calm = {
            name: ask(pipes[name][0], "undisturbed", IDLE_CALLS) for name in ("limit", "littlebro thread")
        }
    return [_idle(idle, versions), _tail(idle, calm), _running(running, versions)]


def _table(title: str, note: str, rounds: dict[str, Round], versions: dict[str, str]) -> Report:
    columns = ("µs a call", "p50", "p99", "longest", "mean", "× limit", "÷ OpenTelemetry", "survives kill -9")
    report = Report(title, note, columns)
    for name, one in rounds.items():
        report.row(
            f"{name} {versions[name]}".strip(),
            one.p50,
            one.p99,
            one.longest,
            one.mean,
            one.p50 / rounds["limit"].p50,
            one.p50 / rounds["OpenTelemetry"].p50,
            CONTENDERS[name].survives,
        )
    return report


def _idle(played: dict[str, list[Round]], versions: dict[str, str]) -> Report:
    rounds = {name: typical(some) for name, some in played.items()}
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


def _tail(played: dict[str, list[Round]], calm: dict[str, list[Round]]) -> Report:
    note = (
        "Undisturbed is a round before and after which a loop that only reads the clock stood still for a\n"
        "microsecond so rarely that fewer than one call in a hundred meets such a stop. It is waited for\n"
        f"{IDLE_ROUNDS} of them, {PATIENCE} s at most. They are no verdict: the bound above is of all rounds in turns."
    )
    columns = ("µs a call", "rounds", "stops a second", "p50", "p99", "p99 ÷ p50")
    report = Report("One call, delivery idle: its tail", note, columns)
    for name, quiet in calm.items():
        for kind, rounds in (("in turns", played[name]), ("undisturbed", quiet)):
            if rounds:
                one = typical(rounds)
                report.row(f"{name}, {kind}", len(rounds), one.stops, one.p50, one.p99, one.p99 / one.p50)
    return report


def _running(played: dict[str, list[Round]], versions: dict[str, str]) -> Report:
    rounds = {name: typical(some) for name, some in played.items()}
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
