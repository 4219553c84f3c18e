"""The whole suite, in two halves at once: tests marked slow, which mostly wait, and the rest, which compute.

Each half has servers of its own, so that neither sees the other's databases, queues or outages; where the environment
gives a server, both would share it, and run one after the other. Lines of output bear the half's name; what both
covered is added up at the end. Takes no arguments: a part of the suite is for pytest itself.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NoReturn

if __name__ == "__main__":  # a program finds its neighbours by the folder it lies in, not by the project's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tests.services import SERVICES, Servers, demanded

HALVES: Final[Mapping[str, str]] = {"slow": "slow", "quick": "not slow"}
_COVERED: Final = 95  # per cent


def main() -> int:
    """Run both halves; return 0 if both are green and cover enough, else an exit code that says otherwise."""
    signal.signal(signal.SIGTERM, _leave)
    last = dict.fromkeys(HALVES, "")  # in this order, whoever speaks first
    shared = any(os.environ.get(kind.variable()) for kind in SERVICES.values())
    with ExitStack() as stack:
        servers = {half: stack.enter_context(Servers(list(SERVICES), install=True)) for half in HALVES}
        running = []
        for half in HALVES:
            for name in SERVICES:
                _say(half, f"{name} {servers[half].missing.get(name, 'is up')}")
            if servers[half].missing and demanded():
                print("CI is set, so a missing server is a failure", file=sys.stderr)
                return 1
            running.append(stack.enter_context(_pytest(half, servers[half].environment(), last)))
            if shared:
                running[-1].wait()
        failed = [child.returncode for child in running if child.wait()]
    code = failed[0] if failed else _covered()
    for half, line in last.items():
        _say(half, line)
    return code


@contextmanager
def _pytest(half: str, urls: Mapping[str, str], last: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run one half, its output passed on line by line, the last kept; end it where the block is left early."""
    pytest = (sys.executable, "-u", "-m", "pytest", "--durations=15", "--cov", "--cov-report=")
    environment = {**os.environ, **urls, "COVERAGE_FILE": str(_covered_by(half))}
    with subprocess.Popen(
        [*pytest, "-m", HALVES[half]], env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        reader = threading.Thread(target=_pass_on, args=(half, child, last))
        reader.start()
        try:
            yield child
        except KeyboardInterrupt:  # the terminal has told the child as well
            child.wait()
            raise
        finally:
            if child.poll() is None:
                child.terminate()
            reader.join()


def _pass_on(half: str, child: subprocess.Popen[str], last: dict[str, str]) -> None:
    for line in child.stdout or ():
        last[half] = line.rstrip("\n")
        _say(half, last[half])


def _say(half: str, line: str) -> None:
    print(f"{half:5} | {line}".rstrip(), flush=True)


def _covered_by(half: str) -> Path:
    """Return where a half keeps what it covered: whole, since its children work in folders of their own."""
    return Path.cwd() / f".coverage-{half}"


def _covered() -> int:
    """Add up what both halves covered; return an exit code that is not 0 where that is too little."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet", *map(_covered_by, HALVES)], check=True)
    return subprocess.run([*coverage, "report", f"--fail-under={_COVERED}"], check=False).returncode


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
