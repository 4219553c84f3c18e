"""What a format makes of a line: a record, or the reason why there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

from littlebro.exceptions import LittlebroError

__all__ = ["BadLine", "Record"]


class BadLine(LittlebroError, ValueError):
    """Say what is wrong with one line or record; `reason` never holds the content itself.

    `line` is the number of the line where the record starts, counted from 1; 0 where the raiser cannot know it.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}" if self.line else self.reason


class Record(NamedTuple):
    """One event to be: `arguments` are those of `track_event`, with `context` and `received_at` besides.

    `content` is what an id is made of where the arguments hold no `event_id`.
    """

    line: int
    content: bytes
    arguments: dict[str, Any]
