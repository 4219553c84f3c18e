"""The panels of a funnel: its steps, and the people behind one of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from littlebro.analysis.question import Path, Person, Step
from littlebro.analysis.reports.funnel import ORDERS, Exclusion, Funnel, FunnelStep, funnel, funnel_people
from littlebro.analysis.result import Table
from littlebro.dashboard.charts import bar
from littlebro.dashboard.fields import condition_words
from littlebro.dashboard.numbers import duration, exact, percent
from littlebro.dashboard.panels.base import Answer, Panel, field_label, key_html
from littlebro.dashboard.questions import MOST_STEPS, Question
from littlebro.dashboard.shown import as_text, visible
from littlebro.exceptions import InvalidQuery

__all__ = ["FUNNEL", "FUNNEL_PEOPLE", "WINDOW", "steps_of"]

WINDOW: Final = "14d"
_MOST_PEOPLE: Final = 1_000
_SHOWN: Final = 120  # people named on the page; an export names all
_SIDES: Final = ("reached", "dropped")


def steps_of(question: Question) -> list[Step]:
    """Return the steps that are asked for."""
    return [question.step(f"s{n}") for n in range(1, MOST_STEPS + 1) if question.has_step(f"s{n}")]


def _exclusions(question: Question, steps: list[Step]) -> list[Exclusion]:
    found = []
    for n in range(1, MOST_STEPS + 1):
        if question.has_step(f"x{n}"):
            after = question.number(f"x{n}a", 1, max(len(steps) - 1, 1))
            found.append(Exclusion(question.step(f"x{n}"), after - 1))
    return found


def _asked(question: Question) -> dict[str, Any]:
    steps = steps_of(question)
    if not steps:
        raise InvalidQuery("Name the first step.")
    by: Path | None = question.path("by")
    return {
        "query": question.query, "steps": steps, "order": question.choice("order", ORDERS, "ordered"),
        "window": question.duration("window", WINDOW), "exclude": _exclusions(question, steps), "by": by,
        "by_step": question.number("bystep", 1, len(steps)) - 1 if by else 0, "alias": question.alias,
        "tz": question.zone, "now": question.now, "person": question.person,
    }  # fmt: skip


def _ask(question: Question) -> Answer:
    return Answer.of(funnel(**_asked(question), limit=question.number("limit", 8, 100)))


def _show(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Funnel = answer.result
    first = result.steps[0].people
    lines = [_line(question, result, place, step, first) for place, step in enumerate(result.steps)]
    last = result.steps[-1]
    return {
        "lines": lines,
        "whole": percent(last.people, first),
        "first": exact(first), "last": exact(last.people),
        "window": duration(result.window.total_seconds()),
        "order": result.order,
        "open": sum(step.open for step in result.steps),
        "by": field_label(result.by) if result.by else None,
        "by_step": result.by_step + 1,
        "groups": [
            {
                "key": key_html(group.key, 60, result.by),
                "url": question.to(result.by, group.key.value) if result.by and group.key.kind == "value" else None,
                "cells": [
                    {"people": exact(step.people), "share": percent(step.people, group.steps[0].people)}
                    for step in group.steps
                ],
                "whole": percent(group.steps[-1].people, group.steps[0].people),
                "meter": bar(group.steps[-1].people, group.steps[0].people or None),
            }
            for group in result.groups
        ],
        "empty": not first,
    }  # fmt: skip


def _line(question: Question, result: Funnel, place: int, step: FunnelStep, first: int) -> dict[str, Any]:
    before = result.steps[place - 1].people if place else None
    following = result.steps[place + 1].people if place + 1 < len(result.steps) else None
    dropped = None if following is None else step.people - following
    any_order = result.order == "any"
    return {
        "number": place + 1,
        "name": as_text(step.label if any_order else step.step.name or "any event", 120),
        "conditions": [] if any_order else [visible(condition_words(each)) for each in step.step.where],
        "people": exact(step.people),
        "meter": bar(step.people, first, "0", 28),
        "share": percent(step.people, first),
        "went_on": None if before is None else percent(step.people, before),
        "median": duration(step.median_seconds) if step.median_seconds is not None else None,
        "open": exact(step.open) if step.open else None,
        "dropped": exact(dropped) if dropped else None,
        "url": question.url(people=str(place + 1), side=None) + "#lb-people",
        "dropped_url": question.url(people=str(place + 1), side="dropped") + "#lb-people",
    }


def _ask_people(question: Question) -> Answer:
    asked = _asked(question)
    step = question.number("people", 1, len(asked["steps"]))
    side = question.choice("side", _SIDES, "reached")
    found = funnel_people(**asked, step=step - 1, dropped=side == "dropped", limit=_MOST_PEOPLE)
    table = Table(["user_id", "anonymous_id"], [[person.user_id, person.anonymous_id] for person in found])
    return Answer(_People(found), table, question.now)


class _People:
    """The people of a step, with what an answer offers."""

    def __init__(self, people: list[Person]) -> None:
        self.people = people

    def as_json(self) -> dict[str, Any]:
        """Return the people as plain dicts."""
        return {"people": [{"user_id": p.user_id, "anonymous_id": p.anonymous_id} for p in self.people]}


def _show_people(question: Question, answer: Answer) -> Mapping[str, Any]:
    step = question.number("people", 1, MOST_STEPS)
    label = steps_of(question)[step - 1]
    return {
        "people": [
            {
                "key": person.key, "text": as_text(person.user_id or person.anonymous_id, 60),
                "anonymous": person.user_id is None,
            }
            for person in answer.result.people[:_SHOWN]
        ],
        "step": step,
        "name": as_text(label.name or "any event", 60),
        "dropped": question.text("side") == "dropped",
        "number": exact(len(answer.result.people)), "full": len(answer.result.people) == _MOST_PEOPLE,
        "cut": _SHOWN if len(answer.result.people) > _SHOWN else None,
        "close": question.url(people=None, side=None),
    }  # fmt: skip


FUNNEL: Final = Panel(slug="funnel", template="littlebro/dashboard/panels/funnel.html", ask=_ask, show=_show)
FUNNEL_PEOPLE: Final = Panel(
    slug="funnel-people", template="littlebro/dashboard/panels/funnel_people.html", ask=_ask_people,
    show=_show_people, persons=True,
)  # fmt: skip
