"""The counters of losses: how often, and why, an event was refused, dropped or set aside.

Every place that lets go of an event counts it here, by alias and reason. Where the alias has a journal the
counts travel through it and are summed into `LossCount` by the delivering side (`drain`, `store`); where it has
none, `status` of the same process shows them. The log tells of the first of each reason, at the level INFO.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from littlebro.delivery.batch import shown

__all__ = ["REASONS", "compact", "count", "count_held", "drain", "held_back", "pending", "restore", "store"]

REASONS: Final[Mapping[str, str]] = {
    "invalid": "The caller's input was refused; strict mode would have raised.",
    "invalid-context": "A bound value or a fact from an enricher was left out of the event.",
    "opted-out": "The visitor's browser asks not to be tracked (LITTLEBRO_RESPECT).",
    "dropped": "A plugin's littlebro_drop_event gave a reason; it follows the colon.",
    "hook-failed": "A plugin raised; the event went on without it. The plugin follows the colon.",
    "redactor-failed": "A redacting plugin raised, so the event was dropped. The plugin follows the colon.",
    "hook-conflict": "Two plugins gave the same key; the first one won.",
    "journal-full": "The journal holds MAX_BYTES, or its disk is full.",
    "journal-unavailable": "The journal's folder takes no file.",
    "not-stored": "The backend failed, and the tracker has no journal to keep the event.",
    "inside-delivery": "The event was tracked by code that was delivering events.",
    "forgotten": "The event belongs to a person who was forgotten.",
    "sink-full": "A sink owes SINK_MAX_BYTES already, the event skipped it. The sink follows the colon.",
    "dead-letter": "A backend or sink refused the event for good; it is among the dead letters.",
    "params-callable": "The params callable of a decorator raised; the event went without them.",
    "other": "More different reasons than are counted one by one.",
    "internal": "A bug of littlebro's own; the log has the traceback.",
}

# Counts are bounded too: reasons come from plugins, which may put anything there.
_MOST_REASONS: Final = 1000

logger = logging.getLogger("littlebro")
_lock = threading.RLock()
_counts: Counter[tuple[str, str]] = Counter()
_holding = threading.local()


def _start_anew() -> None:
    """Forget, in a forked child, the parent's counts and a lock that another thread may have held."""
    global _lock  # noqa: PLW0603 - one lock a process is the point
    _lock = threading.RLock()
    _counts.clear()


os.register_at_fork(after_in_child=_start_anew)


def count(alias: str, reason: str, n: int = 1, level: int = logging.INFO) -> None:
    """Count `n` events of `alias` as lost for `reason`: one of `REASONS`, with details after a colon.

    The first since the counts were taken is logged at `level`.
    """
    reason = shown(reason)[:200]
    held: Counter[tuple[str, str]] | None = getattr(_holding, "counts", None)
    if held is not None:
        held[alias, reason] += n
        return
    # Told when it is counted: a handler of logs that tracks may lose an event, too.
    if _add(alias, reason, n):
        why = REASONS.get(reason.partition(":")[0], "")
        logger.log(level, "littlebro[%s]: events are lost, and counted as %s. %s", alias, reason, why)


def _add(alias: str, reason: str, n: int) -> bool:
    """Add `n` to a count; return whether it is the first of its kind since the counts were taken."""
    with _lock:
        if (alias, reason) not in _counts and len(_counts) >= _MOST_REASONS:
            reason = "other"
        before = _counts[alias, reason]
        _counts[alias, reason] = before + n
        return n > 0 == before


@contextmanager
def held_back() -> Iterator[Counter[tuple[str, str]]]:
    """Hold back what this thread counts in the block, and give it: (alias, reason) to number.

    For what is tried again and again: whoever asked counts it once (`count_held`), when it is done.
    """
    outer = getattr(_holding, "counts", None)
    counts: Counter[tuple[str, str]] = Counter()
    _holding.counts = counts
    try:
        yield counts
    finally:
        _holding.counts = outer


def count_held(counts: Mapping[tuple[str, str], int]) -> None:
    """Count what was held back."""
    for (alias, reason), n in counts.items():
        count(alias, reason, n)


def pending(alias: str) -> dict[str, int]:
    """Return this process's counts of `alias` that no journal has taken yet."""
    with _lock:  # copied first: a signal handler may count in the middle of the walk
        return {reason: n for (owner, reason), n in list(_counts.items()) if owner == alias and n}


def drain(alias: str) -> dict[str, int]:
    """Take the counts of `alias` out, to be written; `restore` puts them back where that fails."""
    with _lock:  # one by one, since what a signal handler counts meanwhile must not go with what is taken
        keys = [key for key in list(_counts) if key[0] == alias]
        return {key[1]: n for key in keys if (n := _counts.pop(key, 0))}


def restore(alias: str, taken: Mapping[str, int]) -> None:
    """Put counts back that could not be written."""
    for reason, n in taken.items():
        _add(alias, reason, n)


def store(notes: Iterable[Mapping[str, Any]], source: str) -> None:
    """Sum the counts that one segment carried into `LossCount`.

    `source` is the segment's name, where a note does not say it itself: delivered twice, it counts once.
    """
    from littlebro.models import LossCount  # noqa: PLC0415 - models need a configured Django

    sums: Counter[tuple[str, str, date, str]] = Counter()
    for note in notes:
        day = date.fromisoformat(note["day"])
        for reason, n in note["counts"].items():
            sums[note["alias"], reason, day, note.get("source", source)] += n
    LossCount.objects.bulk_create(
        [
            LossCount(alias=alias, reason=reason, day=day, source=segment, n=n)
            for (alias, reason, day, segment), n in sums.items()
        ],
        ignore_conflicts=True,
    )


def compact(keep_days: int = 3) -> None:
    """Sum the counts of single segments, where older than `keep_days`, into one row an alias, reason and day.

    Younger rows stay single: their segments may come again, and must not count twice.
    """
    from django.db import router, transaction  # noqa: PLC0415 - needs a configured Django
    from django.db.models import F  # noqa: PLC0415 - as above

    from littlebro.models import LossCount  # noqa: PLC0415 - as above

    old = LossCount.objects.filter(day__lt=datetime.now(UTC).date() - timedelta(days=keep_days)).exclude(
        source=""
    )
    with transaction.atomic(using=router.db_for_write(LossCount)):
        rows = list(old.select_for_update().values_list("pk", "alias", "reason", "day", "n"))
        sums: Counter[tuple[str, str, date]] = Counter()
        for _, alias, reason, day, n in rows:
            sums[alias, reason, day] += n
        for (alias, reason, day), n in sums.items():
            row, _ = LossCount.objects.get_or_create(alias=alias, reason=reason, day=day, source="")
            LossCount.objects.filter(pk=row.pk).update(n=F("n") + n)
        for start in range(0, len(rows), 500):
            LossCount.objects.filter(pk__in=[row[0] for row in rows[start : start + 500]]).delete()


def note(alias: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the journal line, as a mapping, that carries `counts`."""
    return {
        "littlebro": "loss",
        "alias": alias,
        "day": datetime.now(UTC).date().isoformat(),
        "counts": dict(counts),
    }
