"""What a run of contracts proved, a line a class: from pytest's reports to sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["summary"]


def summary(stats: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return lines on the contracts among the reports of a run (`stats` of pytest's terminal reporter).

    An optional capability is proved when all tests of it passed, not proved when one was skipped.
    """
    seen: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in stats.get(outcome, ()):
            notes = dict(getattr(report, "user_properties", ()))
            contract = notes.get("littlebro_contract")
            if contract is not None:
                found = seen.setdefault(contract, {}).setdefault(notes.get("littlebro_proves", ""), [])
                found.append((outcome, _reason(report) if outcome == "skipped" else ""))
    lines: list[str] = []
    for contract, capabilities in sorted(seen.items()):
        lines += _lines(contract, capabilities)
    return lines


def _lines(contract: str, capabilities: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
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
    return [f"{contract}", f"  proved: {', '.join(proved) or 'nothing'}", *others]


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
