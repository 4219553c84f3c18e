"""What a run of contracts proved, a line a class: from pytest's reports to sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["size", "summary"]


def size(contract: type) -> int:
    """Return how many tests a contract's class has, each set of its parameters counted; fixtures may make it more."""
    tests = [getattr(contract, name) for name in dir(contract) if name.startswith("test_")]
    return sum(
        math.prod(
            len(list(mark.args[1])) for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"
        )
        for test in tests
    )


def summary(stats: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return lines on the contracts among the reports of a run (`stats` of pytest's terminal reporter).

    An optional capability is proved when all tests of it passed, not proved when one was skipped. Where not all
    tests of a contract ran, that is said first: what was proved is then no more than they show.
    """
    seen: dict[str, dict[str, list[tuple[str, str]]]] = {}
    ran: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in stats.get(outcome, ()):
            notes = dict(getattr(report, "user_properties", ()))
            contract = notes.get("littlebro_contract")
            if contract is not None:
                found = seen.setdefault(contract, {}).setdefault(notes.get("littlebro_proves", ""), [])
                found.append((outcome, _reason(report) if outcome == "skipped" else ""))
                ran.setdefault(contract, set()).add(report.nodeid)
                sizes[contract] = notes.get("littlebro_size", 0)
    lines: list[str] = []
    for contract, capabilities in sorted(seen.items()):
        n, of = len(ran[contract]), sizes[contract]
        lines += [contract, *([f"  ONLY A PART RAN: {n} of {of} tests"] if n < of else [])]
        lines += _lines(capabilities)
    return lines


def _lines(capabilities: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    proved: list[str] = []
    others: list[str] = []
    for capability, results in sorted(capabilities.items()):
        outcomes = {outcome for outcome, _ in results}
        reasons = dict.fromkeys(reason for outcome, reason in results if outcome == "skipped")
        label = capability or "what every one promises"
        if outcomes & {"failed", "error"}:
            others.append(f"  BROKEN: {label}")
        elif reasons:
            others += [f"  {label}: {reason}" for reason in reasons]
        else:
            proved.append(label)
    return [f"  proved: {', '.join(proved) or 'nothing'}", *others]


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
