"""Contract suites for those who write a backend or a tracker: pytest classes to inherit.

In: a class of yours, made by a hook. Out: one test a promise, and a report of what was proved. Needs pytest; the
contract of trackers needs pytest-django and a test database besides.
"""

from littlebro.testing.contracts.backend import BackendContract
from littlebro.testing.contracts.base import not_proved, proves
from littlebro.testing.contracts.samples import make_event
from littlebro.testing.contracts.tracking import TrackerContract

__all__ = ["BackendContract", "TrackerContract", "make_event", "not_proved", "proves"]
