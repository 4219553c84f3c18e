"""Answers that hold: those about ranges that are past are kept until the events change.

In: the reader, the question, and how to answer it. Out: an answer, of which the caller gets a copy. The answers of a
process are kept with its engine and go with it; those of an earlier state of a store go with the next question
about it, and the least recently asked for go first.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import msgspec

from littlebro.analysis.question import Span
from littlebro.analysis.reader import Reader
from littlebro.analysis.result import Result

__all__ = ["MAX_BYTES", "answered"]

MAX_BYTES: Final = 16 * 2**20
_R = TypeVar("_R", bound=Result)


class _Answers:
    """A dict of pickled answers that holds `MAX_BYTES`; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._versions: dict[str, str] = {}

    def only(self, store: str, version: str) -> None:
        """Let go of what was answered from an earlier state of `store`: who was forgotten since may be in it."""
        with self._lock:
            if self._versions.get(store) == version:
                return
            self._versions[store] = version
            for key in [key for key in self._kept if key.startswith(store)]:
                self._size -= self._weight(key, self._kept.pop(key))

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, answer: bytes) -> None:
        if len(answer) > MAX_BYTES // 16:
            return
        with self._lock:
            self._size += len(answer) + len(key) - self._weight(key, self._kept.pop(key, None))
            self._kept[key] = answer
            while self._size > MAX_BYTES:
                oldest, dropped = self._kept.popitem(last=False)
                self._size -= self._weight(oldest, dropped)

    @staticmethod
    def _weight(key: str, answer: bytes | None) -> int:
        return 0 if answer is None else len(key) + len(answer)


def answered(reader: Reader, span: Span, question: tuple[Any, ...], answer: Callable[[], _R]) -> _R:
    """Return what `answer` returns, or an equal one that was found before.

    Only ranges that end by now are kept: of others the answer changes with the clock. `question` names the
    report and holds every parameter that the answer depends on; its `repr` tells the number 1 from the text
    and from True.
    """
    if not span.closed:
        return answer()
    answers = cast("_Answers", reader.session.instance.kept.setdefault(_Answers, _Answers()))
    store = f"{reader.alias!r} "
    answers.only(store, reader.version)
    key = f"{store}{(reader.version, reader.collections, span.start, span.end, span.tz, question)!r}"
    known = answers.get(key)
    if known is not None:
        found: _R = pickle.loads(known)  # noqa: S301 - we pickled it, in this process
        return msgspec.structs.replace(found, as_of=reader.as_of)
    found = answer()
    answers.put(key, pickle.dumps(found, pickle.HIGHEST_PROTOCOL))
    return found
