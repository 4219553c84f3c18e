"""What the backend `mongo` promises besides the contract: how it lies in a database, what it asks for, its clients."""

import asyncio
import datetime
import gc
import math
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from django.core.exceptions import ImproperlyConfigured
from pymongo import AsyncMongoClient, MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from littlebro import EventQuery, trackers
from littlebro.events.event import Event
from littlebro.storage import backends
from littlebro.testing.contracts import make_event as make
from littlebro.testing.contracts.samples import NOON
from littlebro_backends import mongo
from littlebro_backends.mongo_clients import Clients
from littlebro_backends.mongo_faults import WriteFailed
from tests.commanding import run as command
from tests.exactly import exact
from tests.test_importing import ACCESS_LOG, needs_data
from tests.test_importing import run as import_file

OPTIONS: dict[str, Any] = dict(mongo.Backend.option_defaults)
DAY = datetime.timedelta(days=1)
INDEXES = {
    "_id_", "littlebro_order", "littlebro_name", "littlebro_user", "littlebro_anonymous", "littlebro_batch"
}  # fmt: skip


@pytest.fixture
def backend(mongodb_url: str) -> Iterator[mongo.Backend]:
    backend = mongo.Backend("default", mongodb_url, OPTIONS)
    yield backend
    backend.close()


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        yield client.get_default_database()


class TestHowItLies:
    """The documents, for those who ask MongoDB themselves."""

    @pytest.mark.parametrize("name", ["a$b", "..", "a.b", "a b", "x" * 300])
    def test_no_name_of_a_collection(self, backend: mongo.Backend, name: str) -> None:
        """A line that was damaged, or that others published, is refused by itself; the server is not asked."""
        good, odd = make(), make(collection=name)
        result = backend.save_many([odd, good])
        assert (result.stored, result.refused) == (1, {(name, odd.id): "no name of a collection"})

    def test_a_stream_is_a_collection(self, backend: mongo.Backend, database: Any) -> None:
        """`_id` is the event's id; times are dates, and whole microseconds besides; nobody is left out."""
        event = make(id="1", params={"a": {"b": 1}}, user_id="7", collection="audit")
        backend.save_many([event])
        [document] = database["audit"].find()
        assert document.pop("_id") == "1"
        assert isinstance(document.pop("batch"), ObjectId)
        assert document.pop("timestamp") == NOON.replace(microsecond=123000, tzinfo=None)
        assert document.pop("timestamp_us") == document.pop("received_at_us") == 1774785600123456
        assert document.pop("received_at")
        assert document == {"name": "seen", "params": {"a": {"b": 1}}, "context": {}, "user_id": "7", "v": 1}

    @pytest.mark.parametrize("params", [
        {"$ref": "x", "$id": 1}, {"$ref": "x", "$id": 2**40, "$db": None, "more": [2**50, {"$ref": "y", "$id": ""}]},
        {"$id": 1, "$ref": "x", "$db": "d"}, {"$ref": 1}, {"$oid": "x"}, {"$numberLong": "1"}, {"$minKey": 1},
    ], ids=str)  # fmt: skip
    def test_no_mapping_becomes_an_object_of_the_drivers(
        self, backend: mongo.Backend, params: dict[str, Any]
    ) -> None:
        """What looks like a reference, or like extended JSON, comes back as the mapping it is."""
        backend.save_many([make(params={"v": params, "l": [params]}), make(params=params)])
        deep, flat = sorted(backend.scan(EventQuery()), key=lambda event: len(exact(event.params)))[::-1]
        assert exact(deep.params) == exact({"v": params, "l": [params]})
        assert exact(flat.params) == exact(params)
        assert {type(event) for event in (deep, flat)} == {Event}

    def test_a_prefix_shares_a_database(self, mongodb_url: str, database: Any) -> None:
        """With PREFIX, neither reading nor deleting touches what else lies in the database."""
        ours = mongo.Backend("default", mongodb_url, {**OPTIONS, "PREFIX": "lb."})
        database["orders"].insert_many([{"_id": "a", "timestamp": NOON}, {"_id": "b", "timestamp_us": "x"}])
        ours.setup()
        ours.save_many([make(), make(collection="audit")])
        assert {"lb.littlebro", "lb.audit", "lb.littlebro.stored", "orders"} == set(
            database.list_collection_names()
        )
        assert ours.count(EventQuery()) == 2
        assert ours.delete_many(EventQuery()) == 2
        assert database["orders"].count_documents({}) == 2
        ours.close()

    def test_what_is_not_ours_is_neither_read_nor_deleted(
        self, backend: mongo.Backend, database: Any
    ) -> None:
        """Without PREFIX somebody else's collection is taken for a stream, but none of its documents for an event."""
        database["orders"].insert_many([{"_id": 1}, {"_id": "b", "timestamp": NOON, "timestamp_us": "x"}])
        backend.save_many([make()])
        assert len(list(backend.scan(EventQuery()))) == backend.count(EventQuery()) == 1
        assert backend.delete_many(EventQuery(collections=("orders", "littlebro"))) == 1
        assert database["orders"].count_documents({}) == 2


