"""The error tree: every exception that littlebro raises on purpose, and nothing else.

Lowest room of the house: imported by all, imports none. Wrong *settings* are not here, they raise Django's
own `django.core.exceptions.ImproperlyConfigured`, with a message that starts with the setting at fault.
"""

__all__ = [
    "AnalysisError",
    "AnalysisTimeout",
    "EventRefused",
    "InvalidEvent",
    "InvalidQuery",
    "LakeError",
    "LittlebroError",
    "NewerFormat",
    "PluginError",
    "UnsupportedOperation",
]


class LittlebroError(Exception):
    """Catch this to catch whatever littlebro raises on purpose."""


class InvalidEvent(LittlebroError, ValueError):
    """Say which part of an event cannot be kept, and why.

    `path` is where, in the caller's own terms (``params.items[3].price``, ``name``); `reason` is what was
    wrong and what would be right. The offending value itself is never part of the message.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InvalidQuery(LittlebroError, ValueError):
    """Say which part of an `EventQuery`, a limit or a cursor makes no sense."""


class EventRefused(LittlebroError):
    """Raised by a backend that will never take some event of a batch and cannot tell which one.

    The core halves the batch until the guilty event stands alone, and makes that one a dead letter. A
    backend that can tell which returns `SaveResult.refused` instead.
    """


class UnsupportedOperation(LittlebroError):
    """Raised when a backend is asked for a capability that it does not declare."""


class PluginError(LittlebroError):
    """Raised inside the plugin manager for a plugin that cannot be used; the message is the reason."""


class NewerFormat(LittlebroError):
    """Raised for an event written by a newer littlebro; it is kept for a process that can read it."""


class AnalysisError(LittlebroError):
    """Raised when a report cannot be answered here and now: the message says what it lacks."""


class AnalysisTimeout(AnalysisError):
    """Raised when a report is not done within LITTLEBRO_ANALYSIS_SECONDS."""


class LakeError(AnalysisError):
    """Raised when the lake, the columnar copy of the events, can be neither read nor mended; nothing is lost by it."""
