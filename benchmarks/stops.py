"""Tells how often the machine stops a process, whatever that does: a hypervisor, its other guests, a timer.

In a process: its own time. Out: a rate, to tell apart what code does and what is done to it.
"""

from time import perf_counter_ns

__all__ = ["stops"]

_STOP_NS = 1_000


def stops(seconds: float = 0.01) -> float:
    """Return how many times a second a loop that only reads the clock stands still for a microsecond or more."""
    clock, met = perf_counter_ns, 0
    start = last = clock()
    end = start + int(seconds * 1e9)
    while last < end:
        now = clock()
        if now - last >= _STOP_NS:
            met += 1
        last = now
    return met / (last - start) * 1e9
