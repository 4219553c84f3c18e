"""The people of windows that overlap: of the 7 or 30 days that end with each bucket of a trend; and what a range gave.

In: a question, a range and its buckets. Out: `Found`. The rules stand in `trend`.
"""

# ruff: noqa: S608 - names and numbers of our own; values are parameters

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import accumulate
from typing import Any, Final

from littlebro.analysis.calendar import Bucket, back
from littlebro.analysis.grouping import Question, index_sql, keys_sql, rows
from littlebro.analysis.question import Span, microseconds
from littlebro.analysis.reader import Reader

__all__ = ["ROLLING", "Found", "rolling"]

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
ROLLING: Final = {"weekly_people": timedelta(days=7), "monthly_people": timedelta(days=30)}


class Found:
    """What one range gave: values by series and bucket, totals, the values' texts, and which series have events."""

    def __init__(self, tops: Sequence[str] | None) -> None:
        self.values: dict[int, dict[int, Any]] = defaultdict(dict)
        self.totals: dict[int, Any] = {}
        self.tops = list(tops or ())
        self.given = tops is not None
        self.present: set[int] = set()

    def saw(self, series: int, text: str | None) -> None:
        """Note that a series has events, and what its value is."""
        self.present.add(series)
        if text is not None and not self.given:
            self.tops += [""] * (series + 1 - len(self.tops))
            self.tops[series] = text


def rolling(
    reader: Reader, asked: Question, span: Span, whole: list[Bucket], tops: list[str] | None
) -> Found:
    """Count the people of windows that overlap.

    Time is cut where windows begin and end. A cell between two cuts lies in neighbouring windows; a person counts
    in each of them once: from the first that their cell before did not reach.
    """
    length = ROLLING[asked.measure or ""]
    starts = list(accumulate((_opens(bucket, span.zone, length) for bucket in whole), max))
    ends = [min(bucket.end, span.end) for bucket in whole]
    marks = sorted({*starts, *ends, span.start})
    cells = marks[:-1]
    first = [bisect_right(ends, cell) for cell in cells]  # the first window that ends behind the cell's start
    last = [bisect_right(starts, cell) - 1 for cell in cells]  # the last that has begun there
    inside = bisect_left(cells, span.start)
    selected = rows(asked, reader, marks[0], span.end)
    keys, given = keys_sql(asked, selected, tops)
    index = index_sql("ts", [microseconds(cut) for cut in marks])
    sql = (
        f"WITH r AS MATERIALIZED (SELECT {selected.raw} AS k, {index} AS b, {selected.who} AS who,"
        f" count(*) FILTER (ts >= {microseconds(span.start)}) AS n {selected.source} GROUP BY ALL), {keys},"
        " g AS (SELECT s, b, who FROM r JOIN keys ON keys.k IS NOT DISTINCT FROM r.k WHERE who IS NOT NULL),"
        f" p AS MATERIALIZED (SELECT DISTINCT s, b, {selected.person} AS p FROM g {selected.links}),"
        " w AS (SELECT b, f, l FROM (SELECT unnest(range(len($first::INT[]))) AS b, unnest($first::INT[]) AS f,"
        " unnest($last::INT[]) AS l) WHERE f <= l),"
        " c AS (SELECT s, l, greatest(f, 1 + coalesce(max(l) OVER (PARTITION BY s, p ORDER BY b"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1)) AS f FROM p JOIN w USING (b))"
        " SELECT s, f AS at, count(*) AS n, NULL AS text FROM c WHERE f <= l GROUP BY s, f"
        " UNION ALL SELECT s, l + 1, -count(*), NULL FROM c WHERE f <= l GROUP BY s, l"
        f" UNION ALL SELECT s, -1, count(DISTINCT p), NULL FROM p WHERE b >= {inside} GROUP BY s"
        " UNION ALL SELECT s, -2, 0, max(text) FROM keys GROUP BY s HAVING sum(n) > 0"
    )
    more = given | {"first": first, "last": last}
    found = Found(tops)
    changes: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for series, at, count, text in reader.rows(sql, selected.values(sql, more)):
        if at == -2:
            found.saw(series, text)
        elif at == -1:
            found.totals[series] = count
        else:
            changes[series][at] += count
    for series, steps in changes.items():
        found.values[series] = dict(enumerate(accumulate(steps[i] for i in range(len(whole)))))
    return found


def _opens(bucket: Bucket, zone: tzinfo, length: timedelta) -> datetime:
    """Return where the window that ends with `bucket` begins: with the calendar, where it would before."""
    try:
        return back(bucket.end, zone, wall=length)
    except OverflowError:
        return _FIRST
