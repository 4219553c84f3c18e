"""Dead letters: events that a destination will never take as they are, kept with the reason and their bytes.

Filled by the delivering side alone; shown in the admin; replayed from there or by command, after whatever
made the destination refuse them was mended. What the caller got wrong arrives here too, as a note without
the params (they could not be read, so they could not be redacted), and cannot be replayed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from littlebro.conf import aliases
from littlebro.delivery import losses
from littlebro.delivery.batch import shown
from littlebro.events.event import Event, decode, encode
from littlebro.exceptions import InvalidEvent, LittlebroError

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from littlebro.models import DeadLetter

__all__ = [
    "abandoned",
    "add",
    "add_refused",
    "add_unreadable",
    "each_letter",
    "forget_abandoned",
    "remove",
    "replay",
    "replay_each",
]

_Became = Literal["stored", "refused", "hopeless"]

_PAGE: Final = 500


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
                reason=shown(str(reasons[event.collection, event.id])),
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


def abandoned() -> "QuerySet[DeadLetter]":
    """Return the letters of aliases that stand in the settings no more."""
    from littlebro.models import DeadLetter  # noqa: PLC0415 - models need a configured Django

    return DeadLetter.objects.exclude(alias__in=aliases())


def forget_abandoned(user_id: str | None, anonymous_id: str | None) -> int:
    """Delete the letters of a person that no alias's own erasure reaches; return how many there were."""
    people = {"user_id": user_id, "anonymous_id": anonymous_id}
    return sum(
        abandoned().filter(**{field: value}).delete()[0]
        for field, value in people.items()
        if value is not None
    )


def each_letter(letters: "QuerySet[DeadLetter]") -> Iterator["DeadLetter"]:
    """Yield those of `letters` that are there now, by key, some at a time.

    No cursor stays open in between: it would end with its connection, which a pooler gives to others after each
    transaction.
    """
    letters = letters.order_by("pk")
    last = letters.values_list("pk", flat=True).last() or 0
    after = 0
    while page := list(letters.filter(pk__gt=after, pk__lte=last)[:_PAGE]):
        after = page[-1].pk  # one that is deleted meanwhile knows its key no more
        yield from page


def replay(letters: "QuerySet[DeadLetter]") -> tuple[int, int]:
    """Deliver dead letters once more, as `replay_each` does; return how many were stored and how many stay."""
    became = Counter(replay_each(letters))
    return became["stored"], became["refused"] + became["hopeless"]


def replay_each(letters: "QuerySet[DeadLetter]") -> Iterator[_Became]:
    """Deliver dead letters once more, each by itself; yield what became of each.

    A letter is deleted when its destination has the event. One that is refused again stays, with one more
    attempt and the new reason; so does one whose destination is away, as it was. A note about refused input, or a
    damaged line, is hopeless: it stays, with the reason that it came with.
    """
    for letter in each_letter(letters):
        yield _replay_one(letter)


def _replay_one(letter: "DeadLetter") -> _Became:
    from littlebro.delivery.handler import trackers  # noqa: PLC0415 - the handler knows all the trackers

    try:
        try:
            event = decode(bytes(letter.body))
        except InvalidEvent:
            return "hopeless"
        with losses.held_back() as lost:
            refused = trackers[letter.alias].delivery_to(letter.sink).save([event]).refused
    except Exception as error:  # noqa: BLE001 - the letter stays, with the reason
        reason = str(error) if isinstance(error, LittlebroError) else f"{type(error).__name__}: {error}"
        type(letter).objects.filter(pk=letter.pk).update(reason=shown(reason))
        return "refused"
    if refused:  # it was counted when it became a letter
        return "refused"
    losses.count_held(lost)
    letter.delete()
    return "stored"
