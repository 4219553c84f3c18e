"""What a tracker's author overrides, and the site that the contract of trackers sets up for each test.

In: the path of a tracker's class and its options. Out: a tracker over stores that a test puts away and brings
back as it needs. Needs pytest-django: dead letters and counts of losses live in the test database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.test import override_settings

from littlebro.delivery import BaseTracker, losses
from littlebro.delivery.handler import trackers
from littlebro.testing.contracts.base import until
from littlebro.testing.contracts.store import Store

__all__ = ["TrackerHooks"]

_STORE = "littlebro.testing.contracts.store.Backend"


@pytest.mark.littlebro_delivery
@pytest.mark.django_db(transaction=True)
class TrackerHooks:
    """What to override. Only `tracker` must be; the flags say what the tracker promises besides."""

    littlebro_contract: ClassVar[bool] = True
    tracker: ClassVar[str] = ""
    """What TRACKER would say: the name of an entry point, or a dotted path."""
    durable: ClassVar[bool] = False
    """Whether an event that was accepted outlives the process (`kill -9`) and an outage of the backend."""
    follows_transactions: ClassVar[bool] = False
    """Whether events wait for the commit of the transaction that they were tracked in."""
    sinks_wait: ClassVar[bool] = False
    """Whether a sink that was away gets later what it missed (False: it is counted)."""

    folder: Path
    store: Store
    sink: Store

    def tracker_options(self) -> dict[str, Any]:
        """Return what TRACKER_OPTIONS would say; `self.folder` is an empty folder for this test alone."""
        return {}

    def make_tracker(self) -> BaseTracker:
        """Return the tracker of the alias ``default``, as the core builds it from the settings."""
        return trackers["default"]

    def let_arrive(self, tracker: BaseTracker) -> None:
        """Wait until everything that was tracked has arrived; by `flush` unless overridden."""
        if not until(lambda: tracker.flush(5.0), 30.0):
            pytest.fail("flush() never became true, though the store is there")

    def after_crash(self, tracker: BaseTracker) -> None:
        """Let what a dead process left arrive; by `upkeep` unless overridden."""
        if not until(lambda: not tracker.upkeep()["left"], 30.0):
            pytest.fail(f"upkeep() leaves something behind: {tracker.upkeep()}")

    @pytest.fixture(autouse=True)
    def _site(self, tmp_path: Path) -> Iterator[None]:
        """Make stores and settings of the test, and take away what the process counted before."""
        self.folder = tmp_path / "tracker"
        self.folder.mkdir()
        self.store, self.sink = Store(tmp_path / "store"), Store(tmp_path / "sink")
        with self.site():
            losses.drain("default")
            yield
            for store in (self.store, self.sink):
                if (store.folder / "away").exists():
                    store.bring_back()
            trackers.reset()
        losses.drain("default")

    @contextmanager
    def site(self, *, strict: bool = True, sinks: bool = False) -> Iterator[BaseTracker]:
        """Set the settings up as said inside the block, and give the tracker."""
        if not self.tracker:
            raise NotImplementedError(f"{type(self).__name__} must say which `tracker` it is about.")
        table: dict[str, Any] = {
            "default": {
                "TRACKER": self.tracker,
                "BACKEND": _STORE,
                "LOCATION": str(self.store.folder),
                "TRACKER_OPTIONS": self.tracker_options(),
                "SINKS": ["copy"] if sinks else [],
            },
            "copy": {"BACKEND": _STORE, "LOCATION": str(self.sink.folder)},
        }
        with override_settings(LITTLEBRO=table, LITTLEBRO_STRICT=strict, LITTLEBRO_PLUGINS_AUTOLOAD=False):
            yield self.make_tracker()

    def counted(self) -> int:
        """Return how many events of the test are counted as lost: by this process, and in the database."""
        from littlebro.models import LossCount  # noqa: PLC0415 - needs a configured Django

        rows = LossCount.objects.filter(alias="default").values_list("n", flat=True)
        return sum(losses.pending("default").values()) + sum(rows)
