"""Dead letters: events that a destination will never take as they are, kept with the reason and their bytes.

Filled by the delivering side alone; shown in the admin; replayed from there or by command, after whatever
made the destination refuse them was mended. What the caller got wrong arrives here too, as a note without
the params (they could not be read, so they could not be redacted), and cannot be replayed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from littlebro.events.event import Event, decode, encode
from littlebro.exceptions import LittlebroError

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from littlebro.models import DeadLetter

__all__ = ["add", "add_refused", "add_unreadable", "remove", "replay"]


def _keep(letters: Sequence["DeadLetter"]) -> None:
    """Write letters; one that is there already counts one more attempt, with the reason of today."""
    from django.db import router, transaction  # noqa: PLC0415 - models need a configured Django
    from django.db.models import F  # noqa: PLC0415 - as above

    from littlebro.models import DeadLetter  # noqa: PLC0415 - as above

    # A savepoint where the caller's transaction is open, which an error here must not poison.
    with transaction.atomic(using=router.db_for_write(DeadLetter)):
        for letter in letters:
            known = DeadLetter.objects.filter(
                alias=letter.alias, sink=letter.sink, collection=letter.collection, event_id=letter.event_id
            )
            if not known.update(attempts=F("attempts") + 1, reason=letter.reason, body=letter.body):
                letter.save(force_insert=True)


def add(alias: str, sink: str, events: Sequence[Event], reasons: Mapping[tuple[str, str], str]) -> None:
    """Keep events that a backend (or `sink`) refused for good, each with its reason."""
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    _keep(
        [
            DeadLetter(
                alias=alias, sink=sink, collection=event.collection, event_id=event.id, name=event.name,
                user_id=event.user_id, anonymous_id=event.anonymous_id, body=encode(event),
                reason=reasons[event.collection, event.id],
            )
            for event in events
        ]
    )  # fmt: skip


def remove(alias: str, sink: str, events: Iterable[Event]) -> None:
    """Delete the letters of `events`, of people who were forgotten meanwhile."""
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    for event in events:
        DeadLetter.objects.filter(
            alias=alias, sink=sink, collection=event.collection, event_id=event.id
        ).delete()


def add_refused(notes: Iterable[Mapping[str, Any]]) -> None:
    """Keep the notes that the journal carried about input which the validator refused."""
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    _keep(
        [
            DeadLetter(
                alias=note["alias"], collection=note["collection"], event_id=note["id"], name=note["name"],
                body=msgspec.json.encode(note), reason=note["reason"],
            )
            for note in notes
        ]
    )  # fmt: skip


def add_unreadable(alias: str, lines: Mapping[str, bytes]) -> None:
    """Keep journal lines that are no events (a damaged disk); the key says which line of which segment."""
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    reason = "The line in the journal is no event; the file was damaged."
    _keep(
        [
            DeadLetter(alias=alias, collection="littlebro", event_id=place, body=line, reason=reason)
            for place, line in lines.items()
        ]
    )


def replay(letters: "QuerySet[DeadLetter]") -> tuple[int, int]:
    """Deliver dead letters once more, each by itself; return how many were stored and how many stay.

    A letter is deleted when its destination has the event. One that is refused again stays, with one more
    attempt and the new reason; so does one whose destination is away, as it was.
    """
    from littlebro.delivery.handler import trackers  # noqa: PLC0415 - the handler knows all the trackers

    stored = kept = 0
    for letter in letters.iterator(chunk_size=500):
        try:
            refused = (
                trackers[letter.alias].delivery_to(letter.sink).save([decode(bytes(letter.body))]).refused
            )
        except Exception as error:  # noqa: BLE001 - the letter stays, with the reason
            reason = str(error) if isinstance(error, LittlebroError) else f"{type(error).__name__}: {error}"
            type(letter).objects.filter(pk=letter.pk).update(reason=reason)
            refused = {("", ""): reason}
        if refused:
            kept += 1
        else:
            letter.delete()
            stored += 1
    return stored, kept