class TestSetUp:
    """Indexes and expiry."""

    @pytest.mark.django_db
    def test_the_command_makes_the_indexes(self, settings: Any, mongodb_url: str, database: Any) -> None:
        """`manage.py littlebro setup` makes them in the alias's stream and in every other that there is."""
        settings.LITTLEBRO = {"default": {"BACKEND": "mongo", "LOCATION": mongodb_url, "COLLECTION": "site"}}
        database["audit"].insert_one({"_id": "1"})
        assert backends["default"].check() != []
        code, out, _ = command("setup")
        assert (code, out) == (0, "default: ready\n")
        assert (
            set(database["site"].index_information()) == set(database["audit"].index_information()) == INDEXES
        )
        assert set(database["littlebro.stored"].index_information()) == {"_id_", "littlebro_batch"}
        assert backends["default"].check() == []

    def test_a_new_stream_is_born_with_them(self, backend: mongo.Backend, database: Any) -> None:
        """The first write to a stream makes them while that costs nothing; a stream that is there is left alone."""
        database["old"].insert_one({"_id": "1"})
        backend.save_many([make(), make(collection="old")])
        assert set(database["littlebro"].index_information()) == INDEXES
        assert set(database["old"].index_information()) == {"_id_"}
        [problem] = backend.check()
        assert "'old' has no index littlebro_anonymous, littlebro_batch" in problem
        assert "`manage.py littlebro setup --alias default`" in problem

    def test_expiry_follows_the_option(self, mongodb_url: str, database: Any) -> None:
        """TTL_DAYS makes a TTL index, changes it and drops it; until `setup` has run, `check` says what differs."""
        for days, seconds in ((None, None), (2, 172_800), (0.5, 43_200), (None, None)):
            backend = mongo.Backend("default", mongodb_url, {**OPTIONS, "TTL_DAYS": days})
            if days == 0.5:
                assert "after 2 days, and TTL_DAYS is 0.5" in backend.check()[0]
            backend.setup()
            assert backend.check() == []
            index = database["littlebro"].index_information().get("littlebro_expiry", {})
            assert index.get("expireAfterSeconds") == seconds
            backend.close()


