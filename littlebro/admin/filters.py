"""What a list is narrowed to, as the URL says it: a form, and the conditions that follow from it.

In: the query string. Out: complaints for the page, or querysets that the indexes answer. Search is by whole
ids alone, since a million rows cannot be looked through for a part of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.functional import cached_property

from littlebro.admin.choices import MOST, cached_values, values
from littlebro.admin.paging import Count, Unindexed, count, count_within
from littlebro.conf import alias_config, aliases

__all__ = ["EventFilters", "Filters", "LetterFilters"]

PAGING: Final = frozenset({"before", "after"})
_SPANS: Final = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
_RANGES: Final = (
    ("", "Any time"),
    ("today", "Today"),
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
    ("custom", "From … to …"),
)
_COLLECTIONS: Final = 500  # collections that an event's id is looked for in
_PERSON: Final = ("user", "anonymous")


def _text(label: str, length: int = 200, **attributes: str) -> forms.CharField:
    """Return a field for text that means what it is: ids may begin or end with a space."""
    widget = forms.TextInput(attrs={"autocomplete": "off", "dir": "auto", **attributes})
    return forms.CharField(label=label, required=False, strip=False, max_length=length, widget=widget)


def _moment(label: str) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"})
    return forms.DateTimeField(label=label, required=False, widget=widget)


class Filters(forms.Form):
    """A list's filters; `narrow` and `sources` may be called once it `is_valid`."""

    choosable: ClassVar[Mapping[str, str]] = {}  # a field that offers what there is, and its column
    query: ClassVar[str] = "q"

    def __init__(self, given: Mapping[str, Any], rows: QuerySet[Any]) -> None:
        super().__init__(given, auto_id="lb-%s", label_suffix="")
        self._all = rows
        self.unknown = sorted(set(given) - set(self.fields) - PAGING)
        for name, column in self.choosable.items():
            self._offer(name, cached_values(rows, column), given.get(name) or "")

    def _offer(self, name: str, offered: list[str], chosen: str) -> None:
        """Let one choose from a list while it is complete; beyond that, type, with some of it as proposals."""
        label = str(self.fields[name].label)
        if len(offered) >= MOST:
            self.fields[name].widget.attrs["list"] = f"lb-{name}-list"
            setattr(self, f"{name}_list", offered)
            return
        if chosen and chosen not in offered and "\0" not in chosen:
            offered = sorted([*offered, chosen])
        choices = [("", f"Any {label.lower()}"), *((value, value or "(empty)") for value in offered)]
        self.fields[name].widget = forms.Select(choices=choices, attrs={"dir": "auto"})

    def value(self, name: str) -> str:
        """Return what a field holds, empty for nothing."""
        return self.cleaned_data.get(name) or ""

    @property
    def narrowed(self) -> bool:
        """Return whether anything is asked for."""
        return any(self.value(name) for name in self.fields)

    @property
    def by_count(self) -> bool:
        """Return whether the way to read a page depends on how many rows there are."""
        return False

    def total(self) -> Count:
        """Return how many rows are asked for, as far as that can be told at once."""
        raise NotImplementedError

    def sources(self, *, few: bool) -> Sequence[QuerySet[Any]]:
        """Return querysets that together hold what is asked for.

        `few` says, where the filters go `by_count`, that sorting it all costs nothing.
        """
        raise NotImplementedError


def _hidden(rows: QuerySet[Any], column: str, value: str) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.alias(**{f"_{column}": Unindexed(F(column))}).filter(**{f"_{column}": value})
    return found


