"""Sets of people as bits: a set is an integer, and each person's number stands for one of its bits.

In: SQL of events, each in a cell. Out: the people of each cell, links followed, and their events. Unions, differences
and counts are Python's own, on integers; a set of 200,000 people has 25 kB.
"""

# ruff: noqa: S608 - names and numbers of our own

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from littlebro.analysis.reader import Reader

__all__ = ["Crowd", "crowds", "gathered", "members", "members_in", "most_cells"]

_MOST_BYTES: Final = 32 * 1024**2  # of all sets of one question; the engine needs a few times as much


class Crowd(NamedTuple):
    """The people of a cell as bits, and how many events are theirs."""

    people: int = 0
    events: int = 0

    def __or__(self, other: Crowd) -> Crowd:
        """Return both together."""
        return Crowd(self.people | other.people, self.events + other.events)

    @property
    def size(self) -> int:
        """Return how many people there are."""
        return self.people.bit_count()


def most_cells(reader: Reader) -> int:
    """Return how many sets fit into the memory meant for them."""
    low, high = reader.numbers
    return 8 * _MOST_BYTES // max(high - low, 1)


def members(events: str = "events") -> str:
    """Return SQL of a relation of events with the number of each one's person, links followed, as ``member``."""
    return (
        f"(SELECT e.*, coalesce(pairs.person, number) AS member FROM {events} e"
        " LEFT JOIN pairs ON pairs.anon = CASE WHEN number < 0 THEN number END)"
    )


def members_in(table: str) -> str:
    """Return what `members` does, of the people in the column ``person`` of `table`, their numbers.

    Their events are found by the numbers that these bear, before links are followed on all events.
    """
    people = f"SELECT person FROM {table}"
    numbers = f"{people} UNION ALL SELECT anon FROM pairs WHERE person IN ({people})"
    return members(f"(FROM events WHERE number IN ({numbers}))")


def crowds(reader: Reader, cell: str, source: str, parameters: Mapping[str, Any]) -> dict[Any, Crowd]:
    """Return the people of each `cell`, an expression, of ``FROM … WHERE …`` over ``events``; NULL is no cell."""
    return gathered(
        reader,
        f"SELECT cell, member AS person FROM {members(f'(SELECT {cell} AS cell, number {source})')}"
        " WHERE cell IS NOT NULL AND member IS NOT NULL",
        parameters,
    )


def gathered(reader: Reader, rows: str, parameters: Mapping[str, Any] | None = None) -> dict[Any, Crowd]:
    """Return the people of each cell of the relation `rows`: cell, person (a number, links followed)."""
    low, high = reader.numbers
    sql = f"SELECT cell, bitstring_agg(person, {low}, {max(low, high - 1)})::BLOB, count(*) FROM ({rows}) GROUP BY cell"
    return {cell: Crowd(int.from_bytes(bits), n) for cell, bits, n in reader.rows(sql, parameters)}
