"""Where imported lines come from: a file or standard input, plain or gzip, read with flat memory.

In goes a path, out come numbered lines as bytes, no longer than `MAX_LINE`; also how far the reading has come,
for the progress line. Knows nothing of formats and events.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from littlebro.exceptions import LittlebroError
from littlebro.importing.records import BadLine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_LINE", "Source", "SourceError", "open_source"]

MAX_LINE: Final = 1024 * 1024

_GZIP: Final = b"\x1f\x8b"
_OTHER_COMPRESSION: Final = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"\xfd7zXZ\x00": ("xz", "xzcat"),
    b"BZh": ("bzip2", "bzcat"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
_MAGIC_LENGTH: Final = max(map(len, _OTHER_COMPRESSION))


class SourceError(LittlebroError):
    """Say why a file cannot be read, or not to its end."""


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already; a pipe cannot be wound back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head = head
        self._rest = rest
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


class _Unpacked(io.RawIOBase):
    """What a gzip stream holds, a piece at a time: where it breaks off, the pieces before that were handed out."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__()
        self._file = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Source:
    """The lines of one file.

    `size` is its length on disk in bytes, None for standard input; `position` says how many of them were read.
    """

    def __init__(self, name: str, raw: _Rejoined, stream: IO[bytes], size: int | None) -> None:
        self.name = name
        self.size = size
        self._raw = raw
        self._stream = stream

    @property
    def position(self) -> int:
        """Return how many bytes, as they lie on disk, were read so far."""
        return self._raw.position

    def lines(self) -> Iterator[tuple[int, bytes | BadLine]]:
        """Yield (number, line with its end), or in place of the line a `BadLine` for one that is too long.

        Raises `SourceError` where the file breaks off or is damaged; the lines before that are good.
        """
        number = 0
        while True:
            number += 1
            line = self._readline(number)
            if not line:
                return
            if len(line) <= MAX_LINE:
                yield number, line
                continue
            while line and not line.endswith(b"\n"):
                line = self._readline(number)
            yield number, BadLine(f"the line is longer than {MAX_LINE} bytes", number)

    def _readline(self, number: int) -> bytes:
        try:
            return self._stream.readline(MAX_LINE + 1)
        except EOFError as error:
            message = (
                f"{self.name} breaks off in line {number}: the gzip data has no end. Was the copy complete?"
            )
            raise SourceError(message) from error
        except (OSError, zlib.error) as error:
            raise SourceError(f"{self.name} cannot be read beyond line {number}: {error}") from error


@contextlib.contextmanager
def open_source(path: str) -> Iterator[Source]:
    """Open `path` for reading, ``-`` being standard input; gzip is told by its first bytes, not by the name.

    Raises `SourceError` for what cannot be opened, and for a compression other than gzip.
    """
    with contextlib.ExitStack() as stack:
        if path == "-":
            name, opened, size = "standard input", _standard_input(), None
        else:
            name = path
            try:
                opened = stack.enter_context(Path(path).open("rb"))
                size = Path(path).stat().st_size
            except OSError as error:
                raise SourceError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            head = opened.read(_MAGIC_LENGTH)
        except OSError as error:
            raise SourceError(f"{name} cannot be read: {error.strerror}.") from error
        for magic, (kind, tool) in _OTHER_COMPRESSION.items():
            if head.startswith(magic):
                message = f"{name} is {kind}-compressed; unpack it first: {tool} FILE | manage.py littlebro import -"
                raise SourceError(message)
        raw = _Rejoined(head, opened)
        buffered: IO[bytes] = io.BufferedReader(raw, 256 * 1024)
        if head.startswith(_GZIP):
            buffered = io.BufferedReader(_Unpacked(buffered), 256 * 1024)
        yield Source(name, raw, buffered, size)


def _standard_input() -> IO[bytes]:
    stream: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise SourceError("There is no standard input to read from.")
    return stream
