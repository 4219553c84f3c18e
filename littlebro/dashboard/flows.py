"""Flows as SVG: columns of nodes, and bands between them as wide as many took that way.

In: nodes and bands with figures and words. Out: markup, as `littlebro.dashboard.charts` makes it. Knows no reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from littlebro.dashboard.numbers import compact

__all__ = ["Band", "Node", "flow"]

_THICK: Final = 10  # pixels of a node's width
_GAP: Final = 22  # pixels between the nodes of a column
_LEAST: Final = 170  # pixels of a column's width
_TALL: Final = 420  # pixels of the highest column, without its gaps
_TOP: Final = 26
_LETTER: Final = 6.8  # pixels of a character in a label


class Node(msgspec.Struct, frozen=True):
    """A box in a column: how many pass, its words, its tone, where a click leads."""

    key: str
    column: int
    size: int
    label: str
    title: str
    tone: str = "0"
    href: str = ""


class Band(msgspec.Struct, frozen=True):
    """How many go from the node `source` to the node `target` of the next column."""

    source: str
    target: str
    size: int
    title: str


class _Box(msgspec.Struct):
    """Where a node is drawn, and how much of each of its sides is taken by bands."""

    node: Node
    x: float
    y: float
    height: float
    out: float = 0
    into: float = 0


def flow(
    nodes: Sequence[Node], bands: Sequence[Band], heads: Sequence[str], *, name: str, width: int
) -> SafeString:
    """Return the flow as an SVG element; it is wider than `width` where its columns need it."""
    columns = len(heads)
    wide = max(width / max(columns, 1), _LEAST)
    boxes, height = _placed(nodes, columns, wide)
    drawn = [_band(band, boxes) for band in bands]
    whole = wide * columns
    titles = [(_n(place * wide), head) for place, head in enumerate(heads)]
    return format_html(
        '<svg class="lb-svg lb-flow" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
        "{}{}{}</svg>",
        _n(whole), _n(height), _n(whole), _n(height), name,
        format_html_join("", '<text class="lb-tick" x="{}" y="12">{}</text>', titles),
        format_html_join("", '<path class="lb-band lb-tone-{}" d="{}"><title>{}</title></path>', drawn),
        format_html_join("", "{}", ((_node(box, wide),) for box in boxes.values())),
    )  # fmt: skip


def _placed(nodes: Sequence[Node], columns: int, wide: float) -> tuple[dict[str, _Box], float]:
    """Return the boxes by key, each column from the top, and the height of it all."""
    totals = [sum(node.size for node in nodes if node.column == place) for place in range(columns)]
    scale = _TALL / max([*totals, 1])
    boxes: dict[str, _Box] = {}
    lowest = 0.0
    for place in range(columns):
        y = float(_TOP)
        for node in nodes:
            if node.column == place:
                tall = max(node.size * scale, 2)
                boxes[node.key] = _Box(node, place * wide, y, tall)
                y += max(tall, 12) + _GAP
        lowest = max(lowest, y)
    return boxes, max(lowest, 60)


def _band(band: Band, boxes: Mapping[str, _Box]) -> tuple[str, str, str]:
    """Return tone, path and title of a band, and take its place at both ends."""
    source, target = boxes[band.source], boxes[band.target]
    scale = min(source.height / max(source.node.size, 1), target.height / max(target.node.size, 1))
    thick = max(band.size * scale, 0.5)
    top, end = source.y + source.out, target.y + target.into
    source.out, target.into = source.out + thick, target.into + thick
    left, right = source.x + _THICK, target.x
    middle = (left + right) / 2
    path = (
        f"M{_n(left)} {_n(top)}C{_n(middle)} {_n(top)} {_n(middle)} {_n(end)} {_n(right)} {_n(end)}"
        f"V{_n(end + thick)}C{_n(middle)} {_n(end + thick)} {_n(middle)} {_n(top + thick)}"
        f" {_n(left)} {_n(top + thick)}Z"
    )
    return source.node.tone, path, band.title


def _node(box: _Box, wide: float) -> SafeString:
    fits = max(int((wide - _THICK - 50) / _LETTER), 4)
    node = box.node
    label = node.label if len(node.label) <= fits else node.label[: fits - 1] + "…"
    href = format_html(' data-href="{}"', node.href) if node.href else ""
    return format_html(
        '<g class="lb-node"{}><title>{}</title>'
        '<rect class="lb-bar lb-tone-{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>'
        '<text class="lb-node-name" x="{}" y="{}">{} <tspan>{}</tspan></text></g>',
        href, node.title, node.tone, _n(box.x), _n(box.y), _THICK, _n(box.height),
        _n(box.x + _THICK + 6), _n(box.y + min(box.height / 2 + 4, 14)), label, compact(node.size),
    )  # fmt: skip


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
