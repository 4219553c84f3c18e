"""Our own trackers keep the contract that we ask of a stranger's."""

from typing import Any

from littlebro.testing.contracts import TrackerContract


class TestDummy(TrackerContract):
    """The tracker that delivers before the call returns."""

    tracker = "dummy"


class TestDummyWithJournal(TrackerContract):
    """The same with a journal, where what could not be stored waits."""

    tracker = "dummy"
    durable = True
    sinks_wait = True

    def tracker_options(self) -> dict[str, Any]:
        return {"JOURNAL": str(self.folder / "journal"), "SEAL_SECONDS": 0.1, "POLL_SECONDS": 0.5}


class TestThread(TrackerContract):
    """The tracker with a journal and a thread behind it."""

    tracker = "thread"
    durable = True
    follows_transactions = True
    sinks_wait = True

    def tracker_options(self) -> dict[str, Any]:
        return {"JOURNAL": str(self.folder / "journal"), "SEAL_SECONDS": 0.1, "POLL_SECONDS": 0.5}
