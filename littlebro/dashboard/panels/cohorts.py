"""The panel of retention: cohorts by rows, periods by columns, and the mean of all cohorts on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from littlebro.analysis.calendar import Bucket
from littlebro.analysis.reports.retention import PERIODS, Cell, Cohort, Retention, retention
from littlebro.dashboard.charts import Chart, Line, draw
from littlebro.dashboard.numbers import exact, percent
from littlebro.dashboard.panels.base import Answer, Panel
from littlebro.dashboard.questions import Question
from littlebro.dashboard.ranges import suiting
from littlebro.dashboard.times import bucket_titles

__all__ = ["RETENTION", "period_of"]

_COLUMNS: Final = {"day": 14, "week": 12, "month": 12}
_SHADES: Final = 10
_MOST: Final = 60


def period_of(question: Question) -> str:
    """Return the period that is asked for; one that suits the range where none is."""
    suited = {"hour": "day", "day": "week", "week": "week", "month": "month"}
    default = (
        "week" if question.range.start is None else suited[suiting(question.range.start, question.range.end)]
    )
    return question.choice("period", PERIODS, default)


def _ask(question: Question) -> Answer:
    period: Any = period_of(question)
    return Answer.of(
        retention(
            question.query, question.step("start"), question.step("back"), period=period,
            periods=question.number("periods", _COLUMNS[period], _MOST),
            first_time=question.choice("first", ("yes", "no"), "yes") == "yes",
            on_or_after=question.choice("later", ("yes", "no"), "no") == "yes",
            alias=question.alias, tz=question.zone, now=question.now, person=question.person,
        )
    )  # fmt: skip


def _show(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Retention = answer.result
    buckets = [Bucket(cohort.start, cohort.end) for cohort in result.cohorts]
    titles = bucket_titles(buckets, result.period, question.zone)
    columns = len(result.cohorts[0].cells) if result.cohorts else 0
    means = [_mean(result.cohorts, place) for place in range(columns)]
    return {
        "rows": [
            {
                "title": title, "size": exact(cohort.size), "partial": cohort.partial,
                "cells": [_cell(cell, cohort.size) for cell in cohort.cells],
            }
            for title, cohort in zip(titles, result.cohorts, strict=True)
            if cohort.start <= question.now
        ],
        "heads": [f"{result.period.capitalize()} {place}" for place in range(columns)],
        "means": [{"text": percent(mean, 1) if mean is not None else "", "shade": _shade(mean)} for mean in means],
        "size": exact(sum(cohort.size for cohort in result.cohorts)),
        "svg": _curve(question, result, means),
        "period": result.period, "first_time": result.first_time, "on_or_after": result.on_or_after,
        "empty": not any(cohort.size for cohort in result.cohorts),
    }  # fmt: skip


def _cell(cell: Cell, size: int) -> dict[str, Any]:
    share = None if cell.people is None or not size else cell.people / size
    return {
        "text": percent(cell.people, size) if share is not None else "",
        "people": None if cell.people is None else exact(cell.people),
        "shade": _shade(share),
        "running": cell.running,
    }


def _shade(share: float | None) -> int | None:
    return None if share is None else min(round(share * _SHADES + (0.49 if 0 < share < 0.05 else 0)), _SHADES)


def _mean(cohorts: Sequence[Cohort], place: int) -> float | None:
    """Return the share over all cohorts whose period is over: those still running would draw it down."""
    done = [cohort for cohort in cohorts if cohort.size and not cohort.cells[place].running]
    size = sum(cohort.size for cohort in done)
    return sum(cohort.cells[place].people or 0 for cohort in done) / size if size else None


def _curve(question: Question, result: Retention, means: Sequence[float | None]) -> Any:
    labels = [f"{result.period} {place}" for place in range(len(means))]
    values = [None if mean is None else round(100 * mean, 1) for mean in means]
    titles = [
        f"{label}: {percent(mean, 1)}" if mean is not None else f"{label}: not over yet"
        for label, mean in zip(labels, means, strict=True)
    ]
    return draw(
        Chart(
            name=f"Per cent of people who come back, by {result.period}", lines=[Line("mean", values, "0")],
            labels=labels, titles=titles, unit="%", width=max(question.number("w", 960, 2_000), 280), height=200,
        )
    )  # fmt: skip


RETENTION: Final = Panel(
    slug="retention", template="littlebro/dashboard/panels/retention.html", ask=_ask, show=_show
)
