"""What the forms of funnel, retention and paths are filled with.

In: a question. Out: a step as a row of a form: its name, its conditions as ticks, what it is called.
"""

from __future__ import annotations

from typing import Any, Final

from littlebro.analysis.reports.retention import PERIODS
from littlebro.dashboard.fields import condition_text, condition_words
from littlebro.dashboard.panels.cohorts import period_of
from littlebro.dashboard.questions import MOST_STEPS, Question
from littlebro.dashboard.shown import visible
from littlebro.exceptions import InvalidQuery

__all__ = ["funnel_form", "retention_form", "step_row"]

_PARTS: Final = ("", "f", "p", "o", "v", "a")


def step_row(question: Question, key: str, label: str, mark: str, hint: str = "Any event") -> dict[str, Any]:
    """Return one step as a row of a form."""
    try:
        conditions = question.conditions(f"{key}f")
    except InvalidQuery:
        conditions = ()
    return {
        "key": key, "label": label, "mark": mark, "hint": hint, "name": question.text(key),
        "conditions": [{"text": condition_text(each), "words": visible(condition_words(each))} for each in conditions],
    }  # fmt: skip


def _names(*keys: str) -> str:
    return " ".join(f"{key}{part}" for key in keys for part in _PARTS)


def funnel_form(question: Question) -> dict[str, Any]:
    """Return the rows of the steps there are and of the next one, and of what is left out."""
    given = sum(question.has_step(f"s{n}") for n in range(1, MOST_STEPS + 1))
    shown = min(max(given + 1, 3), MOST_STEPS)
    steps = [
        step_row(
            question, f"s{n}", f"Step {n}", str(n), "An event" if n <= max(given, 2) else "One more step"
        )
        for n in range(1, shown + 1)
    ]
    left_out = sum(question.has_step(f"x{n}") for n in range(1, MOST_STEPS + 1))
    exclusions = [
        {**step_row(question, f"x{n}", "Event", "–", "An event"), "after": question.text(f"x{n}a", "1")}
        for n in range(1, min(left_out + 1, MOST_STEPS) + 1)
    ]
    every = [f"{kind}{n}" for kind in "sx" for n in range(1, MOST_STEPS + 1)]
    own = f"{_names(*every)} order window by bystep people side limit"
    return {"steps": steps, "exclusions": exclusions, "own": own, "window": "14d"}


def retention_form(question: Question) -> dict[str, Any]:
    """Return the rows of the event that begins and of the one that counts as coming back."""
    return {
        "steps": [
            step_row(question, "start", "Who did", "1"),
            step_row(question, "back", "and came back with", "2"),
        ],
        "own": f"{_names('start', 'back')} period periods first later",
        "periods": PERIODS,
        "period": _period(question),
    }


def _period(question: Question) -> str:
    try:
        return period_of(question)
    except InvalidQuery:
        return "week"
