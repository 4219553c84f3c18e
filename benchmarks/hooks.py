"""What plugins cost in the caller: none, one enricher, ten, and a full set of ten of each kind.

Timed is the pipeline alone, from a call's arguments to the encoded event, so that neither the journal nor delivery
blurs it. The variants take turns in one process; shown is the median of the rounds.
"""

import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from benchmarks.contenders import PARAMS
from benchmarks.priority import go_before_others
from benchmarks.report import Report, middle

__all__ = ["run"]

CALLS, ROUNDS = 2_000, 15
VARIANTS = {"no plugin": 0, "one enricher": 1, "ten enrichers": 10}


def run(options: Any) -> list[Report]:
    """Measure in a process of its own."""
    ours, theirs = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="littlebro-bench-") as folder:
        child = get_context("spawn").Process(target=work, args=(Path(folder), theirs))
        child.start()
        theirs.close()
        taken = ours.recv()
        child.join()
    report = Report(
        "Hooks: enrichers in the caller",
        "microseconds an event from the arguments to the encoded line, and what the enrichers add",
        ("", "µs", "added"),
    )
    median = {name: middle(rounds) for name, rounds in taken.items()}
    added = {name: value - median["no plugin"] for name, value in median.items()}
    for name, value in median.items():
        report.row(name, value, added[name])
    report.at_most("ten enrichers, as a multiple of one", added["ten enrichers"] / added["one enricher"], 12)
    return [report]


def work(folder: Path, pipe: Connection) -> None:
    """Time the variants in turns; send what an event took in each round, in microseconds."""
    go_before_others()
    from benchmarks.site import configure

    configure(folder, LITTLEBRO={"default": {"BACKEND": "memory"}}, LITTLEBRO_PLUGINS_AUTOLOAD=False)
    builders = {name: builder(count) for name, count in VARIANTS.items()}
    taken: dict[str, list[float]] = {name: [] for name in builders}
    for number in range(ROUNDS + 1):
        for name, build in builders.items():
            start = perf_counter_ns()
            for call in range(CALLS):
                build("order-paid", PARAMS[call & 255])
            if number:  # the first round warms up
                taken[name].append((perf_counter_ns() - start) / CALLS / 1e3)
    pipe.send(taken)
    pipe.close()


def builder(count: int) -> Callable[..., Any]:
    """Return the `build` of a tracker that knows `count` enrichers."""
    from django.test import override_settings

    from littlebro import conf, hookimpl
    from littlebro.plugins import registry

    names = []
    for number in range(count):
        module = ModuleType(f"enricher_{count}_{number}")
        exec(
            f"def littlebro_enrich_event(alias, event, request): return {{'fact{number}': {number}}}",
            vars(module),
        )
        hookimpl(vars(module)["littlebro_enrich_event"])
        sys.modules[module.__name__] = module
        names.append(module.__name__)
    with override_settings(LITTLEBRO_PLUGINS=names):
        tracker = registry.find("trackers", "dummy", "default")(conf.alias_config("default"))
        build: Callable[..., Any] = tracker.build
        assert len(build("warm-up").context) == count
    return build
