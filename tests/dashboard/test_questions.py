"""A page's address is a question: what it says is what is asked, and nothing is passed over."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from littlebro.analysis.question import Person, Step
from littlebro.dashboard.fields import (
    condition_text,
    conditions_of,
    parse_condition,
    parse_path,
    path_text,
    typed,
)
from littlebro.dashboard.questions import Question, canonical
from littlebro.dashboard.ranges import RANGES, intervals_for, range_of, suiting
from littlebro.events.query import OPERATORS, Condition
from littlebro.exceptions import InvalidQuery

NOW = datetime(2026, 3, 29, 14, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)


def question(query: str = "", **fields: Any) -> Question:
    return Question(QueryDict(query), now=NOW, **fields)


@given(group=st.sampled_from(["params", "context"]), parts=st.lists(keys, min_size=1, max_size=3))
def test_a_path_comes_back_from_its_text(group: str, parts: list[str]) -> None:
    """Whatever keys hold - dots, slashes, tildes, nothing at all - an address names them."""
    path = (group, *parts)
    text = path_text(path)
    assert parse_path(text) == path or text != text.strip()


def test_paths_are_short_where_they_can_be() -> None:
    assert path_text(("params", "plan")) == "params.plan"
    assert path_text(("params", "a.b", "c/d~e")) == "/params/a.b/c~1d~0e"
    assert path_text(("user_id",)) == "user_id"
    assert parse_path(" params.cart.0.sku ") == ("params", "cart", "0", "sku")


@pytest.mark.parametrize("text", ["", "params", "plan", "nothing.plan", "/", "id", "x" * 3_000])
def test_no_field_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidQuery):
        parse_path(text)


@given(path=st.lists(keys, min_size=1, max_size=3), operator=st.sampled_from(OPERATORS), value=values)
def test_a_condition_comes_back_from_its_text(path: list[str], operator: str, value: Any) -> None:
    asked = [value, "x"] if operator == "in" else None if operator in {"set", "not_set"} else value
    condition = Condition(("params", *path), operator, asked)
    assert parse_condition(condition_text(condition)) == condition


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '["eq"]', '["eq","params",1]', '["eq",[1],1]', "[" * 5_000]
)
def test_a_damaged_condition_is_said_to_be_damaged(text: str) -> None:
    with pytest.raises(InvalidQuery):
        parse_condition(text)


def test_a_value_typed_by_hand_means_what_it_may_mean() -> None:
    """A number may be text in the events; in quotes it is text alone."""
    assert typed("pro") == ["pro"]
    assert typed("42") == [42, "42"]
    assert typed('"42"') == ["42"]
    assert typed("true") == [True, "true"]
    assert typed("NaN") == ["NaN"]
    path = ("params", "n")
    assert conditions_of(path, "eq", "42") == [Condition(path, "in", [42, "42"])]
    assert conditions_of(path, "ne", "42") == [Condition(path, "ne", 42), Condition(path, "ne", "42")]
    assert conditions_of(path, "ge", "42") == [Condition(path, "ge", 42)]
    assert conditions_of(path, "starts", "42") == [Condition(path, "starts", "42")]
    assert conditions_of(path, "in", "a, 1") == [Condition(path, "in", ["a", 1, "1"])]
    assert conditions_of(path, "set", "") == [Condition(path, "set")]
    for wrong in (lambda: conditions_of(path, "like", "x"), lambda: conditions_of(("name",), "eq", "x")):
        with pytest.raises(InvalidQuery):
            wrong()


@pytest.mark.parametrize("slug", RANGES)
def test_a_named_range_begins_and_ends_with_days_of_the_zone(slug: str) -> None:
    """This Sunday has 23 hours in Berlin: the clock goes forward."""
    found = range_of(slug, "", "", BERLIN, NOW)
    assert found.end.tzinfo is UTC
    if slug != "24h":
        assert found.end.astimezone(BERLIN).time() == datetime.min.time()
        assert found.start is None or found.start.astimezone(BERLIN).time() == datetime.min.time()
    if slug == "today":
        assert found.start is not None
        assert found.end - found.start == timedelta(hours=23)


def test_a_range_of_ones_own() -> None:
    """The last day is part of it, a moment is its end; a doubled hour is told apart by its offset."""
    found = range_of("", "2026-03-01", "2026-03-03", BERLIN, NOW)
    assert found.start == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert found.end == datetime(2026, 3, 3, 23, tzinfo=UTC)
    assert found.label == "1 Mar 2026 – 3 Mar 2026"
    hour = range_of("", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00", BERLIN, NOW)
    assert hour.start == datetime(2026, 10, 25, 1, tzinfo=UTC)
    for since, until in (
        ("x", ""),
        ("", "2026-03-01"),
        ("2026-03-02", "2026-03-01"),
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", ""),
        ("0001-01-01T00:00:00+14:00", ""),
        ("9999-12-30T00:00Z", "9999-12-31T23:59:59Z"),
    ):
        with pytest.raises(InvalidQuery):
            range_of("", since, until, BERLIN, NOW)
    with pytest.raises(InvalidQuery, match="There is no range"):
        range_of("6d", "", "", BERLIN, NOW)


def test_intervals_suit_the_range() -> None:
    day = timedelta(days=1)
    assert [suiting(NOW, NOW + length * day) for length in (1, 30, 200, 700)] == [
        "hour",
        "day",
        "week",
        "month",
    ]
    assert intervals_for(NOW, NOW + 365 * day) == ["day", "week", "month"]
    assert question("interval=hour&range=12mo").interval == "month"
    assert question("interval=week").interval == "week"


def test_a_question_is_what_the_reports_take() -> None:
    asked = question(
        "alias=default&since=2026-03-01&until=2026-03-02&name=a&name=b&name=a&collection=shop&person=u:7&compare=year"
        '&f=["eq",["params","plan"],"pro"]&f=["ge",["params","n"],3]'
    )
    assert asked.problems == []
    query = asked.query
    assert (query.names, query.collections) == (("a", "b"), ("shop",))
    assert query.where == (Condition(("params", "plan"), "eq", "pro"), Condition(("params", "n"), "ge", 3))
    assert asked.person == Person(user_id="7")
    assert asked.compare == "year"
    assert question().query.names is None


@pytest.mark.parametrize(
    "query, said",
    [
        ("nmae=x", "no parameter 'nmae'"),
        ("alias=nobody", "alias is one of default"),
        ("range=never", "no range"),
        ("f=x", "damaged"),
        ("person=7", "u:USER_ID"),
        ("compare=always", "compare is one of"),
        ("interval=minute", "interval is one of"),
        (f"q={'x' * 30_000}", "too long"),
        ("&".join(f"name={number}" for number in range(101)), "name is given 101 times; 100 are the most"),
        ("&".join(f"collection={number}" for number in range(101)), "collection is given 101 times"),
    ],
)
def test_what_makes_no_sense_is_a_problem(query: str, said: str) -> None:
    """It is never passed over: the figures would answer another question."""
    assert said in " ".join(question(query).problems)


def test_addresses_ask_almost_the_same() -> None:
    asked = question('range=7d&name=a&f=["eq",["params","plan"],"pro"]&by=params.plan&w=900')
    assert (
        asked.url()
        == "?range=7d&name=a&f=%5B%22eq%22%2C%5B%22params%22%2C%22plan%22%5D%2C%22pro%22%5D&by=params.plan"
    )
    assert "by" not in asked.common()
    assert "name=a" in asked.common()
    assert question().common() == ""
    assert question("name=a").url(name=None) == "?"
    more = QueryDict(asked.narrowed(Condition(("params", "n"), "eq", 1))[1:])
    assert len(more.getlist("f")) == 2
    assert question("").to(("user_id",), "7") == "?person=u%3A7"
    assert question("").to(("name",), "a b") == "?name=a+b"
    earlier, later = question("range=yesterday").neighbours()
    assert earlier == "?since=2026-03-27&until=2026-03-27"
    assert later == "?since=2026-03-29&until=2026-03-29"
    assert question("range=today").neighbours()[1] is None
    assert question("range=all").neighbours() == (None, None)


def test_rows_of_forms_become_conditions() -> None:
    """An address that a form makes is turned into the one that everything else writes."""
    found = canonical(QueryDict("fp=params.plan&fo=eq&fv=pro&name=&range=7d&since=2026-03-01&cursor="))
    assert dict(found.lists()) == {"f": ['["eq",["params","plan"],"pro"]'], "range": ["7d"]}
    again = canonical(found)
    assert dict(again.lists()) == dict(found.lists())
    assert dict(canonical(QueryDict("range=custom&since=2026-03-01")).lists()) == {"since": ["2026-03-01"]}
    with pytest.raises(InvalidQuery):
        canonical(QueryDict("fp=plan&fv=pro"))


def test_steps_are_numbered_through() -> None:
    """A step that was emptied is gone, and those behind it move up with what belongs to them."""
    found = canonical(QueryDict("s1=a&s2=&s3=c&s3p=params.n&s3o=ge&s3v=3&x2=d&x2a=2&s5f="))
    assert dict(found.lists()) == {
        "s1": ["a"], "s2": ["c"], "s2f": ['["ge",["params","n"],3]'], "x1": ["d"], "x1a": ["2"],
    }  # fmt: skip
    asked = Question(found, now=NOW)
    assert asked.step("s2") == Step("c", (Condition(("params", "n"), "ge", 3),))
    assert not asked.has_step("s3")


@pytest.mark.parametrize("text, length", [("30m", timedelta(minutes=30)), ("14d", timedelta(days=14))])
def test_a_duration_is_a_number_and_its_unit(text: str, length: timedelta) -> None:
    assert question(f"window={text}").duration("window", "1h") == length
    for wrong in ("0d", "d", "-1d", "1w", "1 d", "100000d"):
        with pytest.raises(InvalidQuery):
            question(f"window={wrong}").duration("window", "1h")
