"""What an event is and how one is asked for. The room above knows plugins; this one knows only data."""

from littlebro.events.context import bind
from littlebro.events.event import Event
from littlebro.events.query import Condition, EventQuery, Page

__all__ = ["Condition", "Event", "EventQuery", "Page", "bind"]
