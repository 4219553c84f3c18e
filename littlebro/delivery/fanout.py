"""Hands each newly sealed segment to the sinks: a link of its own for each, so that each is served by itself.

In: the journal's spool, and one for each sink. Out: the segment marked as handed on, for the backend. A sink that owes
enough already is skipped, and what it misses is counted.
"""

import logging
from collections.abc import Callable, Mapping

import msgspec

from littlebro.delivery import losses
from littlebro.delivery.batch import parse
from littlebro.delivery.segment import FANNED, SEALED, write_whole
from littlebro.delivery.spool import Claim, Spool

__all__ = ["fan_out"]

logger = logging.getLogger("littlebro")


def fan_out(alias: str, source: Spool, sinks: Mapping[str, Spool], is_full: Callable[[Spool], bool]) -> None:
    """Give each of `sinks` a link to each segment in `source` that none has yet."""
    for path in source.waiting(SEALED):
        try:
            held = source.take(path)
            if held is not None:
                _fan(alias, source, held, sinks, is_full)
        except Exception:  # kept, and tried again at the next look; others need not wait for it
            logger.exception("littlebro[%s]: segment %s was not handed to the sinks.", alias, path.stem)


def _fan(
    alias: str, source: Spool, held: Claim, sinks: Mapping[str, Spool], is_full: Callable[[Spool], bool]
) -> None:
    try:
        for sink, spool in sinks.items():
            if is_full(spool):
                _count(alias, sink, held)
            else:
                spool.link(held)
    except Exception:  # who called logs it, and the next look finds the segment here again
        source.give_back(held)
        raise
    source.mark_fanned(held)


def _count(alias: str, sink: str, held: Claim) -> None:
    """Count what a sink misses, in a segment named after the one that it misses: a second fan-out counts it once."""
    n = len(parse(held.content(), held.name).events)
    note = msgspec.json.encode(losses.note(alias, {f"sink-full:{sink}": n}))
    write_whole(held.path.parent, note + b"\n", sync=False, name=f"{held.name}-{sink}"[:90] + FANNED)
