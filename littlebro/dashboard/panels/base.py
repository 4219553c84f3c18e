"""What a panel is: a question put to the reports, and how the answer is shown and exported.

In: a `Question` that was admitted. Out: an `Answer`, the context of a template, a table for exports. One file of
this folder holds the panels of one page; `littlebro.dashboard.panels` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from django.utils.html import format_html
from django.utils.safestring import SafeString

from littlebro.analysis.question import Path
from littlebro.analysis.result import Key, Result, Table
from littlebro.dashboard.fields import COLUMNS, path_text, typed
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_text, printable, shorten, visible

__all__ = [
    "MEASURES", "NUMERIC", "Answer", "Panel", "field_label", "key_html", "key_plain", "key_title", "measure_label",
]  # fmt: skip

MEASURES: Final = {
    "people": "People",
    "events": "Events",
    "events_per_person": "Events per person",
    "sum": "Sum of",
    "average": "Average of",
    "min": "Smallest",
    "max": "Largest",
    "median": "Median of",
    "p95": "95th percentile of",
    "weekly_people": "People in the last 7 days",
    "monthly_people": "People in the last 30 days",
}
NUMERIC: Final = frozenset({"sum", "average", "min", "max", "median", "p95"})
_LONGEST: Final = 80  # characters of a value in a list


class Answer(msgspec.Struct, frozen=True):
    """What a panel found: `result` as the reports gave it, and the table that an export of it holds."""

    result: Any
    table: Table
    as_of: datetime

    @classmethod
    def of(cls, result: Result, table: Table | None = None) -> Answer:
        """Return the answer that one result is."""
        return cls(result, result.table() if table is None else table, result.as_of)

    def as_json(self) -> Any:
        """Return the results as plain dicts, lists, text and numbers."""
        if isinstance(self.result, list):
            return [result.as_json() for result in self.result]
        return self.result.as_json()


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a page that is fetched by itself.

    `ask` puts the question, `show` makes of the answer what `template` is given. `persons`: it tells about
    single persons, and takes the permission for that.
    """

    slug: str
    template: str
    ask: Callable[[Question], Answer]
    show: Callable[[Question, Answer], Mapping[str, Any]]
    persons: bool = False
    exports: bool = True


def measure_label(measure: str, value: Path | None = None) -> str:
    """Return what a measure is called."""
    label = MEASURES[measure]
    return f"{label} {field_label(value)}" if measure in NUMERIC and value is not None else label


def field_label(path: Path) -> str:
    """Return what a field is called."""
    return COLUMNS[path[0]] if len(path) == 1 else visible(shorten(path_text(path), _LONGEST))


def key_plain(key: Key, path: Path | None = None) -> str:
    """Return a key as text, whole; in params and context a text that reads as a number or a truth is in quotes."""
    if key.kind != "value":
        return {"other": "Other", "none": "None", "all": "All"}[key.kind]
    if isinstance(key.value, str) and (path is None or len(path) > 1) and len(typed(key.value)) > 1:
        return f'"{key.value}"'
    return key.label


def key_title(key: Key, path: Path | None = None) -> str:
    """Return a key as text for attributes, in which nothing can turn the direction."""
    return visible(shorten(printable(key_plain(key, path)), _LONGEST))


def key_html(key: Key, length: int = _LONGEST, path: Path | None = None) -> SafeString:
    """Return a key as markup; what is no value looks different from any value."""
    if key.kind != "value":
        return format_html('<span class="lb-kind">{}</span>', key_plain(key, path))
    return as_text(key_plain(key, path), length)
