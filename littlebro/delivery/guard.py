"""The line between us and the host: which of our exceptions may cross it.

For the doors that surround the host's own code (decorator, middleware). An exception of ours flows in; either
it is to be raised, or it is counted and logged here and goes no further.
"""

import logging
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from littlebro.conf import strict
from littlebro.delivery import losses
from littlebro.exceptions import InvalidEvent

__all__ = ["must_raise"]

_log: Final = logging.getLogger(__name__)


def must_raise(alias: str, name: str, problem: Exception, *, host_failed: bool) -> bool:
    """Return whether the door that caught `problem` has to raise it again; count and log it if not.

    A wrong setting always reaches the host, bad input in strict mode; but neither ever takes the place of an
    exception that the host's own code raised (`host_failed`).
    """
    if not host_failed and (
        isinstance(problem, ImproperlyConfigured) or (isinstance(problem, InvalidEvent) and strict())
    ):
        return True
    losses.count(alias, "invalid" if isinstance(problem, InvalidEvent) else "internal")
    _log.error("littlebro: event %r was not recorded", name, exc_info=problem)
    return False
