"""A page's address as a question, and questions as addresses: the one place that parses.

In: the query string. Out: alias, range, `EventQuery`, person and whatever else a report takes, checked; and
addresses that ask almost the same. A part that makes no sense is a problem, said on the page; it is never
passed over, since the figures would answer something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from django.http import QueryDict
from django.utils import timezone

from littlebro.analysis.question import Path, Person, Step, at_or_now
from littlebro.conf import aliases
from littlebro.dashboard.accounts import Account, Accounts
from littlebro.dashboard.fields import condition_text, conditions_of, parse_condition, parse_path
from littlebro.dashboard.known import first_event
from littlebro.dashboard.ranges import INTERVALS, Range, day_of, intervals_for, neighbours, range_of, suiting
from littlebro.events.query import Condition, EventQuery
from littlebro.exceptions import InvalidQuery

__all__ = ["COMMON", "COMPARISONS", "MOST_STEPS", "Question", "canonical"]

COMMON: Final = (
    "alias", "range", "since", "until", "compare", "interval", "name", "collection", "person", "f",
)  # fmt: skip
COMPARISONS: Final = {"": "No comparison", "previous": "Previous period", "year": "Year before"}
MOST_STEPS: Final = 8
_MANY: Final = frozenset({"name", "collection", "f"})
_OWN: Final = frozenset({
    "measure", "value", "by", "limit", "kind", "hide", "sort", "dir", "q", "cursor", "w", "window", "order", "bystep",
    "who", "period", "periods", "first", "later", "from", "to", "depth", "gap", "every", "people", "side",
})  # fmt: skip
_STEPS: Final = ("start", "back", *(f"{kind}{n}" for kind in "sx" for n in range(1, MOST_STEPS + 1)))
_FORM: Final = {f"{step}{part}" for step in ("f", *_STEPS) for part in "pov"}
_KNOWN: Final = {*COMMON, *_OWN, *_STEPS, *_FORM, *(f"{s}f" for s in _STEPS), *(f"{s}a" for s in _STEPS)}
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_MOST_TEXT: Final = 20_000  # characters of a query string
_MOST_CONDITIONS: Final = 50
_MOST_VALUES: Final = 100  # names of events, and of collections


class Question:
    """What a page is asked.

    `given` is the query string as a `QueryDict`, `problems` what is wrong with it, a sentence each; where there
    are any, the other attributes hold what stands in for it, so that the page around can be drawn.
    """

    def __init__(self, given: QueryDict, *, now: datetime | None = None) -> None:
        too_long = len(given.urlencode()) > _MOST_TEXT
        self.given = given = QueryDict() if too_long else given
        self.now = at_or_now(now)
        self.zone = timezone.get_current_timezone()
        self.problems = ["The address is too long."] if too_long else []
        self.persons = False  # whether who asks may see single persons
        self.accounts: Accounts | None = None  # where their accounts are looked up, if they may be seen
        for name in sorted(set(given) - _KNOWN):
            self.problems.append(f"There is no parameter {name[:40]!r}.")
        self.alias = self._checked(self._alias, "default")
        self.range: Range = self._checked(self._range, range_of("", "", "", self.zone, self.now))
        # Events of any name where there are none, the alias's own collection where that is None.
        self.names: tuple[str, ...] = self._checked(lambda: self._several("name"), ())
        self.collections = self._checked(lambda: self._several("collection"), ()) or None
        self.where: tuple[Condition, ...] = self._checked(lambda: self.conditions("f"), ())
        self.person: Person | None = self._checked(self._person, None)
        self.compare: Any = self._checked(lambda: self.choice("compare", tuple(COMPARISONS)) or None, None)
        self._interval = self._checked(lambda: self.choice("interval", ("", *INTERVALS)), "")

    def _checked(self, parse: Any, default: Any) -> Any:
        try:
            return parse()
        except InvalidQuery as error:
            self.problems.append(str(error))
            return default

    def _alias(self) -> str:
        return self.choice("alias", tuple(aliases()), "default")

    def _range(self) -> Range:
        slug, since, until = (self.given.get(name, "") for name in ("range", "since", "until"))
        return range_of(slug, since, until, self.zone, self.now)

    def _person(self) -> Person | None:
        text = self.given.get("person", "")
        return Person.parse(text) if text else None

    def _several(self, name: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(value for value in self.given.getlist(name) if value))
        if len(found) > _MOST_VALUES:  # each is shown with the address of the page without it
            raise InvalidQuery(f"{name} is given {len(found)} times; {_MOST_VALUES} are the most.")
        return found

    @cached_property
    def start(self) -> datetime:
        """Return where the range begins; for all time that is the day of the first event, which is looked up."""
        if self.range.start is not None:
            return self.range.start
        first = first_event(self.alias, self.collections)
        if first is None:
            return self.range.end - timedelta(days=1)
        return day_of(first, self.zone)

    @property
    def query(self) -> EventQuery:
        """Return the events that are asked for."""
        return EventQuery(
            names=self.names or None, collections=self.collections, start=self.start, end=self.range.end,
            where=self.where,
        )  # fmt: skip

    @property
    def interval(self) -> Any:
        """Return the interval that is asked for; one that suits the range where none is, or it would be too fine."""
        offered = intervals_for(self.start, self.range.end)
        return self._interval if self._interval in offered else suiting(self.start, self.range.end)

    @property
    def asked_interval(self) -> str:
        """Return the interval as asked for, empty for one that suits."""
        return str(self._interval)

    def neighbours(self) -> tuple[str | None, str | None]:
        """Return the addresses of the spans before and after, None where there is none."""
        if self.range.start is None:
            return None, None
        before, after = neighbours(self.range.start, self.range.end, self.zone, self.now)
        return self._at(before), self._at(after)

    def _at(self, text: str | None) -> str | None:
        return None if text is None else self.at(*text.split("/"))

    def look_up(self, ids: Iterable[str]) -> Mapping[str, Account]:
        """Return the accounts behind user ids, as far as who asks may see them."""
        return {} if self.accounts is None else self.accounts.look_up(ids)

    def search(self, text: str) -> Sequence[Account]:
        """Return the accounts whose name contains `text`, as far as who asks may see them."""
        return [] if self.accounts is None else self.accounts.search(text)

    # What the pages ask besides.

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as it is."""
        return self.given.get(name) or default

    def choice(self, name: str, choices: Sequence[str], default: str = "") -> str:
        """Return a parameter that is one of `choices`."""
        value = self.given.get(name) or default
        if value not in choices:
            known = ", ".join(choice for choice in choices if choice)
            raise InvalidQuery(f"{name} is one of {known}, not {value[:40]!r}.")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """Return a parameter that is a whole number from 1 to `most`."""
        value = self.given.get(name)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= most):
            raise InvalidQuery(f"{name} is a whole number from 1 to {most}, not {value[:40]!r}.")
        return int(value)

    def path(self, name: str) -> Path | None:
        """Return a parameter that names a field, None where it is not given."""
        value = self.given.get(name, "").strip()
        return parse_path(value) if value else None

    def conditions(self, name: str) -> tuple[Condition, ...]:
        """Return the conditions of a parameter that may be repeated."""
        texts = [text for text in self.given.getlist(name) if text]
        if len(texts) > _MOST_CONDITIONS:
            raise InvalidQuery(f"{_MOST_CONDITIONS} conditions are the most.")
        return tuple(parse_condition(text) for text in texts)

    def step(self, prefix: str) -> Step:
        """Return a step: the parameter `prefix` is its name, `prefix` with ``f`` its conditions."""
        return Step(self.given.get(prefix) or None, self.conditions(f"{prefix}f"))

    def has_step(self, prefix: str) -> bool:
        """Return whether a step is given."""
        return bool(self.given.get(prefix) or any(self.given.getlist(f"{prefix}f")))

    def duration(self, name: str, default: str) -> timedelta:
        """Return a parameter such as ``30m``, ``12h`` or ``14d``."""
        found = _WINDOW.fullmatch(self.given.get(name) or default)
        if not found:
            raise InvalidQuery(f"{name} is a number and m, h or d (30m, 12h, 14d).")
        return timedelta(**{_UNITS[found[2]]: int(found[1])})

    # Addresses.

    def url(self, /, **changes: str | Iterable[str] | None) -> str:
        """Return the query string of this page with some parameters changed; None takes one away."""
        return f"?{_changed(self.given, changes).urlencode()}"

    def common(self, /, **changes: str | Iterable[str] | None) -> str:
        """Return the query string that other pages take over from this one, with some parameters changed."""
        kept = QueryDict(mutable=True)
        for name in COMMON:
            values = [value for value in self.given.getlist(name) if value]
            if values:
                kept.setlist(name, values)
        text = _changed(kept, changes).urlencode()
        return f"?{text}" if text else ""

    def at(self, since: str, until: str) -> str:
        """Return the address of this page for a range of its own."""
        return self.url(range=None, since=since, until=until)

    def narrowed(self, condition: Condition) -> str:
        """Return the address of this page with one more condition."""
        texts = [text for text in self.given.getlist("f") if text]
        text = condition_text(condition)
        return self.url(f=texts if text in texts else [*texts, text])

    def to(self, path: Path, value: Any) -> str | None:
        """Return the address of this page for the events whose field `path` has `value`."""
        if path == ("name",):
            return self.url(name=[str(value)])
        if path == ("collection",):
            return self.url(collection=[str(value)])
        if path in {("user_id",), ("anonymous_id",)}:
            kind = "u" if path == ("user_id",) else "a"
            return self.url(person=f"{kind}:{value}")
        return self.narrowed(Condition(path, "eq", value))


