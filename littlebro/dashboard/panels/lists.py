"""The panels of a breakdown: the short lists of the overview, and the whole sortable one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from django.utils.http import urlencode

from littlebro.analysis.question import Path, Person
from littlebro.analysis.reports.breakdown import ROW_MEASURES, Breakdown, Row, RowMeasure, breakdown
from littlebro.analysis.result import Key, Table
from littlebro.dashboard.charts import bar
from littlebro.dashboard.numbers import change, exact, percent
from littlebro.dashboard.panels.base import (
    NUMERIC,
    Answer,
    Panel,
    field_label,
    key_html,
    key_plain,
    measure_label,
)
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_text
from littlebro.exceptions import InvalidQuery

__all__ = ["BREAKDOWN", "LIST"]

_SORTS: Final = ("people", "events", "value", "key", "change")
_SHORT: Final = 8
_MOST: Final = 2_000
_IDS: Final = frozenset({("user_id",), ("anonymous_id",)})


def _by(question: Question) -> Path:
    return question.path("by") or ("name",)


def _ask(
    question: Question, limit: int, measure: RowMeasure | None, value: Path | None, *, rest: bool = True
) -> Breakdown:
    return breakdown(
        question.query, by=_by(question), limit=limit, measure=measure, value=value, rest=rest,
        compare=question.compare, alias=question.alias, tz=question.zone, now=question.now, person=question.person,
    )  # fmt: skip


def _ask_short(question: Question) -> Answer:
    """Ask for the top alone: what is other, or has no value, is for the whole list to say."""
    result = _ask(question, question.number("limit", _SHORT, _MOST), None, None, rest=False)
    table = result.table()
    kept = [row for row, found in zip(table.rows, result.rows, strict=True) if found.key.kind == "value"]
    return Answer.of(result, Table(table.columns, kept))


def _ask_whole(question: Question) -> Answer:
    measure, value = _measure(question)
    result = _ask(question, question.number("limit", 50, _MOST), measure, value)
    table = result.table()
    order = _order(question, result)
    return Answer.of(result, Table(table.columns, [table.rows[place] for place in order]))


def _measure(question: Question) -> tuple[RowMeasure | None, Path | None]:
    """Return the measure of the third column and its field, None where there is none."""
    chosen = question.choice("measure", ("", "people", "events", *ROW_MEASURES))
    if chosen in {"", "people", "events"}:
        return None, None
    measure = cast("RowMeasure", chosen)
    value = question.path("value")
    if measure not in NUMERIC:
        return measure, None
    if value is None or len(value) == 1:
        raise InvalidQuery(f"{measure_label(measure)} which field? Name a number, such as params.total.")
    return measure, value


def _order(question: Question, result: Breakdown) -> list[int]:
    """Return the places of the rows as they are shown; what is no value stays below whatever the order."""
    sort = question.choice("sort", _SORTS, "events")
    falling = question.choice("dir", ("", "asc", "desc"), "asc" if sort == "key" else "desc") == "desc"

    def figure(row: Row) -> Any:
        match sort:
            case "people":
                return row.people
            case "value":
                return row.value
            case "change":
                return None if row.previous_events is None else row.events - row.previous_events
            case "key":
                return key_plain(row.key, result.by).casefold()
            case _:
                return row.events

    places = range(len(result.rows))
    real = [place for place in places if result.rows[place].key.kind == "value"]
    known = [place for place in real if figure(result.rows[place]) is not None]
    known.sort(key=lambda place: figure(result.rows[place]), reverse=falling)
    last = [place for place in places if place not in set(known)]
    return known + last


def _lines(
    question: Question, result: Breakdown, rows: Sequence[Row], length: int, *, by_people: bool
) -> list[dict[str, Any]]:
    users = [
        str(row.key.value) if row.key.kind == "value" and result.by == ("user_id",) else "" for row in rows
    ]
    accounts = question.look_up(filter(None, users))
    most = max((row.people if by_people else row.events for row in rows), default=0)
    lines = [_line(question, result, row, most, length, by_people=by_people) for row in rows]
    for line, user in zip(lines, users, strict=True):
        line["name"] = as_text(accounts[user].name, length) if user in accounts else None
    return lines


def _line(
    question: Question, result: Breakdown, row: Row, most: int, length: int, *, by_people: bool
) -> dict[str, Any]:
    return {
        "key": key_html(row.key, length, result.by),
        "kind": row.key.kind,
        "url": _link(question, result.by, row.key),
        "person": _person(result.by, row.key),
        "meter": bar(row.people if by_people else row.events, most, _tone(row.key)),
        "events": exact(row.events),
        "people": exact(row.people),
        "value": exact(row.value),
        "share": percent(row.events, result.total_events),
        "events_change": change(row.events, row.previous_events),
        "people_change": change(row.people, row.previous_people),
        "value_change": change(row.value, row.previous_value),
    }


def _tone(key: Key) -> str:
    return "0" if key.kind == "value" else key.kind


def _link(question: Question, path: Path, key: Key) -> str | None:
    if key.kind != "value":
        return None
    return question.to(path, key.value)


def _person(path: Path, key: Key) -> str | None:
    if key.kind != "value" or path not in _IDS:
        return None
    text = str(key.value)
    return (Person(user_id=text) if path == ("user_id",) else Person(anonymous_id=text)).key


def _show_short(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Breakdown = answer.result
    by_people = question.text("measure", "people") == "people" and result.by not in _IDS
    rows = [row for row in result.rows if row.key.kind == "value"]
    return {
        "label": field_label(result.by),
        "lines": _lines(question, result, rows, 60, by_people=by_people),
        "compared": question.compare is not None,
        "empty": not rows,
        "more": question.common()
        + ("&" if question.common() else "?")
        + urlencode({"by": question.text("by", "name")}),
    }


def _show_whole(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Breakdown = answer.result
    rows = [result.rows[place] for place in _order(question, result)]
    by_people = question.text("sort") == "people"
    sort = question.choice("sort", _SORTS, "events")
    turned = question.text("dir", "asc" if sort == "key" else "desc")
    limit = question.number("limit", 50, _MOST)
    return {
        "label": field_label(result.by),
        "measure": None if result.measure is None else measure_label(result.measure, question.path("value")),
        "lines": _lines(question, result, rows, 200, by_people=by_people),
        "compared": question.compare is not None,
        "sorts": {
            name: {
                "url": question.url(sort=name, dir=_other(turned) if name == sort else None),
                "state": {"asc": "ascending", "desc": "descending"}[turned] if name == sort else None,
            }
            for name in _SORTS
        },
        "total": {
            "events": exact(result.total_events), "people": exact(result.total_people),
            "value": exact(result.total_value),
            "events_change": change(result.total_events, result.previous_total_events),
            "people_change": change(result.total_people, result.previous_total_people),
        },
        "more": question.url(limit=str(min(limit * 4, _MOST)))
        if any(row.key.kind == "other" for row in rows) and limit < _MOST
        else None,
        "empty": not result.total_events,
    }  # fmt: skip


def _other(direction: str) -> str:
    return "asc" if direction == "desc" else "desc"


LIST: Final = Panel(
    slug="list", template="littlebro/dashboard/panels/list.html", ask=_ask_short, show=_show_short
)
BREAKDOWN: Final = Panel(
    slug="breakdown", template="littlebro/dashboard/panels/breakdown.html", ask=_ask_whole, show=_show_whole
)
