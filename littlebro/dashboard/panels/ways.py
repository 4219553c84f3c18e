"""The panel of paths: what people do one after the other, as a flow and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.reports.paths import PathLink, PathNode, Paths, paths
from littlebro.analysis.result import Key
from littlebro.dashboard.flows import Band, Node, flow
from littlebro.dashboard.numbers import exact, percent
from littlebro.dashboard.panels.base import Answer, Panel, key_html, key_title
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_text

__all__ = ["GAP", "PATHS"]

GAP: Final = "30m"
_NAME: Final = ("name",)


def _ask(question: Question) -> Answer:
    return Answer.of(
        paths(
            question.query, start=question.text("from") or None, end=question.text("to") or None,
            steps=question.number("depth", 5, 10), limit=question.number("limit", 6, 20),
            gap=question.duration("gap", GAP), alias=question.alias, tz=question.zone, now=question.now,
            person=question.person,
        )
    )  # fmt: skip


def _show(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Paths = answer.result
    shown = sorted({node.step for node in result.nodes})
    backward = result.direction == "backward"
    place = {step: len(shown) - 1 - number if backward else number for number, step in enumerate(shown)}
    tones = _tones(result)
    nodes = [_node(question, node, place[node.step], tones) for node in result.nodes]
    bands = [_band(link, backward=backward) for link in result.links]
    heads = [_head(step, backward=backward) for step in shown]
    return {
        "svg": flow(
            nodes, bands, heads[::-1] if backward else heads,
            name=f"Paths of {exact(result.sessions)} sessions", width=max(question.number("w", 960, 2_000), 280),
        ),
        "rows": [_row(question, result, node, backward=backward) for node in result.nodes],
        "people": exact(result.people), "sessions": exact(result.sessions), "backward": backward,
        "anchor": as_text(result.anchor, 80) if result.anchor else None,
        "empty": not result.sessions,
    }  # fmt: skip


def _tones(result: Paths) -> dict[Any, str]:
    """Return a tone for each name, the same at every step."""
    names = list(dict.fromkeys(node.key.value for node in result.nodes if node.key.kind == "value"))
    return {name: str(number % 8) for number, name in enumerate(names)}


def _place(step: int, key: Key) -> str:
    return f"{step}:{key.kind}:{key.value}"


def _head(step: int, *, backward: bool) -> str:
    if step == 0:
        return "Start"
    return f"{step} before" if backward else f"Step {step}"


def _node(question: Question, node: PathNode, column: int, tones: Mapping[Any, str]) -> Node:
    title = key_title(node.key, _NAME)
    said = f"{title}: {exact(node.sessions)} sessions of {exact(node.people)} people, {exact(node.ended)} end here"
    return Node(
        key=_place(node.step, node.key), column=column, size=node.sessions, label=title, title=said,
        tone=tones.get(node.key.value, "other") if node.key.kind == "value" else "other",
        href=_link(question, node.key) or "",
    )  # fmt: skip


def _link(question: Question, key: Key) -> str | None:
    return question.url(**{"from": str(key.value), "to": None}) if key.kind == "value" else None


def _band(link: PathLink, *, backward: bool) -> Band:
    source, target = _place(link.step, link.source), _place(link.step + 1, link.target)
    names = key_title(link.source, _NAME), key_title(link.target, _NAME)
    if backward:
        source, target, names = target, source, names[::-1]
    return Band(source, target, link.sessions, f"{names[0]} → {names[1]}: {exact(link.sessions)} sessions")


def _row(question: Question, result: Paths, node: PathNode, *, backward: bool) -> dict[str, Any]:
    following = sorted(
        (link for link in result.links if link.step == node.step and link.source == node.key),
        key=lambda link: -link.sessions,
    )
    return {
        "step": _head(node.step, backward=backward),
        "key": key_html(node.key, 80, _NAME), "url": _link(question, node.key),
        "people": exact(node.people), "sessions": exact(node.sessions),
        "dropped": exact(node.dropped), "share": percent(node.ended, node.sessions), "ended": exact(node.ended),
        "following": [
            {"key": key_html(link.target, 40, _NAME), "share": percent(link.sessions, node.sessions)}
            for link in following[:3]
        ],
    }  # fmt: skip


PATHS: Final = Panel(slug="paths", template="littlebro/dashboard/panels/paths.html", ask=_ask, show=_show)
