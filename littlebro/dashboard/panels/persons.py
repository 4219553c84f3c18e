"""The panels of persons: who was here, and what one of them did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.utils.dateformat import format as written
from django.utils.html import format_html
from django.utils.safestring import SafeString

from littlebro.analysis.question import Person
from littlebro.analysis.reports.people import People, PersonRow, people
from littlebro.analysis.reports.person import PersonReport, person
from littlebro.dashboard.numbers import exact
from littlebro.dashboard.panels.base import Answer, Panel
from littlebro.dashboard.questions import Question
from littlebro.dashboard.shown import as_moment, as_text, as_tree, local, summary
from littlebro.dashboard.times import ago
from littlebro.events.event import Event
from littlebro.events.query import EventQuery

__all__ = ["PEOPLE", "PERSON", "event_line", "lifetime", "named"]

_SIZE: Final = 50
_MOST: Final = 1_000
_ID: Final = 60


def lifetime(question: Question) -> EventQuery:
    """Return the events that are asked for, whenever they happened."""
    return EventQuery(names=question.names or None, collections=question.collections, where=question.where)


def named(who: Person, accounts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page shows of a person: the id, and the account's name where there is one."""
    account = accounts.get(who.user_id or "")
    return {
        "key": who.key,
        "id": as_text(who.user_id or who.anonymous_id, _ID),
        "anonymous": who.user_id is None,
        "name": as_text(account.name, _ID) if account else None,
        "account": account.url if account else None,
    }


def _ask_people(question: Question) -> Answer:
    return Answer.of(
        people(
            question.query, search=question.text("q") or None, limit=question.number("limit", _SIZE, _MOST),
            cursor=question.text("cursor") or None, alias=question.alias, tz=question.zone, person=question.person,
        )
    )  # fmt: skip


def _show_people(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: People = answer.result
    accounts = question.look_up([row.person.user_id for row in result.rows if row.person.user_id])
    return {
        "rows": [_row(question, row, accounts) for row in result.rows],
        "accounts": question.search(question.text("q")) if question.text("q") else [],
        "total": exact(result.total), "one": result.total == 1,
        "searched": as_text(question.text("q"), _ID) if question.text("q") else None,
        "first": question.url() if question.text("cursor") else None,
        "older": question.url(cursor=result.next_cursor) if result.next_cursor else None,
    }  # fmt: skip


def _row(question: Question, row: PersonRow, accounts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **named(row.person, accounts),
        "events": exact(row.events), "ago": ago(row.last_seen, question.now),
        "first": _short(row.first_seen), "last": _short(row.last_seen),
    }  # fmt: skip


def _short(moment: datetime) -> SafeString:
    here = local(moment)
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), written(here, "j M Y, H:i"))


def _ask_person(question: Question) -> Answer:
    return Answer.of(
        person(
            Person.parse(question.text("who")), lifetime(question), limit=question.number("limit", _SIZE, _MOST),
            cursor=question.text("cursor") or None, alias=question.alias, tz=question.zone,
        )
    )  # fmt: skip


def _show_person(question: Question, answer: Answer) -> Mapping[str, Any]:
    result: PersonReport = answer.result
    accounts = question.look_up([result.person.user_id] if result.person.user_id else [])
    most = max((each.events for each in result.names), default=0)
    return {
        "person": named(result.person, accounts),
        "asked": as_text(question.text("who")[2:], _ID) if result.person.key != question.text("who") else None,
        "events": exact(result.events), "most": most,
        "first_seen": as_moment(result.first_seen) if result.first_seen else None,
        "last_seen": as_moment(result.last_seen) if result.last_seen else None,
        "ago": ago(result.last_seen, question.now) if result.last_seen else None,
        "names": [
            {
                "name": as_text(each.name, 80), "events": exact(each.events), "last": ago(each.last_seen, question.now),
                "url": question.url(name=[each.name]), "chosen": each.name in question.names,
            }
            for each in result.names
        ],
        "links": [
            {
                "id": as_text(link.anonymous_id, _ID),
                "shared": link.user_id is not None and link.user_id != result.person.user_id,
                "user": as_text(link.user_id, _ID),
            }
            for link in result.links
        ],
        "days": _days(result.timeline),
        "newest": question.url() if question.text("cursor") else None,
        "older": question.url(cursor=result.next_cursor) if result.next_cursor else None,
    }  # fmt: skip


def _days(timeline: Sequence[Event]) -> list[dict[str, Any]]:
    """Return the events by day, each day with its name."""
    days = groupby(timeline, key=lambda event: local(event.timestamp).date())
    return [
        {"title": written(day, "l, j F Y"), "events": [event_line(event) for event in events]}
        for day, events in days
    ]


def event_line(event: Event) -> dict[str, Any]:
    """Return what a list shows of an event."""
    return {
        "time": f"{local(event.timestamp):%H:%M:%S}",
        "moment": event.timestamp.isoformat(),
        "name": as_text(event.name, 80),
        "summary": summary(event.params, event.context),
        "params": as_tree(event.params) if event.params else None,
        "context": as_tree(event.context) if event.context else None,
        "collection": as_text(event.collection),
        "id": as_text(event.id, 80),
    }


PEOPLE: Final = Panel(
    slug="people",
    template="littlebro/dashboard/panels/people.html",
    ask=_ask_people,
    show=_show_people,
    persons=True,
)
PERSON: Final = Panel(
    slug="person",
    template="littlebro/dashboard/panels/person.html",
    ask=_ask_person,
    show=_show_person,
    persons=True,
)