class EventFilters(Filters):
    """Filters of stored events."""

    choosable: ClassVar = {"name": "name", "collection": "collection"}

    q = _text("Search", placeholder="Whole event id, user id or anonymous id", type="search")
    name = _text("Name")
    collection = _text("Collection", 64)
    range = forms.ChoiceField(label="Time", choices=_RANGES, required=False)
    since = _moment("From")
    until = _moment("To")
    user = forms.CharField(required=False, strip=False, max_length=200, widget=forms.HiddenInput)
    anonymous = forms.CharField(required=False, strip=False, max_length=200, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """Complain about a span that holds nothing, or that no calendar has."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("since", "until"):
            moment = data.get(name)
            if moment is None:
                continue
            if not 1 < moment.year < 9999:
                self.add_error(name, "This is no year that an event can be of.")
            elif timezone.is_naive(moment):  # USE_TZ is off
                data[name] = timezone.make_aware(moment)
        if not self.errors and data["since"] and data["until"] and data["since"] >= data["until"]:
            self.add_error("until", "This is not later than the beginning.")
        if data.get("range") == "custom" and not self.errors and not (data["since"] or data["until"]):
            self.add_error("since", "Say from when, to when, or both.")
        return data

    @cached_property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """Return the half-open span of time that is asked for."""
        asked = self.value("range")
        if asked == "custom":
            return self.cleaned_data["since"], self.cleaned_data["until"]
        now = datetime.now(UTC)
        if asked == "today":
            midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            return timezone.make_aware(midnight), timezone.make_aware(midnight + timedelta(days=1))
        return (now - _SPANS[asked], None) if asked in _SPANS else (None, None)

    @property
    def person(self) -> list[tuple[str, str]]:
        """Return the ids of the person asked for, by the fields' names."""
        return [(name, self.value(name)) for name in _PERSON if self.value(name)]

    @property
    def by_count(self) -> bool:
        """See Filters.by_count: the one index that begins with the collection has no order of time."""
        return bool(self.value("collection")) and not any(
            self.value(name) for name in ("name", "range", "q", *_PERSON)
        )

    def total(self) -> Count:
        """See Filters.total(): the index of a person knows neither name nor collection."""
        named = {name: self.value(name) for name in self.choosable if self.value(name)}
        if named and self._by_person and not self._rare_name:
            return count_within(self._of_person(self._in_span(self._all)), Q(**named))
        return count(self._of_person(self._narrow(in_order=not self.by_count)))

    def _of_person(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        rows = rows.filter(**{self._column(name): value for name, value in self.person})
        conditions = self._searched()
        return rows.filter(reduce(or_, conditions)) if conditions else rows

    def sources(self, *, few: bool) -> Sequence[QuerySet[Any]]:
        """See Filters.sources()."""
        rows = self._narrow(in_order=not (few and self.by_count))
        rows = rows.filter(**{self._column(name): value for name, value in self.person})
        return [rows.filter(condition) for condition in self._searched()] or [rows]

    def _searched(self) -> list[Q]:
        """Return the conditions of which a row that is searched for fulfils one, none without a search."""
        text = self.value("q")
        if not text:
            return []
        # An event's id is unique in a collection, and found by both.
        chosen = self.value("collection")
        known = [chosen] if chosen else values(self._all, "collection", _COLLECTIONS)
        by_id = Q(collection__in=known, event_id=text)
        return [by_id, *(Q(**{self._column(name): text}) for name in _PERSON)]

    def _narrow(self, *, in_order: bool) -> QuerySet[Any]:
        """Return the rows but for person and search; `in_order` means by an index that has them in the list's order."""
        rows = self._in_span(self._all)
        if name := self.value("name"):
            rows = (
                _hidden(rows, "name", name)
                if self._by_person and not self._rare_name
                else rows.filter(name=name)
            )
        if collection := self.value("collection"):
            rows = _hidden(rows, "collection", collection) if in_order else rows.filter(collection=collection)
        if self._rare_name:
            rows = rows.alias(**{self._column(name): Unindexed(F(f"{name}_id")) for name in _PERSON})
        return rows

    @property
    def _by_person(self) -> bool:
        return bool(self.person or self.value("q"))

    @cached_property
    def _rare_name(self) -> bool:
        """Whether a person is better looked for among the events of the name than the name among theirs."""
        name = self.value("name")
        return bool(name) and self._by_person and count(self._in_span(self._all.filter(name=name))).exact

    def _column(self, person: str) -> str:
        return f"_{person}_id" if self._rare_name else f"{person}_id"

    def _in_span(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        since, until = self.span
        if since is not None:
            rows = rows.filter(timestamp__gte=since)
        return rows if until is None else rows.filter(timestamp__lt=until)


def _sinks() -> list[str]:
    """Return the aliases that are sinks of any; the letters have no index of them."""
    try:
        return sorted({sink for alias in aliases() for sink in alias_config(alias).sinks})
    except ImproperlyConfigured:  # the checks say so; letters of better days can be looked at all the same
        return []


class LetterFilters(Filters):
    """Filters of dead letters."""

    choosable: ClassVar = {"alias": "alias"}

    q = _text("Search", placeholder="Whole event id, user id or anonymous id", type="search")
    alias = _text("Alias", 100)
    sink = _text("Sink", 100)

    def __init__(self, given: Mapping[str, Any], rows: QuerySet[Any]) -> None:
        super().__init__(given, rows)
        sinks, chosen = _sinks(), given.get("sink") or ""
        if sinks or chosen:
            self._offer("sink", sinks, chosen)
        else:
            del self.fields["sink"]

    @property
    def by_count(self) -> bool:
        """See Filters.by_count."""
        return bool(self.value("alias")) and not self.value("q")

    def total(self) -> Count:
        """See Filters.total()."""
        rows, text = self._narrow(in_order=False), self.value("q")
        return count(rows.filter(Q(event_id=text) | Q(user_id=text) | Q(anonymous_id=text)) if text else rows)

    def sources(self, *, few: bool) -> Sequence[QuerySet[Any]]:
        """See Filters.sources()."""
        text = self.value("q")
        rows = self._narrow(in_order=not (few and self.by_count))
        columns = ("event_id", "user_id", "anonymous_id")
        return [rows.filter(**{column: text}) for column in columns] if text else [rows]

    def _narrow(self, *, in_order: bool) -> QuerySet[Any]:
        rows = self._all
        if alias := self.value("alias"):
            rows = _hidden(rows, "alias", alias) if in_order else rows.filter(alias=alias)
        sink = self.value("sink")
        return rows.filter(sink=sink) if sink else rows
