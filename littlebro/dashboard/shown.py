"""Foreign text, moments and JSON as HTML that is safe to look at.

What is shown came from strangers: it is escaped, and isolated, so that a text written right to left does not
turn the line around it. Types stay apart (the text ``"1"`` and the number 1), numbers stay exact. Knows
nothing of requests, models or pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from littlebro.analysis.question import in_zone

__all__ = ["as_moment", "as_text", "as_tree", "local", "pretty", "printable", "shorten", "summary", "visible"]

_LONG: Final = 300  # characters of a text that are shown unfolded
_HEAD: Final = 120  # characters shown of a folded one
_MANY: Final = 25  # children that are shown unfolded
_OPEN: Final = 3  # levels that are shown unfolded
_DEEPEST: Final = 50  # levels that are drawn at all
_MOST: Final = 4_000  # values that are drawn at all
_FACTS: Final = 3  # params in a summary
_FACT: Final = 48  # characters of each

# Marks that turn the direction of what follows them, or end a line: written as JSON escapes in raw text, where
# nothing isolates one value from the next.
_TURNING: Final = re.compile("[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")


# Marks that turn what follows whatever it is, so that "exe.txt" reads "txt.exe": shown instead of obeyed.
_OVERRIDING: Final = re.compile("([\u202a-\u202e\u2066-\u2069])")
_UNSEEN: Final = re.compile("(.)", re.DOTALL)


def printable(text: str) -> str:
    """Return `text` without what UTF-8 cannot encode: half a surrogate pair is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """Return raw JSON with marks of direction as escapes: the same JSON, and nothing in it can turn a line."""
    return _TURNING.sub(lambda mark: f"\\u{ord(mark.group()):04x}", printable(text))


def shorten(text: str, length: int) -> str:
    """Return the first `length` characters, with an ellipsis for the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"


def as_text(value: str | None, length: int | None = None) -> SafeString:
    """Return foreign text, shortened to `length`: escaped, and of a direction of its own; a dash for none."""
    if value is None or value == "":
        return mark_safe('<span class="lb-quiet">–</span>')
    return format_html("<bdi>{}</bdi>", _marked(printable(shorten(value, length or len(value)))))


def _marked(text: str) -> SafeString | str:
    """Return `text` with marks of direction spelt out; so is all of a text of which nothing would be seen."""
    seen = any(letter.isprintable() and not letter.isspace() for letter in text)
    parts = (_OVERRIDING if seen else _UNSEEN).split(text)
    if len(parts) == 1:
        return text
    spelt = [
        (format_html('<span class="lb-mark">U+{}</span>', f"{ord(part):04X}") if number % 2 else part,)
        for number, part in enumerate(parts)
    ]
    return format_html_join("", "{}", spelt)


def local(moment: datetime) -> datetime:
    """Return `moment` in the current time zone, or in UTC where the calendar ends in between."""
    return in_zone(moment, timezone.get_current_timezone())


def as_moment(moment: datetime) -> SafeString:
    """Return a moment to the millisecond in the current time zone; its title has the zone and microseconds."""
    here = local(moment)
    date, _, time = here.replace(tzinfo=None).isoformat(timespec="milliseconds").partition("T")
    return format_html(
        '<time datetime="{}" title="{}"><span>{}</span> <span>{}</span></time>',
        moment.isoformat(), here.isoformat(sep=" ", timespec="microseconds"), date, time,
    )  # fmt: skip


def pretty(value: Any) -> str:
    """Return a value as indented JSON to be read and copied."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def summary(params: Any, context: Any = None) -> SafeString:
    """Return what an event was about in a line: method, path and status, or else its first params."""
    for facts in (params, context):
        path = facts.get("path") if isinstance(facts, Mapping) else None
        if isinstance(path, str) and path:
            parts = [facts.get("method"), path, facts.get("status")]
            kept = [part for part in parts if isinstance(part, str | int) and not isinstance(part, bool)]
            return format_html_join(" ", "{}", [(as_text(_fact(part)),) for part in kept])
    if not isinstance(params, Mapping) or not params:
        return as_text(None)
    pairs = [(as_text(_fact(key)), as_text(_fact(value))) for key, value in _first(params.items(), _FACTS)]
    more = len(params) - len(pairs)
    line = format_html_join(" ", '<span class="lb-fact"><span class="lb-key">{}</span> {}</span>', pairs)
    return format_html('{} <span class="lb-quiet">+{}</span>', line, more) if more else line


