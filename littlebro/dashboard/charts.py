"""Charts as SVG that is safe under a strict policy: presentation attributes and classes, never a style.

In: figures, words, a width in pixels. Out: markup, escaped. The page's script reads `data-` attributes for hover
and keyboard; without it each part still has its title, and a table stands beside every chart. Knows no reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from msgspec.structs import replace

from littlebro.dashboard.numbers import compact

__all__ = ["Chart", "Line", "Mark", "bar", "draw", "spark", "ticks"]

Value = int | float | None

_TOP: Final = 14  # pixels above the highest line
_BOTTOM: Final = 26  # pixels below the lowest, for the labels of the time
_LETTER: Final = 6.6  # pixels of a character in a label
_MOST_DOTS: Final = 2_000
_LEAST: Final = 1e-9  # between two values; below it they are one
_FARTHEST: Final = 1e300  # from zero; what is beyond is drawn there, since a float cannot hold the way across


class Line(msgspec.Struct, frozen=True):
    """One series: a value for each bucket, and its tone, which the style sheet gives a colour."""

    label: str
    values: Sequence[Value]
    tone: str
    dashed: bool = False


class Mark(msgspec.Struct, frozen=True):
    """An annotation: the bucket it falls into, and its words."""

    place: int
    text: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn: lines or bars over buckets, all of one length.

    `labels` stand on the axis where there is room, `titles` are said on hover, `links` are followed on a click.
    `partial` buckets are drawn broken. `unit` follows the figures of the scale.
    """

    name: str
    lines: Sequence[Line]
    labels: Sequence[str]
    titles: Sequence[str]
    links: Sequence[str] = ()
    partial: Sequence[bool] = ()
    marks: Sequence[Mark] = ()
    kind: str = "line"
    unit: str = ""
    width: int = 960
    height: int = 280


class _Frame(msgspec.Struct, frozen=True):
    """Where things are: the plot's edges in pixels, and the values at bottom and top."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    count: int
    bars: bool

    def x(self, place: float) -> float:
        if self.bars or self.count == 1:
            return self.left + (place + 0.5) * self.step
        return self.left + place * self.step

    @property
    def step(self) -> float:
        parts = self.count if self.bars or self.count == 1 else self.count - 1
        return (self.right - self.left) / max(parts, 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - self.top)

    def zone(self, place: int) -> tuple[float, float]:
        """Return where the part of the plot that belongs to a bucket begins, and how wide it is."""
        first = max(self.x(place) - self.step / 2, self.left)
        last = min(self.x(place) + self.step / 2, self.right)
        return first, max(last - first, 1)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values from `low` or less to `high` or more, at most `most` + 1 of them."""
    span = high - low
    if span < _LEAST:
        return [low, low + 1]
    rough = span / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def draw(chart: Chart) -> SafeString:
    """Return the chart as an SVG element of its width and height."""
    chart = replace(chart, lines=[replace(line, values=[*map(_near, line.values)]) for line in chart.lines])
    values = _drawn(chart)
    low, high = min([0.0, *values]), max([0.0, *values])
    if high - low < _LEAST:
        high = low + 1
    whole = all(float(value).is_integer() for value in values)
    scale = ticks(low, high, 4 if chart.height < 220 else 5)
    if whole and high - low < 5:
        scale = [float(number) for number in range(math.floor(low), math.ceil(high) + 1)]
    figures = [f"{compact(_plain(value))}{chart.unit}" for value in scale]
    left = max(map(len, figures)) * _LETTER + 12
    frame = _Frame(
        left,
        chart.width - 12,
        _TOP,
        chart.height - _BOTTOM,
        scale[0],
        scale[-1],
        len(chart.labels),
        chart.kind == "bar",
    )
    parts = [_grid(frame, scale, figures), _axis(frame, chart)]
    parts += [_stack(frame, chart)] if chart.kind == "bar" else _lines(frame, chart)
    parts += [_marks(frame, chart), _columns(frame, chart)]
    return format_html(
        '<svg class="lb-svg" viewBox="0 0 {} {}" width="100%" role="img" aria-label="{}"'
        ' data-left="{}" data-right="{}" data-count="{}">{}</svg>',
        chart.width, chart.height, chart.name, _n(frame.left), _n(frame.right), frame.count,
        format_html_join("", "{}", ((part,) for part in parts)),
    )  # fmt: skip


def _near(value: Value) -> Value:
    return None if value is None else max(-_FARTHEST, min(value, _FARTHEST))


