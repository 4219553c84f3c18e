"""Charts: nothing but attributes that a strict policy allows, round scales, gaps where there is no value."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import littlebro
from littlebro.dashboard.charts import Chart, Line, Mark, bar, draw, spark, ticks
from littlebro.dashboard.flows import Band, Node, flow
from littlebro.dashboard.numbers import change, compact, duration, exact, percent

ROOT = Path(littlebro.__file__).parent
numbers = st.none() | st.integers(-(10**9), 10**12) | st.floats(-1e12, 1e12, allow_nan=False)


def chart(*lines: Line, **fields: object) -> Chart:
    count = len(lines[0].values) if lines else 0
    words = [str(number) for number in range(count)]
    return Chart(name="<n>", lines=lines, labels=words, titles=words, **fields)  # type: ignore[arg-type]


@given(
    values=st.lists(numbers, min_size=1, max_size=12),
    kind=st.sampled_from(["line", "bar"]),
    width=st.integers(280, 2000),
)
def test_whatever_is_drawn_is_inside_and_well_formed(
    values: list[float | None], kind: str, width: int
) -> None:
    other = [None if value is None else -value for value in values]
    svg = draw(
        chart(
            Line("a", values, "0"), Line("b", other, "1"), Line("b", values, "1", dashed=True), kind=kind, width=width,
            partial=[True] * len(values), marks=[Mark(0, "</title><script>")], links=["?a&b"] * len(values),
        )
    )  # fmt: skip
    root = ElementTree.fromstring(svg)
    assert not [element for element in root.iter() if "style" in element.attrib]
    for element in root.iter():
        for name in ("x", "cx", "x1", "x2"):
            assert -1 <= float(element.get(name, "0").rstrip("%")) <= width + 1
        for name in ("y", "cy", "y1", "y2"):
            assert -1 <= float(element.get(name, "0")) <= 281
        assert float(element.get("height", "0").rstrip("%")) >= 0
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize("kind", ["line", "bar"])
@pytest.mark.parametrize("ends", [(1.7e308, -1.7e308), (math.inf, -math.inf), (10**400, 1), (math.nan, 5)])
def test_values_at_the_end_of_numbers_are_drawn(ends: tuple[float, float], kind: str) -> None:
    """One event may hold such a number; the axis says that it is far away."""
    svg = draw(chart(Line("a", [*ends, 1, None], "0"), Line("b", [*ends, 1, None], "1"), kind=kind))
    for element in ElementTree.fromstring(svg).iter():
        for name, most in (("x", 961), ("x1", 961), ("y", 281), ("cy", 281), ("y1", 281), ("height", 281)):
            assert -1 <= float(element.get(name, "0").rstrip("%")) <= most
    assert "nan" not in svg
    assert "inf" not in svg


@given(low=st.floats(-1e12, 0), high=st.floats(0, 1e12))
def test_scales_are_round_and_hold_everything(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found == sorted(set(found))
    unseen = 1e-6 * (high - low + 1)
    assert found[0] <= low + unseen
    assert found[-1] >= high - unseen
    assert len(found) <= 8


def test_a_line_breaks_where_there_is_no_value() -> None:
    """A value alone is a dot; what is not whole is drawn broken."""
    svg = draw(chart(Line("a", [1, 2, None, 4, None, 5, 6], "0"), partial=[False] * 5 + [False, True]))
    assert len(re.findall("M", re.findall(r'lb-solid" d="([^"]*)"', svg)[0])) == 1
    assert re.findall(r'lb-broken" d="M', svg)
    assert '<circle class="lb-dot" ' in svg


def test_a_chart_of_nothing_is_drawn() -> None:
    assert "<svg" in draw(chart())
    assert "<svg" in draw(chart(Line("a", [None, None], "0")))
    assert spark([1]) == ""
    assert "lb-spark" in spark([0, 0, 0])
    assert 'width="0%"' in bar(0, 0)
    assert 'width="100%"' in bar(7, 5)


@pytest.mark.parametrize("many", [400, 3_000])
def test_many_buckets_stay_small(many: int) -> None:
    lines = [Line(str(number), list(range(many)), "0") for number in range(8)]
    assert len(draw(chart(*lines))) < many * 900


def test_flows_are_as_wide_as_their_columns_need() -> None:
    nodes = [
        Node("a", 0, 10, "<a>", "a: 10"),
        Node("b", 1, 7, "b" * 90, "b: 7", href="?from=b"),
        Node("c", 1, 0, "c", "c"),
    ]
    svg = flow(nodes, [Band("a", "b", 7, "a → b")], ["Start", "Step 1"], name="n", width=200)
    root = ElementTree.fromstring(svg)
    assert root.get("width") == "340"
    assert "…" in svg
    assert "&lt;a&gt;" in svg
    assert 'data-href="?from=b"' in svg
    assert "<svg" in flow([], [], [], name="n", width=200)


def test_figures_are_short_or_exact() -> None:
    assert [compact(value) for value in (0, 999, 999.6, 1_000, 12_345, 999_999, 34e6, 2.5, None)] == [
        "0", "999", "1k", "1k", "12.3k", "1M", "34M", "2.5", "–",
    ]  # fmt: skip
    assert [exact(value) for value in (1_234_567, 1.0, 1234.567, 0.01234, None, -5)] == [
        "1,234,567", "1", "1,234.57", "0.0123", "–", "-5",
    ]  # fmt: skip
    assert [percent(*pair) for pair in ((1, 3), (0, 3), (3, 3), (1, 0), (None, 3), (1, 10_000))] == [
        "33.3%", "0%", "100%", "–", "–", "<0.1%",
    ]  # fmt: skip
    assert [duration(value) for value in (0.4, 9, 60, 3_661, 90_000, None)] == [
        "0.4 s",
        "9 s",
        "1m",
        "1h 1m",
        "1d 1h",
        "–",
    ]


def test_changes_say_where_they_come_from() -> None:
    def said(now: float | None, before: float | None) -> tuple[str, str] | None:
        found = change(now, before)
        return None if found is None else (found.text, found.tone)

    assert said(150, 100) == ("50%", "up")
    assert said(97, 100) == ("3.0%", "down")
    assert said(5, 0) == ("new", "up")
    assert said(0, 0) == said(3, 3) == ("0%", "same")
    assert said(-1, -2) == ("50%", "up")
    assert said(None, 1) is said(1, None) is None


def test_both_dark_palettes_are_one() -> None:
    """What a system that is dark asks for is what the admin's own switch asks for."""
    sheet = (ROOT / "static/littlebro/dashboard.css").read_text()
    palettes = [
        re.findall(r"(--lb-d-[\w-]+): ([^;]+);", block)
        for block in re.findall(r":root:(?:not|is)\([^)]*\) \{([^}]*)\}", sheet)
    ]
    assert len(palettes) == 2
    assert palettes[0] == palettes[1] != []