def _first(items: Iterable[Any], number: int) -> list[Any]:
    return [item for item, _ in zip(items, range(number), strict=False)]


def _fact(value: Any) -> str:
    """Return a value as a few words: text as it is, a container by its size, the rest as JSON."""
    if isinstance(value, str):
        return shorten(value, _FACT) or '""'
    if isinstance(value, Mapping | list):
        return _size(value)
    return shorten(json.dumps(value, default=str), _FACT)


def _size(value: Any) -> str:
    one, several = ("key", "keys") if isinstance(value, Mapping) else ("item", "items")
    sign = "{}" if isinstance(value, Mapping) else "[]"
    return f"{sign} {len(value)} {one if len(value) == 1 else several}" if value else sign


def as_tree(value: Any) -> SafeString:
    """Return a JSON value as a tree that folds: large, long and deep parts are closed at first."""
    if isinstance(value, Mapping | list) and value:
        return format_html('<div class="lb-tree">{}</div>', _Tree().children(value, 1))
    return format_html('<div class="lb-tree">{}</div>', _Tree().leaf(value))


class _Tree:
    """Draws one value, and no more of it than a page can bear."""

    def __init__(self) -> None:
        self._left = _MOST

    def children(self, value: Any, depth: int) -> SafeString:
        is_object = isinstance(value, Mapping)
        pairs = list(value.items()) if is_object else list(enumerate(value))
        shown = _first(pairs, max(self._left, 0))
        self._left -= len(shown)
        rows = [(self._row(key, item, is_object, depth),) for key, item in shown]
        missing = len(pairs) - len(rows)
        if missing:
            rows.append((format_html('<span class="lb-quiet">… {} more: see the raw JSON</span>', missing),))
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", rows))

    def _row(self, key: Any, value: Any, is_object: bool, depth: int) -> SafeString:
        kind = "lb-key" if is_object else "lb-index"
        text = as_text(str(key)) if key != "" else mark_safe('""')
        label = format_html('<span class="{}">{}</span><span class="lb-quiet">:</span>', kind, text)
        if isinstance(value, str):
            return self._string(printable(value), label)
        if not (isinstance(value, Mapping | list) and value):
            return format_html("{} {}", label, self.leaf(value))
        size = format_html('<span class="lb-quiet">{}</span>', _size(value))
        if depth >= _DEEPEST:
            return format_html('{} {} <span class="lb-quiet">… see the raw JSON</span>', label, size)
        opened = depth < _OPEN and len(value) <= _MANY
        return format_html(
            "<details{}><summary>{} {}</summary>{}</details>",
            mark_safe(" open") if opened else "",
            label, size, self.children(value, depth + 1),
        )  # fmt: skip

    def leaf(self, value: Any) -> SafeString:
        """Return what has no children, told apart by more than its colour."""
        if isinstance(value, str):
            return self._string(printable(value))
        if value is None:
            return mark_safe('<span class="lb-null">null</span>')
        if isinstance(value, bool):
            return format_html('<span class="lb-boolean">{}</span>', json.dumps(value))
        if isinstance(value, int | float):
            return format_html('<span class="lb-number">{}</span>', json.dumps(value))
        return format_html('<span class="lb-quiet">{}</span>', _size(value))

    def _string(self, text: str, label: SafeString | str = "") -> SafeString:
        shown = _marked(text) if text.strip() else text  # here quotes show a text of spaces for what it is
        if len(text) <= _LONG:
            return format_html('{} <q class="lb-string"><bdi>{}</bdi></q>', label, shown)
        return format_html(
            '<details><summary>{} <q class="lb-string"><bdi>{}</bdi></q>'
            ' <span class="lb-quiet">{} characters</span></summary>'
            '<pre class="lb-string" dir="auto">{}</pre></details>',
            label, _marked(shorten(text, _HEAD)), f"{len(text):,}", shown,
        )  # fmt: skip