def _drawn(chart: Chart) -> list[float]:
    """Return every height that is drawn; bars stand upon each other."""
    if chart.kind != "bar":
        return [float(value) for line in chart.lines for value in line.values if value is not None]
    stacked = [line.values for line in chart.lines if not line.dashed]
    sums = [sum(max(value or 0, 0) for value in column) for column in zip(*stacked, strict=True)]
    falls = [sum(min(value or 0, 0) for value in column) for column in zip(*stacked, strict=True)]
    past = [float(value) for line in chart.lines if line.dashed for value in line.values if value is not None]
    return [*map(float, sums), *map(float, falls), *past]


def _grid(frame: _Frame, scale: Iterable[float], figures: Iterable[str]) -> SafeString:
    return format_html_join(
        "",
        '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="lb-tick" x="{}" y="{}" text-anchor="end">{}</text>',
        (
            ("lb-zero" if value == 0 else "lb-grid", _n(frame.left), _n(frame.right), _n(frame.y(value)),
             _n(frame.y(value)), _n(frame.left - 8), _n(frame.y(value) + 4), figure)
            for value, figure in zip(scale, figures, strict=True)
        ),
    )  # fmt: skip


def _axis(frame: _Frame, chart: Chart) -> SafeString:
    """Return the labels of the time: as many as fit, the ends kept inside."""
    widest = max((len(label) for label in chart.labels), default=1) * _LETTER + 18
    every = max(1, math.ceil(widest / max(frame.step, 0.01)))
    rows = []
    for place in range(0, frame.count, every):
        x, half = frame.x(place), len(chart.labels[place]) * _LETTER / 2
        anchor = "start" if x - half < 0 else "end" if x + half > chart.width else "middle"
        x = 0 if anchor == "start" else chart.width if anchor == "end" else x
        rows.append((_n(x), chart.height - 7, anchor, chart.labels[place]))
    return format_html_join("", '<text class="lb-tick" x="{}" y="{}" text-anchor="{}">{}</text>', rows)


def _lines(frame: _Frame, chart: Chart) -> list[SafeString]:
    alone = sum(not line.dashed for line in chart.lines) == 1
    found = []
    for line in reversed(chart.lines):
        solid, broken, area = _paths(frame, line, chart.partial)
        found.append(
            format_html(
                '<g class="lb-line lb-tone-{}{}">{}<path class="lb-solid" d="{}"/>'
                '<path class="lb-broken" d="{}"/>{}</g>',
                line.tone,
                " lb-past" if line.dashed else "",
                format_html('<path class="lb-area" d="{}"/>', area) if alone and not line.dashed else "",
                solid,
                broken,
                _lone(frame, line),
            )
        )
    return found


def _paths(frame: _Frame, line: Line, partial: Sequence[bool]) -> tuple[str, str, str]:
    """Return a line as paths: the whole buckets', those to and from partial ones, and the area below both."""
    solid, broken, area = "", "", ""
    base = _n(frame.y(max(frame.low, 0)))
    for run in _runs(line.values):
        points = [(_n(frame.x(place)), _n(frame.y(float(line.values[place] or 0)))) for place in run]
        area += f"M{points[0][0]} {base}" + "".join(f"L{x} {y}" for x, y in points) + f"V{base}Z"
        last = ""
        for place, (here, there) in zip(run, pairwise(points), strict=False):
            cut = bool(partial) and not line.dashed and (partial[place] or partial[place + 1])
            begin = "" if last == f"{cut}" else f"M{here[0]} {here[1]}"
            last = f"{cut}"
            piece = f"{begin}L{there[0]} {there[1]}"
            solid, broken = (solid, broken + piece) if cut else (solid + piece, broken)
    return solid, broken, area


