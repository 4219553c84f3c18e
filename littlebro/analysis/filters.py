"""Filters and paths in SQL: what `EventQuery.matches` and `Condition.matches` say, for the engine's relations.

In: a query, a step or a path. Out: a piece of SQL and its parameters; no value is ever part of the SQL. Where the two
could differ, `matches` is right and this is a defect.

A path is an RFC 6901 pointer, passed as a parameter. A piece of SQL made here is true or false, never NULL.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from littlebro.analysis.question import Path, Person, Step, microseconds
from littlebro.analysis.result import NONE, Key
from littlebro.events.query import Condition, EventQuery

__all__ = [
    "Parameters",
    "encodable",
    "key_of",
    "key_sql",
    "number_sql",
    "one_key",
    "raw_key",
    "step",
    "where",
]

_NAMED: Final = re.compile(r"\$(\w+)")
_NUMBERS: Final = "('BIGINT', 'UBIGINT', 'DOUBLE')"
_EXACT: Final = 2**53
_SIGNS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Parameters:
    """The parameters of one statement; names begin with `prefix`, so that several can be joined."""

    def __init__(self, prefix: str = "q") -> None:
        self.values: dict[str, Any] = {}
        self._prefix = prefix

    def add(self, value: Any) -> str:
        """Return the SQL that stands for `value`."""
        name = f"{self._prefix}_{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def used(self, sql: str) -> dict[str, Any]:
        """Return those that occur in `sql`: the engine refuses one that it is not asked for."""
        return {name: self.values[name] for name in _NAMED.findall(sql) if name in self.values}


def where(
    query: EventQuery,
    person: Person | None = None,
    *,
    prefix: str = "q",
    table: str = "",
    moment: str = "ts",
) -> tuple[str, dict[str, Any]]:
    """Return the condition on rows of ``events`` (with `person`: of ``people``) that `query` matches.

    `table` is the name or alias of the relation where columns must be qualified, `moment` the column that the query's
    range is compared with. The collections are the
    reader's to restrict, apart from an empty tuple of them, which matches nothing. `person` is the resolved
    one: an anonymous person who was seen with a user is that user.
    """
    made = Parameters(prefix)
    dot = f"{table}." if table else ""
    parts: list[str] = []
    if query.names is not None:
        parts.append(_among(f"{dot}name", query.names, made))
    if query.collections is not None and not query.collections:
        parts.append("FALSE")
    if query.start is not None:
        parts.append(f"{dot}{moment} >= {made.add(microseconds(query.start))}")
    if query.end is not None:
        parts.append(f"{dot}{moment} < {made.add(microseconds(query.end))}")
    for column, text in (("user_id", query.user_id), ("anonymous_id", query.anonymous_id)):
        if text is not None:
            parts.append(f"({dot}{column} IS NOT NULL AND {_among(dot + column, (text,), made)})")
    if person is not None:
        who = made.add(person.who)
        if person.user_id is None:
            who = f"coalesce((SELECT min(person) FROM links WHERE anon = {who}), {who})"  # noqa: S608 - ours
        parts.append(f"({dot}person IS NOT NULL AND {dot}person = {who})")
    parts += [_condition(each, made, dot) for each in query.where]
    sql = _all(parts)
    return sql, made.used(sql)


def step(asked: Step, *, prefix: str = "s", table: str = "") -> tuple[str, dict[str, Any]]:
    """Return the condition on rows of ``events`` or ``people`` that are an event of this step."""
    made = Parameters(prefix)
    dot = f"{table}." if table else ""
    parts = [] if asked.name is None else [_among(f"{dot}name", (asked.name,), made)]
    parts += [_condition(each, made, dot) for each in asked.where]
    sql = _all(parts)
    return sql, made.used(sql)


def key_sql(path: Path, made: Parameters, *, table: str = "") -> str:
    """Return the text by which events are grouped: see `key_of`; NULL is "none" (missing, null, ``""``).

    For a path in params or context it is the value's JSON text, so that ``"1"`` and 1 are two groups. Numbers
    are grouped by value: 1, 1.0 and 1e0 are one. Lists and objects are grouped by their text: spacing means
    nothing, but the order of keys and the writing of numbers in them do.
    """
    return one_key(path, raw_key(path, made, table=table))


def raw_key(
    path: Path, made: Parameters, *, table: str = "", columns: Mapping[Path, str] = MappingProxyType({})
) -> str:
    """Return the text of a value, cheaper than `key_sql`: groups of it become those by `one_key`.

    `columns` are the reader's.
    """
    dot = f"{table}." if table else ""
    if path in columns:
        return dot + columns[path]
    return dot + path[0] if len(path) == 1 else f"CAST({_Place.of(path, made, dot).json} AS VARCHAR)"


def one_key(path: Path, text: str) -> str:
    """Return the key of a `raw_key`."""
    if len(path) == 1:
        return f"nullif({text}, '')"
    number = f"try_cast({text} AS DOUBLE)"
    whole = f"CAST(CAST({number} AS HUGEINT) AS VARCHAR)"
    return (  # text begins with a quote, which sorts before the signs of numbers, all other values behind them
        f"CASE WHEN {text} < '-' OR {text} >= ':' THEN nullif(nullif({text}, 'null'), '\"\"')"
        f" WHEN NOT contains({text}, '.') AND NOT contains({text}, 'e') THEN {text}"
        f" WHEN abs({number}) < 1e38 AND {number} = trunc({number}) THEN {whole} ELSE {text} END"
    )


def key_of(path: Path, text: str | None) -> Key:
    """Return the key of the group that `key_sql` gave `text`."""
    if text is None:
        return NONE
    return Key("value", text if len(path) == 1 else json.loads(text))


def number_sql(path: Path, made: Parameters, columns: Mapping[Path, str] = MappingProxyType({})) -> str:
    """Return the number at `path` as DOUBLE; NULL for everything that is no JSON number, text such as ``"7"`` too."""
    if len(path) == 1:
        return "CAST(NULL AS DOUBLE)"
    if path in columns:
        return f"try_cast({columns[path]} AS DOUBLE)"
    return _Place.of(path, made, "").number


class _Place:
    """Where a value is: a JSON expression and the pointer from there on."""

    def __init__(self, document: str, pointer: str | None, made: Parameters) -> None:
        self._document = document
        self._made = made
        self._pointer = pointer
        self._inside = document if pointer is None else f"{document}, {made.add(pointer)}"

    @classmethod
    def of(cls, path: Sequence[str], made: Parameters, dot: str) -> _Place:
        """Return the place that a path of `Condition` means.

        ``01`` is a key of an object, and, by `matches`, also the second item of an array, where a pointer knows
        no leading zeros.
        """
        document, pointer = dot + path[0], ""
        for part in path[1:]:
            if not encodable(part):
                return cls("CAST(NULL AS JSON)", None, made)
            if part.isascii() and part.isdigit() and len(part) < 10 and part != str(int(part)):
                held = f"json_extract({document}, {made.add(pointer)})" if pointer else document
                index, key = made.add(f"/{int(part)}"), made.add(f"/{part}")
                document = (  # what holds it is written once: each such part would triple the text
                    f"list_transform([{held}], lambda h: CASE json_type(h) WHEN 'ARRAY' THEN json_extract(h, {index})"
                    f" ELSE json_extract(h, {key}) END)[1]"
                )
                pointer = ""
            else:
                pointer += "/" + part.replace("~", "~0").replace("/", "~1")
        return cls(document, pointer or None, made)

    def at(self, part: str) -> _Place:
        """Return the place one key or index further in."""
        return _Place(
            self._document,
            (self._pointer or "") + "/" + part.replace("~", "~0").replace("/", "~1"),
            self._made,
        )

    @property
    def json(self) -> str:
        """The value as JSON; NULL where it is missing."""
        return self._document if self._pointer is None else f"json_extract({self._inside})"

    @property
    def kind(self) -> str:
        """The value's JSON type; ``'NULL'`` for null, NULL where it is missing."""
        return f"json_type({self._inside})"

    @property
    def text(self) -> str:
        """The value as text, without quotes if it is text."""
        if self._pointer is None:
            return f"json_extract_string({self._document}, '')"
        return f"json_extract_string({self._inside})"

    @property
    def number(self) -> str:
        """The value as DOUBLE; NULL unless it is a number (JSON text in quotes, true and null are none)."""
        return f"try_cast(CAST({self.json} AS VARCHAR) AS DOUBLE)"


