"""Events of one moment: how many successive steps they can satisfy, each step by an event of its own.

A moment is what somebody did at one timestamp; its pattern lists, for each of its events, the steps that the event
satisfies, as bits (bit 0 is the first step). SQL brings the few patterns that occur, and goes on with the answers.
Knows no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["MOST_STEPS", "furthest", "packed", "strict_course", "whole"]

MOST_STEPS = 15
_BITS = 4  # of one answer in a packed number: 15 answers from 0 to 15 fill 60 bits


def furthest(pattern: Sequence[int], steps: int) -> list[int]:
    """Return for each number of steps done before how many are done after this moment.

    Order within a moment is free: steps i+1 to j are done where each can be given an event of its own.
    """
    counts = Counter(pattern)
    events = [mask for mask, n in counts.items() if mask for _ in range(min(n, steps))]
    return [_run(events, done, steps) for done in range(steps)]


def whole(pattern: Sequence[int], steps: int) -> list[bool]:
    """Return for each number of steps done before whether every event here can be one of the next steps."""
    if len(pattern) > steps or not all(pattern):
        return [False] * steps
    return [
        done + len(pattern) <= steps and _run(pattern, done, done + len(pattern)) == done + len(pattern)
        for done in range(steps)
    ]


def packed(pattern: Sequence[int], steps: int) -> int:
    """Return `furthest` as one number, four bits an answer; 0 where nothing is gained."""
    return sum(far << (_BITS * done) for done, far in enumerate(furthest(pattern, steps)) if far > done)


def strict_course(moments: Sequence[Sequence[int]], steps: int) -> list[int]:
    """Return for each step of the best strict attempt which of these moments it falls on; empty for no attempt.

    `moments` are the patterns of one person's successive moments, of all that was seen of them; the attempt starts
    in the first one, where it may use any of the events, as the last ones of that moment. Best is the most steps,
    then each as early as can be.
    """
    best: list[int] = []
    for used in range(furthest(moments[0], steps)[0], 0, -1):
        course = [0] * used
        for place, pattern in enumerate(moments[1:], 1):
            done = len(course)
            if done == steps:
                break
            if whole(pattern, steps)[done]:
                course += [place] * len(pattern)
            else:
                course += [place] * (furthest(pattern, steps)[done] - done)
                break
        if (-len(course), course) < (-len(best), best):
            best = course
    return best


def _run(events: Sequence[int], done: int, end: int) -> int:
    """Return up to which step, at most `end`, the steps after `done` find events of their own (Kuhn's matching)."""
    holder: dict[int, int] = {}

    def place(step: int, tried: set[int]) -> bool:
        for index, mask in enumerate(events):
            if mask >> step & 1 and index not in tried:
                tried.add(index)
                if index not in holder or place(holder[index], tried):
                    holder[index] = step
                    return True
        return False

    for step in range(done, end):
        if not place(step, set()):
            return step
    return end
