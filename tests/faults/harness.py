"""The world of one trial: a database, a journal, a ledger, real child processes, and the verdict.

A producer enters each event's id in the ledger right after `track_event` returned the event; afterwards the
ledger is compared with the rows of the database, read without littlebro. In: what to break. Out: how many
events were accepted and are nowhere (lost), are there more than once (duplicated), or were counted.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

__all__ = ["Verdict", "World", "empty_database", "table", "wait_until"]

ROOT = Path(__file__).resolve().parent.parent.parent
_CHILD_SECONDS = 60.0


class Verdict(NamedTuple):
    """What became of the events of a trial."""

    accepted: int
    stored: int
    lost: int
    duplicated: int
    counted: int

    def __str__(self) -> str:
        return " ".join(f"{name} {value}" for name, value in self._asdict().items())


def empty_database(path: Path) -> Path:
    """Make a migrated SQLite file at `path`, to be copied for each trial.

    It stays in WAL mode: of two processes that switch a file to it at once, one gets "database is locked"
    without a wait (SQLite calls no busy handler where a reader becomes a writer).
    """
    world = World(path.parent / "template", f"sqlite://{quote(str(path))}")
    world.run("migrate")
    with sqlite3.connect(path) as link:
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    link.close()
    return path


class World:
    """One trial, in `folder`; `database` is the URL of a migrated database, or the path of one to copy."""

    def __init__(
        self,
        folder: Path,
        database: str | Path,
        *,
        journal: Path | None = None,
        options: Mapping[str, Any] | None = None,
        backend: Mapping[str, Any] | None = None,
        sinks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.journal = journal or folder / "journal"
        self.ledger = folder / "ledger"
        self.ledger.touch()
        if isinstance(database, Path):
            copy = folder / "events.sqlite3"
            shutil.copyfile(database, copy)
            database = f"sqlite://{quote(str(copy))}"
        self.database = database
        self.children: list[subprocess.Popen[str]] = []
        tracker_options = {"JOURNAL": str(self.journal), "POLL_SECONDS": 0.5, **(options or {})}
        self.aliases: dict[str, Any] = {
            "default": {
                "TRACKER": "thread",
                "BACKEND": "simple",
                **(backend or {}),
                "TRACKER_OPTIONS": tracker_options,
                "SINKS": list(sinks or {}),
            },
            **{name: {"TRACKER": "dummy", **sink} for name, sink in (sinks or {}).items()},
        }
        self.rewrite()

    def rewrite(self) -> None:
        """Write the settings file anew, for the processes to come."""
        world = {"database": self.database, "aliases": self.aliases, "ledger": str(self.ledger)}
        (self.folder / "world.json").write_text(json.dumps(world))

    def environment(self) -> dict[str, str]:
        """Return the environment of the trial's processes."""
        return {
            **os.environ,
            "FAULTS_WORLD": str(self.folder / "world.json"),
            "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Start a program of `tests.faults.child`, or, where the first argument is ``-m``, a module."""
        words = [str(argument) for argument in arguments]
        command = words if words[0] == "-m" else ["-m", "tests.faults.child", *words]
        with (self.folder / "errors").open("a", encoding="utf-8") as errors:
            child = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**self.environment(), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def result(self, child: "subprocess.Popen[str]", seconds: float = _CHILD_SECONDS) -> dict[str, Any]:
        """Wait for a child to end well; return the JSON object that it printed last."""
        output, _ = child.communicate(timeout=seconds)
        if child.returncode:
            raise AssertionError(f"the child ended with {child.returncode}: {self.errors()}")
        lines = output.strip().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def ask(self, child: "subprocess.Popen[str]", line: str = "go") -> dict[str, Any]:
        """Write a line to a child, return the JSON object on the line that it answers with."""
        assert child.stdin is not None
        child.stdin.write(line + "\n")
        child.stdin.flush()
        return self.hear(child)

    def hear(self, child: "subprocess.Popen[str]") -> dict[str, Any]:
        """Return the next JSON object that a child prints."""
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise AssertionError(f"the child said nothing: {self.errors()}")
        return dict(json.loads(line))

    def run(self, *arguments: object, **environment: str) -> dict[str, Any]:
        """Run a program of `tests.faults.child` to its end; return what it printed."""
        return self.result(self.start(*arguments, **environment))

    def upkeep(self) -> dict[str, Any]:
        """Do in a fresh process what ``manage.py littlebro upkeep`` does; return its counts."""
        return self.run("upkeep")

    def settle(self, seconds: float) -> dict[str, Any]:
        """Let everything come to its end, now that nothing is broken; return what `upkeep` counted."""
        del seconds  # `upkeep` delivers in its own process, and ends
        return self.upkeep()

    def workers(self) -> list[int]:
        """Return the processes that store what others track."""
        return []

    def close(self) -> None:
        """End every child that still runs, and with it those that it bore."""
        for child in self.children:
            if child.returncode is None:  # not waited for yet, so that its number is still its own
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            for pipe in (child.stdin, child.stdout):  # not read to their end: who else has them may live on
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def log(self) -> str:
        """Return what the children wrote to standard error."""
        path = self.folder / "errors"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def errors(self) -> str:
        """Return the end of it."""
        return self.log()[-3000:]

    # The evidence.

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query on the trial's database, past Django and littlebro."""
        if self.database.startswith("sqlite:"):
            link = sqlite3.connect(urllib.request.url2pathname(self.database.removeprefix("sqlite://")))
            try:
                return link.execute(query).fetchall()
            finally:
                link.close()
        import psycopg

        with psycopg.connect(self.database) as connection:
            return connection.execute(query.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Change something in the trial's database, past Django and littlebro."""
        if self.database.startswith("sqlite:"):
            self.rows(statement)
            return
        import psycopg

        with psycopg.connect(self.database) as connection:
            connection.execute(statement.encode())

    def _entries(self) -> list[list[str]]:
        whole = (line for line in self.ledger.read_text().splitlines() if line.endswith(" ok"))
        return [line.split(" ")[:-1] for line in whole]

    def accepted(self, name: str = "") -> list[str]:
        """Return the ids in the ledger, or only those of events called `name`."""
        return [entry[0] for entry in self._entries() if name in {"", entry[1]}]

    def times(self) -> list[float]:
        """Return how long each call took, in milliseconds, shortest first; each process's first not among them."""
        return sorted(int(entry[2]) / 1000 for entry in self._entries() if len(entry) > 2)

    def stored(self) -> list[str]:
        """Return the ids in the table, one for each row."""
        return [row[0] for row in self.rows("SELECT event_id FROM littlebro_storedevent")]

    def losses(self) -> dict[str, int]:
        """Return the counts of losses in the table, by reason."""
        query = "SELECT reason, sum(n) FROM littlebro_losscount GROUP BY reason"
        return {reason: int(n) for reason, n in self.rows(query)}

    def dead_letters(self) -> list[tuple[str, str, bytes, str]]:
        """Return sink, event id, bytes and reason of each dead letter."""
        rows = self.rows("SELECT sink, event_id, body, reason FROM littlebro_deadletter")
        return [(sink, event, bytes(body), reason) for sink, event, body, reason in rows]

    def verdict(self, *, stored: Iterable[str] | None = None) -> Verdict:
        """Compare the ledger with what is stored (by default: in the table)."""
        accepted = Counter(self.accepted())
        found = Counter(self.stored() if stored is None else stored)
        return Verdict(
            accepted=len(accepted),
            stored=len(found),
            lost=len(accepted.keys() - found.keys()),
            duplicated=sum(found.values()) - len(found),
            counted=sum(self.losses().values()),
        )


def logged(path: Path) -> list[str]:
    """Return the ids in a file that the backend `log` wrote, one for each line."""
    if not path.exists():
        return []
    whole, _, _being_written = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line)["id"] for line in whole.splitlines()]


def wait_until(condition: Callable[[], object], seconds: float = 20.0, what: str = "the condition") -> None:
    """Wait until `condition` holds; fail, naming it, after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {seconds} s")
        time.sleep(0.02)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a small table in plain text."""
    lines = [[*map(str, heads)], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not place else cell.rjust(width)
                  for place, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )  # fmt: skip
