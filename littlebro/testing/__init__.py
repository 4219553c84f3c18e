"""For the tests of a project that tracks: catch events, assert on them; contract suites are in `contracts`.

Everything here works under any test runner. With pytest, our plugin is active once the package is installed:
strict mode, no delivery, the fixture `tracked_events` (see `littlebro.testing.pytest_plugin`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from littlebro.testing.capture import (
        TrackedEventsMixin,
        assert_not_tracked,
        assert_tracked,
        capture_events,
        deliver_events,
    )

__all__ = ["TrackedEventsMixin", "assert_not_tracked", "assert_tracked", "capture_events", "deliver_events"]


def __getattr__(name: str) -> Any:
    """Load a public name at first use: pytest imports this package in projects that never use it."""
    if name not in __all__:
        raise AttributeError(f"module 'littlebro.testing' has no attribute {name!r}")
    from littlebro.testing import capture  # noqa: PLC0415 - only on first use

    return getattr(capture, name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
