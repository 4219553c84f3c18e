"""Who is measured in `calls`: the limit, littlebro, and three libraries that users would pick instead.

Each is set up as its documentation says and does its whole work: the peers' own exporters encode and post to
a server on the loopback, littlebro writes to a SQLite file. Only queues are larger than their defaults, so
that nobody gains speed by dropping. Each works in a process of its own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["CONTENDERS", "NAME", "PARAMS", "Contender", "Gate"]

NAME = "order-paid"
QUEUE = 200_000

# Ten flat params; with a name, a time and an id around them about 300 bytes of JSON.
PARAMS: list[dict[str, Any]] = [
    {
        "order_id": 1_000_000 + number,
        "total": 129.95 + number,
        "currency": "EUR",
        "items": number % 7,
        "coupon": None,
        "is_new_customer": number % 2 == 0,
        "payment": "credit-card",
        "shipping": "express-24h",
        "page": f"/checkout/{number}/done",
        "campaign": "spring-sale-newsletter",
    }
    for number in range(256)
]


class Gate:
    """Stands before a function of the delivering side: while closed, callers wait there and delivery is idle."""

    def __init__(self, behind: Callable[..., Any]) -> None:
        self._behind = behind
        self._open = threading.Event()
        self._open.set()
        self.waiting = False

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._open.is_set():
            self.waiting = True
            self._open.wait()
            self.waiting = False
        return self._behind(*args, **kwargs)


class Contender:
    """One way to record an event. `call(params)` is what is measured."""

    name: ClassVar[str]
    survives: ClassVar[str] = "no"
    gate: Gate | None = None

    def __init__(self, folder: Path, sink: str) -> None:
        raise NotImplementedError

    def call(self, params: dict[str, Any]) -> object:
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until all that was recorded is delivered."""

    def version(self) -> str:
        return ""

    def park(self) -> None:
        """Close the gate and wait until the delivering thread stands before it."""
        if self.gate is None:
            return
        self.gate.close()
        end = time.monotonic() + 20
        while not self.gate.waiting:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not deliver")
            for number in range(100):
                self.call(PARAMS[number])
            time.sleep(0.01)

    def unpark(self) -> None:
        if self.gate is not None:
            self.gate.open()


class Limit(Contender):
    """The least that a durable event costs: an id, a clock, one encoding, one write to a file."""

    name = "limit"
    survives = "yes"

    def __init__(self, folder: Path, sink: str) -> None:
        import msgspec
        from uuid_utils import uuid7

        self._file = os.open(folder / "limit", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._uuid7, self._encode = uuid7, msgspec.json.Encoder().encode

    def call(self, params: dict[str, Any]) -> object:
        event = {"id": str(self._uuid7()), "name": NAME, "timestamp": time.time(), "params": params}
        return os.write(self._file, self._encode(event))

    def settle(self) -> None:
        os.ftruncate(self._file, 0)


class Littlebro(Contender):
    """Tracker `thread`, backend `simple` on a SQLite file."""

    name = "littlebro thread"
    survives = "yes"

    def __init__(self, folder: Path, sink: str) -> None:
        from benchmarks.site import configure

        configure(folder)
        from littlebro import tracker
        from littlebro.storage.handler import backends

        self._tracker = tracker
        backend: Any = backends["default"]
        self.gate = backend.save_many = Gate(backend.save_many)

    def call(self, params: dict[str, Any]) -> object:
        return self._tracker.track_event(NAME, params)

    def settle(self) -> None:
        if not self._tracker.flush(60):
            raise RuntimeError("littlebro did not deliver within a minute")

    def version(self) -> str:
        from littlebro import __version__

        return __version__


class OpenTelemetry(Contender):
    """Its log SDK with the batch processor and its own OTLP exporter, protobuf over HTTP."""

    name = "OpenTelemetry"

    def __init__(self, folder: Path, sink: str) -> None:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        exporter: Any = OTLPLogExporter(endpoint=f"{sink}/v1/logs")
        self.gate = exporter.export = Gate(exporter.export)
        self._provider = LoggerProvider()
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=QUEUE))
        self._logger = self._provider.get_logger("shop")

    def call(self, params: dict[str, Any]) -> object:
        self._logger.emit(timestamp=time.time_ns(), event_name=NAME, attributes=params)
        return None

    def settle(self) -> None:
        self._provider.force_flush()

    def version(self) -> str:
        from opentelemetry.sdk.version import __version__

        return __version__


class Segment(Contender):
    """`track()` of its client."""

    name = "segment"

    def __init__(self, folder: Path, sink: str) -> None:
        from segment.analytics import consumer
        from segment.analytics.client import Client

        self.gate = consumer.post = Gate(consumer.post)
        self._client = Client("key", host=sink, max_queue_size=QUEUE)

    def call(self, params: dict[str, Any]) -> object:
        return self._client.track("user-1", NAME, params)

    def settle(self) -> None:
        self._client.flush()

    def version(self) -> str:
        from segment.analytics.version import VERSION

        return str(VERSION)


class Posthog(Contender):
    """`capture()` of its client."""

    name = "posthog"

    def __init__(self, folder: Path, sink: str) -> None:
        from posthog import Posthog as Client
        from posthog import consumer

        module: Any = consumer
        self.gate = module.batch_post = Gate(module.batch_post)
        self._client = Client("phc_key", host=sink, max_queue_size=QUEUE)

    def call(self, params: dict[str, Any]) -> object:
        return self._client.capture(NAME, distinct_id="user-1", properties=params)

    def settle(self) -> None:
        self._client.flush()

    def version(self) -> str:
        from posthog.version import VERSION

        return str(VERSION)


CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (Limit, Littlebro, OpenTelemetry, Segment, Posthog)
}

logging.getLogger("backoff").setLevel(logging.ERROR)
