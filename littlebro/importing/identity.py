"""Ids for imported lines that carry none: made of what the line says and of which one it is among its equals.

So a second import of the same file makes the same ids and stores nothing, while two identical lines in one file
stay two events. Knows nothing of formats, only bytes.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

__all__ = ["Identities"]

_KEY_BYTES: Final = 7


class Identities:
    """The ids of one pass through one file.

    Memory is what remembers each different line: about 80 bytes, since only 7 bytes of its hash are kept. Two lines
    that share those 7 bytes do no harm: the id holds the whole content as well.
    """

    def __init__(self, file_format: str) -> None:
        self._base = blake2b(digest_size=16, person=b"littlebro-import")
        self._base.update(file_format.encode() + b"\n")
        self._seen: dict[int, int] = {}

    def of(self, content: bytes) -> str:
        """Return the id for the next line with this `content`: 32 hexadecimal digits."""
        state = self._base.copy()
        state.update(content)
        key = int.from_bytes(state.digest()[:_KEY_BYTES])
        occurrence = self._seen.get(key, 0)
        self._seen[key] = occurrence + 1
        if occurrence:
            state.update(b"\n%d" % occurrence)
        return state.hexdigest()
