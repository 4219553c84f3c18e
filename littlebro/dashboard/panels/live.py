"""The panel of what happens now: the newest events, and how many people are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from littlebro.analysis.question import Person
from littlebro.analysis.reports.live import Live, live
from littlebro.analysis.result import Table
from littlebro.dashboard.numbers import exact
from littlebro.dashboard.panels.base import Answer, Panel
from littlebro.dashboard.panels.persons import event_line, lifetime, named
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import local
from littlebro.dashboard.times import ago

__all__ = ["LIVE"]

_SIZE: Final = 40
_MOST: Final = 500
_IDS: Final = frozenset({"user_id", "anonymous_id"})


def _ask(question: Question) -> Answer:
    result = live(
        lifetime(question), limit=question.number("limit", _SIZE, _MOST), alias=question.alias, tz=question.zone,
        now=question.now, person=question.person,
    )  # fmt: skip
    if question.persons:
        return Answer.of(result)
    events = [msgspec.structs.replace(event, user_id=None, anonymous_id=None) for event in result.events]
    result = msgspec.structs.replace(result, events=events)
    return Answer.of(result, _nameless(result.table()))


def _nameless(table: Table) -> Table:
    """Return the table without the columns of ids, for those who may not see persons."""
    kept = [place for place, column in enumerate(table.columns) if column not in _IDS]
    return Table(
        [table.columns[place] for place in kept], [[row[place] for place in kept] for row in table.rows]
    )


def _show(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: Live = answer.result
    users = [event.user_id for event in result.events if event.user_id] if question.persons else []
    accounts = question.look_up(users)
    lines = []
    for event in result.events:
        who = Person(user_id=event.user_id) if event.user_id else None
        if who is None and event.anonymous_id:
            who = Person(anonymous_id=event.anonymous_id)
        lines.append({
            **event_line(event),
            "ago": ago(event.received_at, question.now),
            "received": f"{local(event.received_at):%H:%M:%S}",
            "late": (event.received_at - event.timestamp).total_seconds() > 60,
            "day": f"{local(event.timestamp):%Y-%m-%d}",
            "url": question.url(name=[event.name]),
            "who": named(who, accounts) if who is not None and question.persons else None,
        })  # fmt: skip
    return {"lines": lines, "people_5": exact(result.people_5), "people_30": exact(result.people_30)}


LIVE: Final = Panel(slug="live", template="littlebro/dashboard/panels/live.html", ask=_ask, show=_show)
