"""The pages: which panels stand on each, and the frame around them.

In: a question. Out: the context of a page's template: where else one can go, what is asked for as chips, menus and
forms, and the places that panels are fetched into. Asks no report: the frame must be there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from littlebro.conf import aliases
from littlebro.dashboard.builders import funnel_form, retention_form
from littlebro.dashboard.fields import SIGNS, path_text, value_text
from littlebro.dashboard.panels.base import MEASURES, NUMERIC
from littlebro.dashboard.questions import COMPARISONS, Question
from littlebro.dashboard.ranges import INTERVALS, RANGES, intervals_for
from littlebro.dashboard.shown import as_text

__all__ = ["PAGES", "Page", "Slot", "frame"]

_LISTS: Final = (
    ("name", "Events"),
    ("params.path", "Pages"),
    ("context.referrer", "Referrers"),
    ("user_id", "Users"),
)
_CHIP: Final = 60  # characters of a value in a chip


class Slot(msgspec.Struct, frozen=True):
    """The place of a panel on a page: what it asks besides the page's own question, its width, its look meanwhile."""

    panel: str
    title: str = ""
    asks: Mapping[str, str] = msgspec.field(default_factory=dict)
    wide: bool = True
    look: str = "chart"
    persons: bool = False
    poll: int = 0  # milliseconds between two looks; 0 looks once
    bare: bool = False


class Page(msgspec.Struct, frozen=True):
    """A page: its place in the address, its name, its template, the panels on it."""

    slug: str
    title: str
    slots: Callable[[Question], Sequence[Slot]]
    template: str = "littlebro/dashboard/page.html"
    key: str = ""  # the letter that leads here after "g"
    persons: bool = False
    timed: bool = True  # whether the range of time matters
    compares: bool = True
    builder: Callable[[Question], Mapping[str, Any]] | None = None  # what its form is filled with


def _overview(_: Question) -> list[Slot]:
    lists = [
        Slot("list", title, {"by": by}, wide=False, look="list", persons=by == "user_id")
        for by, title in _LISTS
    ]
    return [Slot("figures", look="figures", bare=True), Slot("chart", look="chart"), *lists]


def _trends(_: Question) -> list[Slot]:
    return [Slot("chart")]


def _breakdown(_: Question) -> list[Slot]:
    return [Slot("breakdown", "Breakdown", look="list")]


def _funnel(question: Question) -> list[Slot]:
    if not question.has_step("s1"):
        return []
    people = [Slot("funnel-people", look="list", persons=True)] if question.text("people") else []
    return [Slot("funnel", "Funnel", look="list"), *people]


def _retention(_: Question) -> list[Slot]:
    return [Slot("retention", "Retention")]


def _paths(_: Question) -> list[Slot]:
    return [Slot("paths", "Paths")]


def _people(_: Question) -> list[Slot]:
    return [Slot("people", "People", look="list", persons=True)]


def _person(_: Question) -> list[Slot]:
    return [Slot("person", "", look="list", persons=True)]


def _live(_: Question) -> list[Slot]:
    return [Slot("live", "Now", look="list", poll=2_000)]


PAGES: Final[Mapping[str, Page]] = {
    page.slug: page
    for page in (
        Page("overview", "Overview", _overview, key="o"),
        Page("trends", "Trends", _trends, "littlebro/dashboard/trends.html", key="t"),
        Page("breakdown", "Breakdown", _breakdown, "littlebro/dashboard/breakdown.html", key="b"),
        Page(
            "funnel",
            "Funnel",
            _funnel,
            "littlebro/dashboard/funnel.html",
            key="n",
            compares=False,
            builder=funnel_form,
        ),
        Page(
            "retention",
            "Retention",
            _retention,
            "littlebro/dashboard/retention.html",
            key="r",
            compares=False,
            builder=retention_form,
        ),
        Page(
            "paths",
            "Paths",
            _paths,
            "littlebro/dashboard/paths.html",
            key="p",
            compares=False,
            builder=lambda question: {"start": question.text("from")},
        ),
        Page("people", "People", _people, key="u", persons=True, compares=False),
        Page("person", "Person", _person, persons=True, timed=False, compares=False),
        Page("live", "Live", _live, key="l", timed=False, compares=False),
    )
}


