"""The tables: stored events, dead letters, counts of losses, tombstones; views and annotations of the dashboard.

``simple`` writes and reads ``StoredEvent`` with statements of its own, the delivering side fills the next
three; the admin shows them. Here are columns, uniqueness and indexes, and no behaviour.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from littlebro.fields import ExactCharField, UTCDateTimeField

__all__ = ["Annotation", "Dashboard", "DeadLetter", "LossCount", "SavedView", "StoredEvent", "Tombstone"]

_ID = 200
_NAME = 200
_COLLECTION = 64
_ALIAS = 100


class StoredEvent(models.Model):
    """One event as ``simple`` keeps it; the primary key tells the order of storing."""

    id = models.BigAutoField(primary_key=True)
    collection = ExactCharField(max_length=_COLLECTION)
    event_id = ExactCharField(max_length=_ID)
    name = ExactCharField(max_length=_NAME)
    timestamp = UTCDateTimeField()
    received_at = UTCDateTimeField()
    params: models.JSONField[Any, Any] = models.JSONField(default=dict)
    context: models.JSONField[Any, Any] = models.JSONField(default=dict)
    user_id = ExactCharField(max_length=_ID, null=True, blank=True)
    anonymous_id = ExactCharField(max_length=_ID, null=True, blank=True)
    v = models.SmallIntegerField(default=1)

    class Meta:
        verbose_name = "stored event"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["collection", "event_id"], name="littlebro_event_unique"),
        ]
        indexes: ClassVar = [
            # The order of reading, whole, so that each page of a cursor is one range of one index.
            models.Index(fields=["timestamp", "event_id", "collection"], name="littlebro_event_order"),
            models.Index(fields=["name", "timestamp", "event_id", "collection"], name="littlebro_event_name"),
            models.Index(fields=["user_id", "timestamp"], name="littlebro_event_user"),
            models.Index(fields=["anonymous_id", "timestamp"], name="littlebro_event_anonymous"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.event_id})"


class DeadLetter(models.Model):
    """An event that a backend or sink will never take as it is, or that was refused at the door."""

    id = models.BigAutoField(primary_key=True)
    alias = ExactCharField(max_length=_ALIAS)
    sink = ExactCharField(
        max_length=_ALIAS,
        blank=True,
        default="",
        help_text="Alias of the sink; empty is the alias's own backend.",
    )
    collection = ExactCharField(max_length=_COLLECTION)
    event_id = ExactCharField(max_length=_ID)
    name = ExactCharField(max_length=_NAME, blank=True)
    user_id = ExactCharField(max_length=_ID, null=True, blank=True)
    anonymous_id = ExactCharField(max_length=_ID, null=True, blank=True)
    body = models.BinaryField(help_text="The event as it was encoded, after redaction.")
    reason = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    created_at = UTCDateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "dead letter"
        permissions: ClassVar = [("replay_deadletter", "Can replay dead letter")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["alias", "sink", "collection", "event_id"], name="littlebro_deadletter_unique"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["event_id"], name="littlebro_deadletter_event"),
            models.Index(fields=["user_id"], name="littlebro_deadletter_user"),
            models.Index(fields=["anonymous_id"], name="littlebro_deadletter_anonymous"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.event_id})"


class LossCount(models.Model):
    """How many events of an alias were lost on one day for one reason."""

    id = models.BigAutoField(primary_key=True)
    alias = ExactCharField(max_length=_ALIAS)
    reason = ExactCharField(max_length=200)
    day = models.DateField()
    source = ExactCharField(
        max_length=100,
        blank=True,
        default="",
        help_text="File the count came from; empty once it is summed up.",
    )
    n = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "count of losses"
        verbose_name_plural = "counts of losses"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["alias", "reason", "day", "source"], name="littlebro_losscount_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias}: {self.n} x {self.reason} on {self.day}"


class Tombstone(models.Model):
    """A keyed hash of a person who was forgotten, and when."""

    id = models.BigAutoField(primary_key=True)
    digest = ExactCharField(max_length=64, unique=True)
    forgotten_at = UTCDateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "tombstone"

    def __str__(self) -> str:
        return str(self.digest)


class SavedView(models.Model):
    """A page of the dashboard with its filters, kept under a name for everyone who may see the dashboard."""

    id = models.BigAutoField(primary_key=True)
    name = ExactCharField(max_length=100, unique=True)
    page = ExactCharField(max_length=60, help_text="Which page it is, as its address says.")
    query = models.TextField(blank=True, default="", help_text="The query string of its address.")
    author = ExactCharField(max_length=200, blank=True, default="", help_text="Who saved it, by name.")
    created_at = UTCDateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "saved view"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.name)


class Annotation(models.Model):
    """What happened to the site at a moment ("deployed 4.2"), to be seen in the charts over time."""

    id = models.BigAutoField(primary_key=True)
    at = UTCDateTimeField(db_index=True)
    text = ExactCharField(max_length=200)
    author = ExactCharField(max_length=200, blank=True, default="", help_text="Who wrote it, by name.")
    created_at = UTCDateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "annotation"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.text)


class Dashboard(SavedView):
    """The dashboard's entry in the admin, and what its permissions belong to; it has no table of its own."""

    class Meta:
        proxy = True
        verbose_name = "dashboard"
        verbose_name_plural = "dashboard"
        default_permissions = ()
        permissions: ClassVar = [
            ("view_dashboard", "Can see the dashboard"),
            ("view_person", "Can see persons in the dashboard"),
            ("erase_person", "Can erase persons"),
            ("export_dashboard", "Can export from the dashboard"),
            ("manage_dashboard", "Can save views and annotations of the dashboard"),
        ]
