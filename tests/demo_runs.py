"""Whole runs of `python -m littlebro demo`, in processes of their own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["REPOSITORY", "Run", "gone_within"]

REPOSITORY = Path(__file__).resolve().parent.parent


class Run:
    """One demo in a process of its own, its temporary files in a folder of the test's."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        environment: Mapping[str, str] | None = None,
        stderr: int = subprocess.STDOUT,
    ) -> None:
        given = {name: value for name, value in os.environ.items() if not name.startswith("LITTLEBRO_")}
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "littlebro", "demo", "--port", "0", "--rate", "40", *words],
            cwd=REPOSITORY,
            env={**given, "TMPDIR": str(self.temporary), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def until(self, text: str) -> None:
        """Read on until a line holds the text."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"ended without {text!r}:\n{self.said}")

    def end(self) -> int:
        """Read the rest; return the exit code."""
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    @property
    def children(self) -> list[int]:
        """The pids of its child processes, in the order of their start."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sorted(map(int, children.split()))

    @property
    def server(self) -> int:
        """The pid of the shop's server, where that is the only child."""
        (server,) = self.children
        return server

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:  # it must not go on beside the tests that follow
            self.process.kill()
            raise

    def number(self, what: str) -> int:
        """Return a number of the summary."""
        found = re.search(rf"^  {what} +([\d,]+)", self.said, re.MULTILINE)
        assert found, self.said
        return int(found.group(1).replace(",", ""))


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, other than as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(seconds: float, pid: int) -> bool:
    """Wait until the process has ended; tell whether it has."""
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return not is_running(pid)