class TestWhatItAsksFor:
    """Configuration errors, each at once and by name."""

    @pytest.mark.parametrize("location, options, words", [
        (None, {}, "LOCATION must be a MongoDB URL"), ("localhost:27017", {}, "LOCATION must be a MongoDB URL"),
        ("mongodb://h/", {"TIMEOUT": 0}, "TIMEOUT"), ("mongodb://h/", {"TIMEOUT": "5"}, "TIMEOUT"),
        ("mongodb://h/", {"TTL_DAYS": True}, "TTL_DAYS"), ("mongodb://h/", {"TTL_DAYS": -1}, "TTL_DAYS"),
        ("mongodb://h/", {"TTL_DAYS": 36_500}, "TTL_DAYS"), ("mongodb://h/", {"TTL_DAYS": 1e-6}, "TTL_DAYS"),
        ("mongodb://h/", {"TTL_DAYS": math.inf}, "TTL_DAYS"), ("mongodb://h/", {"TIMEOUT": math.nan}, "TIMEOUT"),
        ("mongodb://h/", {"PREFIX": "a b"}, "PREFIX"), ("mongodb://h/", {"PREFIX": "system."}, "PREFIX"),
        ("mongodb://h/", {"PREFIX": None}, "PREFIX"), ("mongodb://h/", {"CLIENT": []}, "CLIENT"),
        ("mongodb://h/?W=0", {}, "w=0"), ("mongodb://h/", {"CLIENT": {"w": 0}}, "w=0"),
    ])  # fmt: skip
    def test_what_cannot_work(self, location: str | None, options: dict[str, Any], words: str) -> None:
        """A wrong LOCATION or option is told when the backend is made."""
        with pytest.raises(ImproperlyConfigured, match=words) as error:
            mongo.Backend("audit", location, {**OPTIONS, **options})
        assert str(error.value).startswith("LITTLEBRO['audit']: ")

    @pytest.mark.parametrize("location, client", [
        ("mongodb://", {}), ("mongodb://h:port/", {}), ("mongodb://h/", {"nonsense": 1}),
        ("mongodb://h/", {"maxPoolSize": -1}),
    ])  # fmt: skip
    def test_what_the_driver_refuses(self, location: str, client: dict[str, Any]) -> None:
        """What only pymongo can tell is told at first use, as a configuration error of the alias."""
        backend = mongo.Backend("audit", location, {**OPTIONS, "CLIENT": client})
        with pytest.raises(ImproperlyConfigured, match=r"LITTLEBRO\['audit'\]: "):
            backend.ping()
        backend.close()

    def test_the_majority_unless_told_otherwise(self, mongodb_url: str) -> None:
        """A majority acknowledges by default; what URL or CLIENT say comes first."""
        for url, client, w in (
            (mongodb_url, {}, "majority"), (f"{mongodb_url}?w=1", {}, 1), (mongodb_url, {"w": 1}, 1),
        ):  # fmt: skip
            backend = mongo.Backend("default", url, {**OPTIONS, "CLIENT": client})
            assert backend._database().write_concern.document == {"w": w}
            assert backend._database().client.options.timeout == 10
            backend.close()

    def test_what_goes_is_looked_for_on_the_primary(
        self, mongodb_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A secondary that lags would leave a person's newest events; reports may go there all the same."""
        modes: list[str] = []
        ask = Collection.find_raw_batches

        def note(collection: Any, *words: Any, **options: Any) -> Any:
            modes.append(collection.read_preference.mongos_mode)
            return ask(collection, *words, **options)

        monkeypatch.setattr(Collection, "find_raw_batches", note)
        client = {"readPreference": "secondaryPreferred"}
        backend = mongo.Backend("default", mongodb_url, {**OPTIONS, "CLIENT": client})
        backend.save_many([event := make(user_id="7")])
        assert list(backend.scan(EventQuery())) == [event]
        assert backend.delete_many(EventQuery(user_id="7")) == 1
        assert [*dict.fromkeys(modes)] == ["secondaryPreferred", "primary"]
        backend.close()

    def test_without_pymongo_the_extra_is_named(self) -> None:
        """A site that lacks pymongo is told what to install."""
        program = """
import sys
sys.modules["pymongo"] = sys.modules["bson"] = None
from littlebro.plugins import registry
try:
    registry.find("backends", "mongo", "default")
except Exception as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("LITTLEBRO['default']: BACKEND 'mongo' of django-littlebro")
        assert 'pip install "django-littlebro[mongo]"' in done.stdout


def test_no_log_quotes_an_event(backend: mongo.Backend, database: Any) -> None:
    """An error that is to be tried again tells its number, and neither it nor its traceback any of the data."""
    word = str(uuid.uuid4())
    backend.setup()
    database["littlebro"].create_index("params.order", unique=True)
    backend.save_many([make(params={"order": word})])
    with pytest.raises(WriteFailed, match="code 11000 duplicate in another index than _id") as caught:
        backend.save_many([make(params={"order": word}), make()])
    assert word not in "".join(traceback.format_exception(caught.value))
    beyond = make(params={"order": word, "n": 2**70})
    assert backend.save_many([make(params={"order": 1}), beyond]).refused == {
        ("littlebro", beyond.id): "cannot be encoded: OverflowError"
    }


class TestClients:
    """One client a process, one an event loop that lasts, and none that waits for ever."""

    def test_a_server_that_never_answers(self) -> None:
        """A write to a frozen server ends within TIMEOUT, with an error that means "later"; `check` tells."""
        with socket.create_server(("127.0.0.1", 0)) as frozen:
            url = f"mongodb://127.0.0.1:{frozen.getsockname()[1]}/x"
            backend = mongo.Backend("default", url, {**OPTIONS, "TIMEOUT": 0.4})
            start = time.monotonic()
            with pytest.raises(PyMongoError) as error:
                backend.save_many([make()])
            assert time.monotonic() - start < 3
            assert error.value.timeout
            assert "does not answer" in backend.check()[0]
            backend.close()

    def test_a_loop_that_lasts_has_a_client_of_its_own(
        self, mongodb_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A young loop borrows threads; an older one has one asyncio client, closed when the loop is shut down."""
        made: list[AsyncMongoClient[Any]] = []
        backend = mongo.Backend("default", mongodb_url, OPTIONS)

        async def story(tasks: int) -> int:
            await asyncio.gather(*(backend.asave_many([make()]) for _ in range(tasks)))
            made.extend(client for client, _ in backend._clients._of_loops.values())
            found = [event async for event in backend.ascan(EventQuery())]
            assert len([pair async for pair in backend.ascan_stored()]) == len(found)
            await backend.asetup()
            await backend.aping()
            assert await backend.acheck() == []
            return await backend.acount(EventQuery())

        assert asyncio.run(story(5)) == 5
        assert made == []
        monkeypatch.setattr(Clients, "grown_up", 0.0)
        assert asyncio.run(story(20)) == 25
        assert len(made) == 1
        assert asyncio.run(story(20)) == 45
        assert len(made) == 2
        assert backend._clients._of_loops == {}
        for client in made:
            assert client._closed
        backend.close()
        gc.collect()  # whatever was left open would warn

    async def test_in_a_loop(self, mongodb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every twin works on the asyncio client, errors of the data and deletions included, and closes."""
        monkeypatch.setattr(Clients, "grown_up", 0.0)
        backend = mongo.Backend("default", mongodb_url, OPTIONS)
        events = [make(timestamp=NOON + n * DAY, collection="ab"[n % 2]) for n in range(10)]
        large = make(params={"text": "x" * (17 * 1024 * 1024)}, collection="a")
        result = await backend.asave_many([*events, events[0], large])
        assert (result.stored, result.duplicates, list(result.refused)) == (10, 1, [("a", large.id)])
        assert [event async for event in backend.ascan(EventQuery())] == events
        assert await backend.adelete_many(EventQuery(end=NOON + DAY)) == 1
        assert await backend.acount(EventQuery()) == 9
        assert backend._clients._client is None
        await backend.aclose()
        await backend.aping()
        await backend.aclose()

    async def test_a_loop_closes_what_threads_close(
        self, mongodb_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`close` from another thread closes the loop's client as well, and the next call makes another."""
        monkeypatch.setattr(Clients, "grown_up", 0.0)
        backend = mongo.Backend("default", mongodb_url, OPTIONS)
        await backend.aping()
        [(client, _)] = backend._clients._of_loops.values()
        await asyncio.to_thread(backend.close)
        for _ in range(100):
            if client._closed:
                break
            await asyncio.sleep(0.01)
        assert client._closed
        await backend.aping()
        await backend.aclose()


@needs_data
@pytest.mark.django_db(transaction=True)
def test_the_real_log_twice(mongodb_url: str, settings: Any) -> None:
    """10,000 events; the second run stores none."""
    settings.LITTLEBRO_IP = "full"
    settings.LITTLEBRO = {"default": {"BACKEND": "mongo", "LOCATION": mongodb_url}}
    first = import_file(ACCESS_LOG, "combined")
    assert (first.read, first.stored, first.present, first.bad) == (10_000, 10_000, 0, 0)
    second = import_file(ACCESS_LOG, "combined")
    assert (second.stored, second.present) == (0, 10_000)
    events = trackers["default"].events(EventQuery(), limit=10_000).events
    assert sum(event.params["status"] == 404 for event in events) == 213
    assert len({event.context["ip"] for event in events}) == 1753
    backend = backends["default"]
    assert backend.count(EventQuery()) == len(list(backend.scan_stored())) == 10_000
