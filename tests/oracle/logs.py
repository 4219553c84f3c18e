"""Random logs for the reports: small, and full of what goes wrong.

Ties and duplicate clicks, moments around changes of the clock and at midnights of several zones, mixed types,
odd keys, people who start anonymous, people whose device others used before them, and events of nobody.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from littlebro import Event

NAMES = ("view", "basket", "pay", "login")
USERS = ("1", "2", "ann", "other")
DEVICES = ("d1", "d2", "1")
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe",
    "America/Santiago", "Pacific/Apia", "Africa/Casablanca",
)  # fmt: skip
# Around a change of the clock in the zones above, or nothing special.
CENTRES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 9, 6, 4, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 6, 30, 23, 30, tzinfo=UTC),
)
KEYS = ("plan", "a.b", "$n", "", "0", "~/")
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["pro", "free", "", "other", "1", "none", "Ä\u202eb", "null", "'; --"]),
    st.sampled_from([0, 1, 2, -3, 10, 1.0, 2.5, -0.5, 1e20, 2**63, 2**64 - 1, 12345678901234567890]),
    st.sampled_from([None, True, False, [], [1, "1"], {"k": [1]}, {"0": "x"}, ["pro"]]),
)


def moments(centre: datetime) -> st.SearchStrategy[datetime]:
    """Return moments near `centre`: whole hours often, the same ones often, single microseconds apart now and then."""
    minutes = st.sampled_from([0, 0, 0, 1, 15, 29, 30, 31, 45, 59])
    return st.builds(
        lambda hours, minutes, micro: centre + timedelta(hours=hours, minutes=minutes, microseconds=micro),
        st.one_of(st.integers(-6, 6), st.integers(-24 * 5, 24 * 5), st.integers(-24 * 40, 24 * 40)),
        minutes,
        st.sampled_from([0, 0, 0, 0, 1, -1]),
    )


def crowded(centre: datetime) -> st.SearchStrategy[datetime]:
    """Return moments within two hours of `centre`, whole half hours: gaps and windows are met to the microsecond."""
    return st.builds(
        lambda halves, micro: centre + timedelta(minutes=30 * halves, microseconds=micro),
        st.integers(-2, 3),
        st.sampled_from([0, 0, 0, 0, 0, 1]),
    )


def events(centre: datetime, most: int = 25) -> st.SearchStrategy[list[Event]]:
    """Return logs of up to `most` events in the order of storing, which is not that of time.

    Some are spread over weeks and people; some are the crowded hours of one or two.
    """
    spread = _one(moments(centre), [None, None, *USERS], [None, *DEVICES])
    dense = _one(crowded(centre), ["1", "1", "1", "2"], [None])
    return st.builds(
        _logged,
        st.one_of(st.lists(spread, max_size=most), st.lists(dense, min_size=most // 4, max_size=most // 2)),
        st.randoms(use_true_random=False),
    )


def _one(
    times: st.SearchStrategy[datetime], users: list[str | None], devices: list[str | None]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "name": st.sampled_from(NAMES),
            "timestamp": times,
            "params": st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
            "context": st.dictionaries(st.sampled_from(KEYS[:2]), VALUES, max_size=1),
            "user_id": st.sampled_from(users),
            "anonymous_id": st.sampled_from(devices),
            "collection": st.sampled_from(["littlebro"] * 5 + ["audit"]),
        }
    )


def _logged(given: list[dict[str, Any]], random: Any) -> list[Event]:
    ids = [f"e{number:02}" for number in range(len(given))]
    random.shuffle(ids)
    return [
        Event(id=name, received_at=fields["timestamp"], **fields)
        for name, fields in zip(ids, given, strict=True)
    ]


def zones() -> st.SearchStrategy[ZoneInfo]:
    """Return a zone."""
    return st.sampled_from([ZoneInfo(name) for name in ZONES])