def frame(question: Question, base: str) -> dict[str, Any]:
    """Return what every page's template is given; `base` is the address of the page without a query."""
    return {
        "chips": chips(question),
        "ranges": _menu(question, "range", RANGES, question.range.slug, drop=("since", "until")),
        "comparisons": _menu(question, "compare", COMPARISONS, question.compare or ""),
        "comparison": COMPARISONS[question.compare or ""],
        "intervals": _intervals(question),
        "asked_interval": question.asked_interval,
        "alias_menu": _menu(question, "alias", {name: name for name in aliases()}, question.alias),
        "alias_count": len(aliases()),
        "signs": SIGNS,
        "measures": MEASURES,
        "numeric": sorted(NUMERIC),
        "kept": kept(question, "fp", "fo", "fv", "name", "range", "since", "until"),
        "kept_names": [("name", name) for name in question.names],
        "kept_range": _kept_range(question),
        "sides": dict(zip(("earlier", "later"), question.neighbours(), strict=True)),
        "since": _day(question, last=False),
        "until": _day(question, last=True),
        "base": base,
        "note_at": f"{question.now.astimezone(question.zone):%Y-%m-%dT%H:%M}",
    }


def kept(question: Question, *but: str) -> list[tuple[str, str]]:
    """Return the parameters that a form takes along as hidden fields."""
    found: list[tuple[str, str]] = []
    for name in question.given:
        if name not in but and name not in {"cursor", "w", "every"}:
            found += [(name, str(value)) for value in question.given.getlist(name) if value]
    return found


def _kept_range(question: Question) -> list[tuple[str, str]]:
    return [(name, question.text(name)) for name in ("range", "since", "until") if question.given.get(name)]


def _menu(
    question: Question, name: str, choices: Mapping[str, str], chosen: str, drop: Sequence[str] = ()
) -> list[dict[str, Any]]:
    dropped = dict.fromkeys(drop)
    return [
        {"label": label, "url": question.url(**{name: slug or None}, **dropped), "chosen": slug == chosen}
        for slug, label in choices.items()
    ]


def _intervals(question: Question) -> list[dict[str, Any]]:
    """Return the intervals to choose from; for all time nobody knows yet how long that is."""
    start = question.range.start
    offered = INTERVALS if start is None else intervals_for(start, question.range.end)
    return _menu(
        question,
        "interval",
        {"": "Automatic"} | {name: name.capitalize() for name in offered},
        question.asked_interval,
    )


def _day(question: Question, *, last: bool) -> str:
    moment = question.range.end - timedelta(microseconds=1) if last else question.range.start
    return "" if moment is None else moment.astimezone(question.zone).date().isoformat()


def chips(question: Question) -> list[dict[str, Any]]:
    """Return what narrows the page: field, sign, value, and the address without it."""
    found = []
    for label, name, values in (
        ("Event", "name", question.names),
        ("Collection", "collection", question.collections or ()),
    ):
        for value in values:
            others = [other for other in values if other != value]
            found.append(
                {
                    "field": label,
                    "sign": "is",
                    "value": as_text(value, _CHIP),
                    "url": question.url(**{name: others}),
                }
            )
    if question.person is not None:
        text = question.person.user_id or question.person.anonymous_id
        found.append(
            {"field": "Person", "sign": "is", "value": as_text(text, _CHIP), "url": question.url(person=None)}
        )
    texts = [text for text in question.given.getlist("f") if text]
    for place, condition in enumerate(question.where):
        needless = condition.op in {"set", "not_set"}
        found.append({
            "field": as_text(path_text(condition.path), _CHIP),
            "sign": SIGNS[condition.op],
            "value": "" if needless else as_text(value_text(condition.value) or '""', _CHIP),
            "url": question.url(f=[*texts[:place], *texts[place + 1 :]]),
        })  # fmt: skip
    return found
