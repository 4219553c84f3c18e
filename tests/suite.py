"""The whole suite, in three parts at once: tests marked slow, which mostly wait, those of the extras, and the rest.

Each part has servers of its own, so that none sees another's databases, queues or outages; where the environment gives
a server, they would share it, and run one after the other. Lines of output bear the part's name; what all of them
covered is added up at the end. Takes no arguments: some tests of the suite are for pytest itself.
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

PARTS: Final[Mapping[str, str]] = {
    "slow": "slow",
    "extra": "not slow and extra",
    "core": "not slow and not extra",
}
_COVERED: Final = 95  # per cent


def main() -> int:
    """Run all parts; return 0 if they are green and cover enough, else an exit code that says otherwise."""
    signal.signal(signal.SIGTERM, _leave)
    last = dict.fromkeys(PARTS, "")  # in this order, whoever speaks first
    shared = any(os.environ.get(kind.variable()) for kind in SERVICES.values())
    with ExitStack() as stack:
        servers = {part: stack.enter_context(Servers(list(SERVICES), install=True)) for part in PARTS}
        running = []
        for part in PARTS:
            for name in SERVICES:
                _say(part, f"{name} {servers[part].missing.get(name, 'is up')}")
            if servers[part].missing and demanded():
                print("CI is set, so a missing server is a failure", file=sys.stderr)
                return 1
            running.append(stack.enter_context(_pytest(part, servers[part].environment(), last)))
            if shared:
                running[-1].wait()
        failed = [child.returncode for child in running if child.wait()]
    code = failed[0] if failed else _covered()
    for part, line in last.items():
        _say(part, line)
    return code


@contextmanager
def _pytest(part: str, urls: Mapping[str, str], last: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run one part, its output passed on line by line, the last kept; end it where the block is left early."""
    pytest = (sys.executable, "-u", "-m", "pytest", "--durations=15", "--cov", "--cov-report=")
    environment = {**os.environ, **urls, "COVERAGE_FILE": str(_covered_by(part))}
    with subprocess.Popen(
        [*pytest, "-m", PARTS[part]], env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        reader = threading.Thread(target=_pass_on, args=(part, child, last))
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


def _pass_on(part: str, child: subprocess.Popen[str], last: dict[str, str]) -> None:
    for line in child.stdout or ():
        last[part] = line.rstrip("\n")
        _say(part, last[part])


def _say(part: str, line: str) -> None:
    print(f"{part:5} | {line}".rstrip(), flush=True)


def _covered_by(part: str) -> Path:
    """Return where a part keeps what it covered: whole, since its children work in folders of their own."""
    return Path.cwd() / f".coverage-{part}"


def _covered() -> int:
    """Add up what all parts covered; return an exit code that is not 0 where that is too little."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet", *map(_covered_by, PARTS)], check=True)
    return subprocess.run([*coverage, "report", f"--fail-under={_COVERED}"], check=False).returncode


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
