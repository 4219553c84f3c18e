"""The panels of a measure over time: the figures on top of the overview, and the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from littlebro.analysis.calendar import Bucket
from littlebro.analysis.question import Path
from littlebro.analysis.reports.trend import MEASURES as KNOWN
from littlebro.analysis.reports.trend import Measure, Series, Trend, trend
from littlebro.analysis.result import Table
from littlebro.dashboard.charts import Chart, Line, Mark, draw, spark
from littlebro.dashboard.numbers import change, exact
from littlebro.dashboard.panels.base import (
    NUMERIC,
    Answer,
    Panel,
    key_html,
    key_title,
    measure_label,
)
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_text, visible
from littlebro.dashboard.times import axis_labels, bucket_bounds, bucket_titles
from littlebro.exceptions import InvalidQuery
from littlebro.models import Annotation

__all__ = ["CHART", "FIGURES", "ask_trend", "figure", "measure_of"]

_SHOWN: Final[tuple[Measure, ...]] = ("people", "events", "events_per_person")
_TONES: Final = 8
_MOST_LINES: Final = 20
_MOST_MARKS: Final = 200


def measure_of(question: Question, default: str = "people") -> tuple[Measure, Path | None]:
    """Return the measure that is asked for, and the field it is of where it needs one."""
    measure = cast("Measure", question.choice("measure", KNOWN, default))
    value = question.path("value")
    if measure not in NUMERIC:
        return measure, None
    if value is None or len(value) == 1:
        raise InvalidQuery(f"{measure_label(measure)} which field? Name a number, such as params.total.")
    return measure, value


def ask_trend(question: Question, measure: Measure, value: Path | None, by: Path | None = None) -> Trend:
    """Put one trend."""
    return trend(
        question.query, interval=question.interval, measure=measure, value=value, by=by,
        limit=question.number("limit", 6, _MOST_LINES), compare=question.compare, alias=question.alias,
        tz=question.zone, now=question.now, person=question.person,
    )  # fmt: skip


# The figures


def _ask_figures(question: Question) -> Answer:
    found = [ask_trend(question, measure, None) for measure in _SHOWN]
    columns = ["measure", "value", *(["compared with"] if question.compare else [])]
    rows = [
        [measure_label(each.measure), each.series[0].total, *([_before(each)] if question.compare else [])]
        for each in found
    ]
    return Answer(found, Table(columns, rows), min(each.as_of for each in found))


def _before(result: Trend) -> int | float | None:
    return result.comparison[0].total if result.comparison else None


def _show_figures(question: Question, answer: Answer) -> Mapping[str, Any]:
    chosen = question.text("measure", "people")
    return {
        "figures": [
            {
                "label": measure_label(each.measure),
                "value": exact(each.series[0].total),
                "change": change(each.series[0].total, _before(each)),
                "spark": spark(past(each.series[0].values, each.buckets, question.now)),
                "url": question.url(measure=each.measure),
                "chosen": each.measure == chosen,
            }
            for each in answer.result
        ],
    }


def past(values: Sequence[Any], buckets: Sequence[Bucket], now: datetime) -> list[Any]:
    """Return the values of what is over: one that is still growing would look like a fall."""
    return [value for value, bucket in zip(values, buckets, strict=True) if bucket.end <= now]


# The chart


def _ask_chart(question: Question) -> Answer:
    measure, value = measure_of(question)
    result = ask_trend(question, measure, value, question.path("by"))
    begun = sum(bucket.start <= question.now for bucket in result.buckets)
    table = result.table()
    return Answer.of(result, Table(table.columns, table.rows[:begun]))


def _show_chart(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Trend = answer.result
    alone = question.path("by") is None and len(result.series) == 1
    return {
        **figure(question, result, width=question.number("w", 960, 2_000)),
        "label": measure_label(result.measure, question.path("value")),
        "total": exact(result.series[0].total) if alone else None,
        "change": change(result.series[0].total, _before(result)) if alone else None,
    }


def figure(question: Question, result: Trend, *, width: int, height: int = 300) -> dict[str, Any]:
    """Return what the template of a chart over time is given: drawing, legend, table, annotations."""
    zone = question.zone
    buckets = [bucket for bucket in result.buckets if bucket.start <= question.now] or result.buckets[:1]
    titles = bucket_titles(buckets, result.interval, zone)
    links = [question.at(*bucket_bounds(bucket, zone)) for bucket in result.buckets]
    name = measure_label(result.measure, question.path("value"))
    hidden, by = _hidden(question), question.path("by")
    legend, lines = [], []
    for place, series in enumerate(result.series):
        tone = _tone(series, place)
        shown = place not in hidden
        legend.append({
            "label": key_html(series.key, path=by) if series.key.kind != "all" else name, "tone": tone, "shown": shown,
            "total": exact(series.total), "url": question.url(hide=_toggled(hidden, place)),
        })  # fmt: skip
        if shown:
            lines.append(Line(key_title(series.key, by), _padded(series.values, len(buckets), result), tone))
            if result.comparison and place < len(result.comparison):
                values = _padded(result.comparison[place].values, len(buckets), result)
                lines.append(Line(key_title(series.key, by), values, tone, dashed=True))
    marks = _marks(result)
    kind = question.choice("kind", ("line", "bar"), "line")
    drawing = Chart(
        name=f"{name}: {len(buckets)} times one {result.interval}", lines=lines, kind=kind,
        labels=axis_labels(result.buckets, result.interval, zone), titles=_full(titles, result), links=links,
        partial=[bucket.partial for bucket in result.buckets],
        marks=[Mark(place, visible(f"{title}: {note.text}")) for place, note, title in _placed(marks, result, zone)],
        width=max(width, 280), height=height,
    )  # fmt: skip
    return {
        "svg": draw(drawing),
        "legend": legend if len(legend) > 1 else [],
        "table": _table(result, buckets, titles, links, name, by),
        "marks": [
            {"text": as_text(note.text), "when": title} for _, note, title in _placed(marks, result, zone)
        ],
        "compared": bool(result.comparison),
        "partial": any(bucket.partial for bucket in buckets),
        "interval": result.interval,
        "empty": all(not value for series in result.series for value in series.values),
    }


def _full(titles: list[str], result: Trend) -> list[str]:
    return [*titles, *([""] * (len(result.buckets) - len(titles)))]


def _hidden(question: Question) -> set[int]:
    return {int(text) for text in question.text("hide").split(".") if text.isdecimal() and len(text) < 4}


def _toggled(hidden: set[int], place: int) -> str:
    return ".".join(map(str, sorted(hidden ^ {place})))


def _tone(series: Series, place: int) -> str:
    return series.key.kind if series.key.kind in {"other", "none"} else str(place % _TONES)


def _padded(values: Sequence[Any], begun: int, result: Trend) -> list[Any]:
    """Return values for each bucket of the chart: None for what is to come, and beyond a shorter comparison."""
    known = list(values[:begun])
    return known + [None] * (len(result.buckets) - len(known))


def _table(
    result: Trend,
    buckets: Sequence[Bucket],
    titles: Sequence[str],
    links: Sequence[str],
    name: str,
    by: Path | None,
) -> dict[str, Any]:
    """Return the chart as a table: a row for each bucket; the script shows a row on hover."""
    heads, columns = [], []
    for place, series in enumerate(result.series):
        label = name if series.key.kind == "all" else key_html(series.key, 40, by)
        heads.append({"label": label, "tone": _tone(series, place), "past": False})
        columns.append(series.values)
        if result.comparison and place < len(result.comparison):
            heads.append({"label": label, "tone": _tone(series, place), "past": True})
            columns.append(result.comparison[place].values)
    rows = [
        {
            "title": title, "url": link, "partial": bucket.partial,
            "cells": [exact(values[place]) if place < len(values) else exact(None) for values in columns],
        }
        for place, (bucket, title, link) in enumerate(zip(buckets, titles, links, strict=False))
    ]  # fmt: skip
    return {"heads": heads, "rows": rows}


def _marks(result: Trend) -> list[Annotation]:
    return list(
        Annotation.objects.filter(at__gte=result.start, at__lt=result.end).order_by("at")[:_MOST_MARKS]
    )


def _placed(marks: Sequence[Annotation], result: Trend, zone: Any) -> list[tuple[int, Annotation, str]]:
    found = []
    for note in marks:
        for place, bucket in enumerate(result.buckets):
            if bucket.start <= note.at < bucket.end:
                title = bucket_titles([bucket], result.interval, zone)[0]
                found.append((place, note, title))
                break
    return found


FIGURES: Final = Panel(
    slug="figures", template="littlebro/dashboard/panels/figures.html", ask=_ask_figures, show=_show_figures
)
CHART: Final = Panel(
    slug="chart", template="littlebro/dashboard/panels/chart.html", ask=_ask_chart, show=_show_chart
)