def _changed(given: QueryDict, changes: Mapping[str, str | Iterable[str] | None]) -> QueryDict:
    """Return a copy with some parameters changed, None taking one away, as another page's: at its beginning."""
    copy = given.copy()
    copy.pop("w", None)
    if "cursor" not in changes:
        copy.pop("cursor", None)
    for name, value in changes.items():
        if value is None or value in ("", [], ()):
            copy.pop(name, None)
        else:
            copy.setlist(name, [value] if isinstance(value, str) else list(value))
    return copy


def canonical(given: QueryDict) -> QueryDict:
    """Return a query string as addresses are written: rows of forms as conditions, and nothing empty.

    Raises `InvalidQuery` for a row that makes no sense.
    """
    found = QueryDict(mutable=True)
    for name in given:
        values = [value for value in given.getlist(name) if value]
        if values and name not in _FORM:
            many = name in _MANY or name.endswith("f")
            found.setlist(name, list(dict.fromkeys(values)) if many else values[-1:])
    for prefix in ("f", *_STEPS):
        path, operator = given.get(f"{prefix}p") or "", given.get(f"{prefix}o") or "eq"
        if not path.strip():
            continue
        target = "f" if prefix == "f" else f"{prefix}f"
        for condition in conditions_of(parse_path(path), operator, given.get(f"{prefix}v") or ""):
            text = condition_text(condition)
            if text not in found.getlist(target):
                found.appendlist(target, text)
    if found.get("range") == "custom":
        found.pop("range")
    elif "range" in found:
        found.pop("since", None)
        found.pop("until", None)
    _close_ranks(found)
    return found


def _close_ranks(found: QueryDict) -> None:
    """Number the steps through, so that one that was emptied is gone."""
    for kind in "sx":
        kept = [
            [found.pop(f"{kind}{n}{part}", []) for part in ("", "f", "a")] for n in range(1, MOST_STEPS + 1)
        ]
        filled = [parts for parts in kept if parts[0] or parts[1]]
        for number, parts in enumerate(filled, 1):
            for part, values in zip(("", "f", "a"), parts, strict=True):
                if values:
                    found.setlist(f"{kind}{number}{part}", values)
