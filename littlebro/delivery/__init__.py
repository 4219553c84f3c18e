"""From a call to the backend: pipeline, trackers, journal, couriers, dead letters, counts of losses."""

from littlebro.delivery.base import BaseTracker
from littlebro.delivery.deliver import Outcome
from littlebro.delivery.journaled import JournalTracker

__all__ = ["BaseTracker", "JournalTracker", "Outcome"]
