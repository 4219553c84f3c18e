"""Where the pipeline's benchmark counts its rows, and how the two that make a task of each event write one.

A `Sql` is the model's table in the default database, a `Mongo` littlebro's collection and the peers' one.
"""

from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any

from benchmarks.pipeline_site.settings import MONGODB

__all__ = ["Mongo", "Rows", "Sql", "store"]


class Sql:
    """The table of `simple`."""

    pause = 0.01

    def insert(self, name: str, at: datetime, params: dict[str, Any]) -> None:
        """Store one event, as somebody would who has Django and Celery."""
        from littlebro.events.event import new_id
        from littlebro.models import StoredEvent

        StoredEvent.objects.create(
            collection="littlebro",
            event_id=new_id(),
            name=name,
            timestamp=at,
            received_at=datetime.now(UTC),
            params=params,
            context={},
            v=1,
        )

    def reached(self) -> int:
        """Return the highest number of a row: a look at the end of an index, while a count would take its time."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT max(id) FROM littlebro_storedevent")
            return int(cursor.fetchone()[0] or 0)

    def total(self) -> int:
        """Return how many rows there are."""
        from littlebro.models import StoredEvent

        return StoredEvent.objects.count()


class Mongo:
    """The collections of a MongoDB: `littlebro` is littlebro's, `events` that of the peers."""

    pause = 0.2  # it can but count

    @cached_property
    def _database(self) -> Any:
        import pymongo

        return pymongo.MongoClient(MONGODB).get_default_database()

    def insert(self, name: str, at: datetime, params: dict[str, Any]) -> None:
        """Store one event, acknowledged."""
        self._database["events"].insert_one({"name": name, "timestamp": at, "params": params})

    def reached(self) -> int:
        """Return how many documents there are."""
        return self.total()

    def total(self) -> int:
        """Return how many documents there are."""
        return sum(self._database[name].count_documents({}) for name in ("littlebro", "events"))


class Rows:
    """A backend for event-tracking, which has none for SQL, and writes to MongoDB without asking whether it arrived."""

    def send(self, event: dict[str, Any]) -> None:
        """Take one event."""
        at = event["timestamp"]
        store().insert(
            event["name"], datetime.fromisoformat(at) if isinstance(at, str) else at, event["data"]
        )


@cache
def store() -> Sql | Mongo:
    """Return the one of this run."""
    return Mongo() if MONGODB else Sql()