def _condition(condition: Condition, made: Parameters, dot: str) -> str:
    place = _Place.of(condition.path, made, dot)
    test = _TESTS.get(condition.op)
    if test is not None:
        return f"coalesce({test(place, condition.value, made)}, FALSE)"
    if condition.op == "ne":
        return f"NOT coalesce({_equal(place, condition.value, made)}, FALSE)"
    if condition.op == "set":
        return f"coalesce({place.kind} <> 'NULL', FALSE)"
    if condition.op == "not_set":
        return f"coalesce({place.kind} = 'NULL', TRUE)"
    return f"coalesce({_ordered(place, condition.op, condition.value, made)}, FALSE)"


def _equal(place: _Place, value: Any, made: Parameters) -> str:
    """Return what is true where the value equals; elsewhere false or NULL."""
    if isinstance(value, Mapping):
        return _equal_object(place, value, made)
    if isinstance(value, list | tuple):
        parts = [f"{place.kind} = 'ARRAY'", f"json_array_length({place.json}) = {len(value)}"]
        return _all(parts + [_equal(place.at(str(index)), item, made) for index, item in enumerate(value)])
    if type(value) is str:
        return _equal_text(place, (value,), made)
    if type(value) is bool:
        return f"CAST({place.json} AS VARCHAR) = '{'true' if value else 'false'}'"
    if value is None:
        return f"{place.kind} = 'NULL'"
    if type(value) in {int, float}:
        return _equal_number(place, value, made)
    return "FALSE"


