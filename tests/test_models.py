"""The tables: text that equals only itself, moments in UTC, one migration for every database."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, models, router, transaction
from django.utils import timezone

from littlebro.fields import ExactCharField, UTCDateTimeField, exact_collation
from littlebro.models import DeadLetter, LossCount, StoredEvent, Tombstone

AUTUMN = datetime(2026, 10, 25, 0, 30, 0, 7, tzinfo=UTC)  # 2:30 in Berlin, for the first time of two


def stored(using: str, **fields: Any) -> StoredEvent:
    given = {"event_id": "1", "collection": "c", "name": "n", "timestamp": AUTUMN, "received_at": AUTUMN}
    return StoredEvent.objects.using(using).create(**(given | fields))


def letter(using: str, **fields: Any) -> DeadLetter:
    given = {
        "alias": "default",
        "collection": "c",
        "event_id": "1",
        "name": "n",
        "body": b"{}",
        "reason": "why",
    }
    return DeadLetter.objects.using(using).create(**(given | fields))


@pytest.mark.django_db
def test_the_migration_is_complete() -> None:
    """The models and the migration agree, whatever database looks at them."""
    call_command("makemigrations", "littlebro", check=True, dry_run=True, stdout=StringIO())


def test_the_collation_is_no_part_of_the_fields_state() -> None:
    """One migration file serves all databases."""
    _, path, _, keywords = ExactCharField(max_length=5).deconstruct()
    assert (path, keywords) == ("littlebro.fields.ExactCharField", {"max_length": 5})


@pytest.mark.django_db
class TestText:
    """Ids and names are compared and sorted byte for byte."""

    def test_uniqueness_tells_case_and_space_apart(self, database_alias: str) -> None:
        alike = ["a", "A", "a ", "á", "a\u0301", "ａ"]
        for text in alike:
            stored(database_alias, event_id=text)
            letter(database_alias, event_id=text)
            LossCount.objects.using(database_alias).create(alias="a", reason=text, day=AUTUMN.date())
        for text in alike:
            assert StoredEvent.objects.using(database_alias).get(event_id=text).event_id == text
        with pytest.raises(IntegrityError), transaction.atomic(using=database_alias):
            stored(database_alias, event_id="a")
        with pytest.raises(IntegrityError), transaction.atomic(using=database_alias):
            letter(database_alias, event_id="a ")

    def test_order_is_by_code_point(self, database_alias: str) -> None:
        texts = ["a", "B", "ä", "Z", "_", "-a", "😀", "\uffee", "a "]
        for text in texts:
            stored(database_alias, event_id=text)
        rows = (
            StoredEvent.objects.using(database_alias).order_by("event_id").values_list("event_id", flat=True)
        )
        assert list(rows) == sorted(texts)

    def test_the_same_event_may_be_dead_for_several_sinks(self, database_alias: str) -> None:
        for sink in ("", "warehouse", "archive"):
            letter(database_alias, sink=sink)
        assert DeadLetter.objects.using(database_alias).count() == 3

    def test_every_database_has_its_own_collation(self) -> None:
        """MySQL names the exact collation otherwise than MariaDB."""

        class Connection:
            vendor = "mysql"
            mysql_is_mariadb = False

        assert exact_collation(Connection()) == "utf8mb4_0900_bin"  # type: ignore[arg-type]


@pytest.mark.django_db
class TestMoments:
    """A moment is kept in UTC to the microsecond, whatever the settings say."""

    @pytest.mark.parametrize("use_tz", [True, False])
    @pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "UTC"])
    def test_the_hour_that_comes_twice(
        self, database_alias: str, settings: Any, zone: str, use_tz: bool
    ) -> None:
        """Both hours of an autumn night come back as they were, in their order, without USE_TZ as well."""
        settings.USE_TZ = use_tz
        settings.TIME_ZONE = zone
        first, second = (
            stored(database_alias),
            stored(database_alias, event_id="2", timestamp=AUTUMN + timedelta(hours=1)),
        )
        rows = list(StoredEvent.objects.using(database_alias).order_by("timestamp"))
        assert [row.timestamp for row in rows] == [first.timestamp, second.timestamp]
        assert [row.timestamp.utcoffset() for row in rows] == [timedelta(0)] * 2
        found = StoredEvent.objects.using(database_alias).filter(timestamp__gt=AUTUMN)
        assert [row.event_id for row in found] == ["2"]

    def test_naive_moments_are_of_the_current_zone(self, database_alias: str) -> None:
        naive = datetime(2026, 1, 1, 12, 0, 0, 1)
        stored(database_alias, timestamp=naive)
        row = StoredEvent.objects.using(database_alias).get()
        assert row.timestamp == timezone.make_aware(naive)

    def test_none_stays_none(self) -> None:
        field = UTCDateTimeField(null=True)
        assert field.get_db_prep_value(None, connections["default"]) is None
        assert field.from_db_value(None, None, connections["default"]) is None


@pytest.mark.django_db
def test_letters_hold_bytes(database_alias: str) -> None:
    """What was encoded comes back byte for byte, whatever it is."""
    letter(database_alias, body=bytes(range(256)))
    assert bytes(DeadLetter.objects.using(database_alias).get().body) == bytes(range(256))


@pytest.mark.django_db
def test_tombstones_are_unique(database_alias: str) -> None:
    Tombstone.objects.using(database_alias).create(digest="0" * 64)
    with pytest.raises(IntegrityError), transaction.atomic(using=database_alias):
        Tombstone.objects.using(database_alias).create(digest="0" * 64)


@pytest.mark.parametrize(
    "row, text",
    [
        (StoredEvent(name="n", event_id="1"), "n (1)"),
        (DeadLetter(name="n", event_id="1"), "n (1)"),
        (LossCount(alias="a", n=3, reason="full", day=AUTUMN.date()), "a: 3 x full on 2026-10-25"),
        (Tombstone(digest="0ab"), "0ab"),
    ],
)
def test_rows_have_a_text(row: models.Model, text: str) -> None:
    assert str(row) == text


class EventsElsewhere:
    """A router that keeps littlebro's tables in a database of their own."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "littlebro" else None

    db_for_write = db_for_read


@pytest.mark.django_db(databases=["default", "other"])
def test_routers_are_followed(settings: Any) -> None:
    """A project may route littlebro's models as any others; LOCATION names the database for the backend."""
    from littlebro.events.query import EventQuery
    from littlebro_backends.simple import Backend

    settings.DATABASE_ROUTERS = ["tests.test_models.EventsElsewhere"]
    assert router.db_for_write(StoredEvent) == "other"
    StoredEvent.objects.create(event_id="1", collection="c", name="n", timestamp=AUTUMN, received_at=AUTUMN)
    assert Backend("default", "other", {}).count(EventQuery()) == 1
    assert Backend("default", "default", {}).count(EventQuery()) == 0
