"""What the pen of a journal leaves to a thread of its own: to seal a full segment, and to have the next one ready.

A file system takes milliseconds to create a file beside many that wait, to find memory for its pages, and to rename
it; the courier, who has time, is held up in just the outages in which files pile up. A spare is a private file, so
nobody adopts it; that of a process which was killed is removed like any torn private file.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from littlebro.delivery.segment import Segment
from littlebro.delivery.worker import Worker

__all__ = ["Assistant"]

_STOP_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 3600.0


class Assistant(Worker):
    """Whenever called, it lets `seal()` do its work, and then keeps one segment ready that `make()` makes.

    Whatever is amiss with that, `take` gives None, and the pen makes its own.
    """

    def __init__(self, name: str, seal: Callable[[], None], make: Callable[[], Segment]) -> None:
        self._seal = seal
        self._make = make
        super().__init__(f"{name}-assistant")

    def reset(self) -> None:
        """Start from nothing, in a fresh process: what was inherited is the parent's."""
        super().reset()
        # Deques, since one thread puts in and any other may take out, in one step each.
        self._spare: deque[Segment] = deque()
        self._useless: deque[Segment] = deque()

    @property
    def has_spare(self) -> bool:
        """Whether the next segment is ready."""
        return bool(self._spare)

    def take(self, size: int) -> Segment | None:
        """Return a segment in its place with room for `size` bytes, or None where none is ready."""
        try:
            if self._spare[0].capacity < size:
                return None
            segment = self._spare.popleft()
        except IndexError:  # none is ready, or the thread was told to end
            return None
        with suppress(OSError):  # it was deleted, or its folder moved, or takes no names for now
            segment.take_place()
            return segment
        self._useless.append(segment)
        return None

    def run(self, shift: int) -> None:
        """Do what the pen left; at the end remove the spare."""
        while self.is_on(shift):
            self._seal()
            self._clear(self._useless)
            if not self._spare:
                with suppress(OSError):  # the pen will meet the same, and tell
                    self._spare.append(self._make())
            self.wait(_IDLE_SECONDS)
        self._clear(self._spare, self._useless)

    def close(self) -> None:
        """End the thread, and remove the spare; a later `start` begins anew."""
        self.stop(_STOP_SECONDS)
        self._clear(self._spare, self._useless)

    @staticmethod
    def _clear(*segments: deque[Segment]) -> None:
        for each in segments:
            while each:
                with suppress(IndexError):  # another thread was quicker
                    each.popleft().discard()