def _equal_object(place: _Place, value: Mapping[Any, Any], made: Parameters) -> str:
    if not all(isinstance(key, str) and encodable(key) for key in value):
        return "FALSE"
    parts = [f"{place.kind} = 'OBJECT'", f"len(json_keys({place.json})) = {len(value)}"]
    for key, item in value.items():
        inner = place.at(key)
        parts += [f"{inner.kind} IS NOT NULL", _equal(inner, item, made)]
    return _all(parts)


def _equal_text(place: _Place, values: Sequence[str], made: Parameters) -> str:
    values = [value for value in values if encodable(value)]
    test = _among(place.text, values, made)
    # Text that no number, list, object, true or false is written as needs no second look.
    if all(value not in {"true", "false"} and value[:1] not in set("-0123456789[{") for value in values):
        return test
    return f"({test} AND {place.kind} = 'VARCHAR')"


def _equal_number(place: _Place, value: float, made: Parameters) -> str:
    if type(value) is float and not math.isfinite(value):
        return "FALSE"
    if -_EXACT < value < _EXACT:
        return f"{place.number} = {made.add(float(value))}"
    return f"({_ordered(place, 'le', value, made)} AND {_ordered(place, 'ge', value, made)})"


def _in(place: _Place, values: Sequence[Any], made: Parameters) -> str:
    texts = [value for value in values if type(value) is str]
    parts = [_equal(place, value, made) for value in values if type(value) is not str]
    if texts:
        parts.append(_equal_text(place, texts, made))
    return f"({' OR '.join(parts)})" if parts else "FALSE"