def _runs(values: Sequence[Value]) -> list[list[int]]:
    """Return the places of values, cut where there is none."""
    runs: list[list[int]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


def _lone(frame: _Frame, line: Line) -> SafeString:
    """Return dots for values without neighbours, which no line would show."""
    lone = [
        (_n(frame.x(run[0])), _n(frame.y(float(line.values[run[0]] or 0))))
        for run in _runs(line.values)
        if len(run) == 1
    ]
    return format_html_join("", '<circle class="lb-dot" cx="{}" cy="{}" r="3.5"/>', lone)


def _stack(frame: _Frame, chart: Chart) -> SafeString:
    wide = max(min(frame.step * 0.72, 56), 1)
    rows = []
    for place in range(frame.count):
        up = down = 0.0
        for line in chart.lines:
            value = line.values[place]
            if line.dashed or not value:
                continue
            start = up if value > 0 else down
            edges = frame.y(start), frame.y(start + value)
            up, down = (up + value, down) if value > 0 else (up, down + value)
            cut = " lb-cut" if chart.partial and chart.partial[place] else ""
            rows.append(
                (
                    line.tone,
                    cut,
                    _n(frame.x(place) - wide / 2),
                    _n(min(edges)),
                    _n(wide),
                    _n(max(abs(edges[0] - edges[1]), 0.5)),
                )
            )
    bars = format_html_join(
        "", '<rect class="lb-bar lb-tone-{}{}" x="{}" y="{}" width="{}" height="{}" rx="1.5"/>', rows
    )
    past = [
        (line.tone, _n(frame.x(place) - wide / 2 - 2), _n(frame.x(place) + wide / 2 + 2), *[_n(frame.y(value))] * 2)
        for line in chart.lines if line.dashed
        for place, value in enumerate(line.values) if value is not None
    ]  # fmt: skip
    rule = '<line class="lb-rule lb-tone-{}" x1="{}" x2="{}" y1="{}" y2="{}"/>'
    return format_html("{}{}", bars, format_html_join("", rule, past))


def _marks(frame: _Frame, chart: Chart) -> SafeString:
    rows = [
        (_n(frame.x(mark.place)), _n(frame.x(mark.place)), _n(frame.top), _n(frame.bottom), _n(frame.x(mark.place)),
         _n(frame.top), mark.text)
        for mark in chart.marks
    ]  # fmt: skip
    return format_html_join(
        "",
        '<g class="lb-mark-line"><line x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<circle cx="{}" cy="{}" r="4"><title>{}</title></circle></g>',
        rows,
    )


def _columns(frame: _Frame, chart: Chart) -> SafeString:
    """Return, for each bucket, a zone to point at, and what is shown in it then."""
    dots = chart.kind != "bar" and frame.count * len(chart.lines) <= _MOST_DOTS
    rows = []
    for place in range(frame.count):
        x, wide = frame.zone(place)
        circles = [
            (line.tone, _n(frame.x(place)), _n(frame.y(value)))
            for line in chart.lines
            if dots and (value := line.values[place]) is not None
        ]
        shown = format_html_join("", '<circle class="lb-dot lb-tone-{}" cx="{}" cy="{}" r="4"/>', circles)
        link = (
            format_html(' data-href="{}"', chart.links[place]) if chart.links and chart.links[place] else ""
        )
        middle = _n(frame.x(place))
        rows.append(
            (link, _n(x), _n(frame.top - 8), _n(wide), _n(frame.bottom - frame.top + 8), chart.titles[place],
             middle, middle, _n(frame.top), _n(frame.bottom), shown)
        )  # fmt: skip
    return format_html_join(
        "",
        '<g class="lb-col"{}><rect class="lb-hit" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
        '<line class="lb-hair" x1="{}" x2="{}" y1="{}" y2="{}"/>{}</g>',
        rows,
    )


def spark(values: Sequence[Value], width: int = 120, height: int = 36) -> SafeString:
    """Return a line without words, for a figure that stands beside it."""
    known = [float(value) for value in values if value is not None]
    if len(known) < 2:
        return mark_safe("")
    low, high = min([0.0, *known]), max([0.0, *known])
    if high - low < _LEAST:
        high = low + 1
    frame = _Frame(1, width - 1, 3, height - 2, low, high, len(values), False)
    solid, _, area = _paths(frame, Line("", values, "0"), ())
    return format_html(
        '<svg class="lb-spark" viewBox="0 0 {} {}" width="{}" height="{}" preserveAspectRatio="none"'
        ' aria-hidden="true">'
        '<path class="lb-area" d="{}"/><path class="lb-solid" d="{}"/></svg>',
        width, height, width, height, area, solid,
    )  # fmt: skip


def bar(part: Value, whole: Value, tone: str = "0", height: int = 5) -> SafeString:
    """Return a bar as wide as `part` of `whole`, for the cell of a table."""
    share = min(max((part or 0) / whole, 0), 1) * 100 if whole else 0
    return format_html(
        '<svg class="lb-meter" width="100%" height="{}" aria-hidden="true">'
        '<rect class="lb-track" width="100%" height="{}" rx="2"/>'
        '<rect class="lb-bar lb-tone-{}" width="{}%" height="{}" rx="2"/></svg>',
        height, height, tone, _n(share), height,
    )  # fmt: skip


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _n(value: float) -> str:
    """Return a coordinate with no more digits than can be seen."""
    return f"{value:.1f}".removesuffix(".0")
