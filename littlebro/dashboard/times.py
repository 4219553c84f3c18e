"""Buckets and moments in words, in the zone of a report and the language of the reader.

In: moments and a zone. Out: text for axes, tables and addresses. Knows no reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from django.utils.dateformat import format as written

from littlebro.analysis.calendar import Bucket

__all__ = ["ago", "axis_labels", "bucket_bounds", "bucket_titles"]

_TITLES: Final = {
    "hour": "D j M Y, H:i",
    "day": "D j M Y",
    "week": "\\W\\e\\e\\k \\o\\f j M Y",
    "month": "F Y",
}


def axis_labels(buckets: Sequence[Bucket], interval: str, zone: tzinfo) -> list[str]:
    """Return a short label for each bucket; an hour at midnight is named by its day."""
    found = []
    for bucket in buckets:
        local = bucket.start.astimezone(zone)
        if interval == "hour" and local.hour:
            found.append(f"{local:%H:%M}")
        else:
            found.append(written(local, "M Y" if interval == "month" else "j M"))
    return found


def bucket_titles(buckets: Sequence[Bucket], interval: str, zone: tzinfo) -> list[str]:
    """Return a full name for each bucket; an hour that the clock shows twice says its offset."""
    found = [written(bucket.start.astimezone(zone), _TITLES[interval]) for bucket in buckets]
    if interval == "hour":
        twice = (
            {title for title in found if found.count(title) > 1} if len(set(found)) < len(found) else set()
        )
        for place, title in enumerate(found):
            if title in twice:
                found[place] = f"{title} ({buckets[place].start.astimezone(zone):%z})"
    return found


def bucket_bounds(bucket: Bucket, zone: tzinfo) -> tuple[str, str]:
    """Return `since` and `until` of the address that asks for one bucket alone."""
    first, last = bucket.start.astimezone(zone), bucket.end.astimezone(zone)
    if first.time() == last.time() and first.hour == first.minute == 0:
        return first.date().isoformat(), (last.date() - timedelta(days=1)).isoformat()
    return first.isoformat(timespec="seconds"), last.isoformat(timespec="seconds")


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was: just now, 5 min, 3 h, 2 d."""
    seconds = max((now - moment).total_seconds(), 0)
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min ago"
    return f"{seconds // 3_600:.0f} h ago" if seconds < 172_800 else f"{seconds // 86_400:.0f} d ago"
