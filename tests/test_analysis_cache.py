"""What answers are kept for: those of an earlier state of a store are let go, not only passed by."""

import gc
from datetime import timedelta, timezone
from typing import Any

from littlebro import EventQuery
from littlebro.analysis import breakdown, trend
from littlebro.analysis.cache import _Answers
from littlebro.storage.handler import backends
from tests.analysis_logs import DAY, T0, event, fill


def kept() -> bytes:
    """Return all answers that this process keeps, as bytes."""
    found = [
        each for each in gc.get_objects() if type(each) is _Answers
    ]  # isinstance would wake lazy objects
    return b"".join(answer for answers in found for answer in answers._kept.values())


def test_answers_about_a_forgotten_person_go_with_the_next_question(settings: Any) -> None:
    """An erased value is in no byte that is kept once somebody has asked again; another store's answers stay."""
    fill(settings, [event(1, params={"plan": "of somebody who leaves"}, who="u7"), event(1, who="u8")])
    settings.LITTLEBRO = {**settings.LITTLEBRO, "other": {"BACKEND": "memory", "LOCATION": "of another"}}
    backends["other"].save_many([event(1, params={"plan": "of somebody who stays"})])
    query = EventQuery(start=T0, end=T0 + 2 * DAY)
    for alias in ("default", "other"):
        breakdown(query, by=("params", "plan"), alias=alias)
    assert b"who leaves" in kept()
    backends["default"].delete_many(EventQuery(user_id="7"))
    breakdown(EventQuery(start=T0, end=T0 + timedelta(days=1)), by=("params", "plan"))
    assert b"who leaves" not in kept()
    assert b"who stays" in kept()


def test_zones_of_one_name(settings: Any) -> None:
    """Two offsets that somebody gave the same name are two calendars."""
    fill(settings, [event(0.9)])
    query = EventQuery(start=T0, end=T0 + 2 * DAY)
    zones = [timezone(timedelta(hours=hours), "home") for hours in (1, 9)]
    assert [trend(query, tz=zone).series[0].values for zone in zones] == [[1, 0, 0], [0, 1, 0]]
    assert trend(query, tz=zones[1]).table().rows[0][0].utcoffset() == timedelta(hours=9)