def _contains(place: _Place, value: Any, made: Parameters) -> str:
    item = _Place("x", None, made)
    held = "x IS NULL" if value is None else _equal(item, value, made)  # a list's null comes as NULL
    items = f"CASE WHEN {place.kind} = 'ARRAY' THEN CAST({place.json} AS JSON[]) END"
    found = f"coalesce(len(list_filter({items}, lambda x: coalesce({held}, FALSE))) > 0, FALSE)"
    if isinstance(value, str) and encodable(value):
        inside = f"({place.kind} = 'VARCHAR' AND contains({place.text}, {made.add(str(value))}))"
        return f"({inside} OR {found})"
    return found


def _starts(place: _Place, value: Any, made: Parameters) -> str:
    if not isinstance(value, str) or not encodable(value):
        return "FALSE"
    return f"({place.kind} = 'VARCHAR' AND starts_with({place.text}, {made.add(str(value))}))"


def _ordered(place: _Place, op: str, value: Any, made: Parameters) -> str:
    if type(value) is str:
        head = next((index for index, letter in enumerate(value) if "\ud800" <= letter <= "\udfff"), None)
        if head is not None:  # half a surrogate pair: no text holds one, all sort before or behind it
            value, op = value[:head] + "\ue000", "lt" if op in {"lt", "le"} else "ge"
        return f"({place.kind} = 'VARCHAR' AND {place.text} {_SIGNS[op]} {made.add(value)})"
    if type(value) not in {int, float} or (type(value) is float and math.isnan(value)):
        return "FALSE"
    if value in {math.inf, -math.inf}:
        holds = (value > 0) is (op in {"lt", "le"})
        return f"{place.kind} IN {_NUMBERS}" if holds else "FALSE"
    if -_EXACT < value < _EXACT:
        return f"{place.number} {_SIGNS[op]} {made.add(float(value))}"
    return _ordered_huge(place, op, Fraction(value), made)


def _ordered_huge(place: _Place, op: str, value: Fraction, made: Parameters) -> str:
    """Compare with a number that doubles may not hold: whole numbers as such, broken ones as doubles.

    `value` is a whole number here, as every double from 2^53 on is.
    """
    text = f"CAST({place.json} AS VARCHAR)"
    broken = f"(contains({text}, '.') OR contains({text}, 'e'))"
    exact = made.add(str(int(value)))
    whole = f"try_cast({text} AS BIGNUM) {_SIGNS[op]} CAST({exact} AS BIGNUM)"
    try:
        near = float(value)
    except OverflowError:
        near = math.inf if value > 0 else -math.inf
        double = "TRUE" if (value > 0) is (op in {"lt", "le"}) else "FALSE"
    else:
        sign = _SIGNS[op]
        if Fraction(near) > value:  # the nearest double lies above: what is below it is below the value too
            sign = "<" if op in {"lt", "le"} else ">="
        elif Fraction(near) < value:
            sign = "<=" if op in {"lt", "le"} else ">"
        double = f"{place.number} {sign} {made.add(near)}"
    return f"({place.kind} IN {_NUMBERS} AND CASE WHEN {broken} THEN {double} ELSE {whole} END)"


def _among(expression: str, values: Sequence[str], made: Parameters) -> str:
    values = [value for value in values if encodable(value)]
    if not values:
        return "FALSE"
    if len(values) == 1:
        return f"{expression} = {made.add(str(values[0]))}"
    return f"{expression} IN ({', '.join(made.add(str(value)) for value in values)})"


def _all(parts: Sequence[str]) -> str:
    return f"({' AND '.join(parts)})" if parts else "TRUE"


def encodable(text: str) -> bool:
    """Return whether UTF-8 can hold `text`; what it cannot hold is in no event."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


_TESTS: Final[Mapping[str, Callable[[_Place, Any, Parameters], str]]] = {
    "eq": _equal,
    "in": _in,
    "contains": _contains,
    "starts": _starts,
}
