"""From the engine's number for a person back to the person.

In: 64-bit keys, as ``people.person`` holds them. Out: `Person`s. A key is one that events or links of the reader bear.
"""

from __future__ import annotations

from collections.abc import Sequence

from littlebro.analysis.question import Person
from littlebro.analysis.reader import Reader

__all__ = ["people_of"]

_EVENTS = (
    "SELECT who, any_value(user_id), any_value(anonymous_id) FROM events"
    " WHERE who IN (SELECT unnest($keys::UBIGINT[])) GROUP BY who"
)
_LINKS = (
    "SELECT person, any_value(user_id) FROM links"
    " WHERE person IN (SELECT unnest($keys::UBIGINT[])) GROUP BY person"
)


def people_of(reader: Reader, keys: Sequence[int]) -> list[Person]:
    """Return the person of each key, in the same order."""
    if not keys:
        return []
    found = {key: Person(user_id=user) for key, user in reader.rows(_LINKS, {"keys": list(keys)})}
    rest = [key for key in keys if key not in found]
    if rest:
        for key, user, anonymous in reader.rows(_EVENTS, {"keys": rest}):
            found[key] = Person(user_id=user) if user is not None else Person(anonymous_id=anonymous)
    return [found[key] for key in keys]
