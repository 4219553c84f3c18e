"""The pytest plugin: strict mode, no delivery, the fixture `tracked_events`, a report of contracts.

Found by pytest through the entry point ``littlebro`` and so imported in every project beside which littlebro is
installed: loads nothing of Django before a test runs, and does nothing where ``"littlebro"`` is not in
INSTALLED_APPS. Works by itself in each process of pytest-xdist.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from littlebro.events.event import Event

__all__ = ["tracked_events"]

_run = pytest.StashKey[ExitStack]()

pytest.register_assert_rewrite("littlebro.testing.contracts")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the configuration file."""
    parser.addini(
        "littlebro_delivery",
        "deliver events in all tests, as if each had the marker of that name",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name our marker, for ``--markers`` and ``--strict-markers``."""
    config.addinivalue_line(
        "markers",
        "littlebro_delivery: deliver what the test tracks, as the settings say, from a journal of its own",
    )
    if not config.pluginmanager.hasplugin("django"):  # the contracts bear its mark
        config.addinivalue_line("markers", "django_db: of pytest-django, which is not there")


def _in_use() -> bool:
    """Return whether the project under test has littlebro among its apps, and Django is ready."""
    django = sys.modules.get("django.apps")
    return django is not None and django.apps.ready and django.apps.is_installed("littlebro")


def _isolate_run(config: pytest.Config) -> None:
    """Change the settings for the whole run, and catch what is tracked around its tests."""
    if _run in config.stash:
        return
    from littlebro.testing.capture import discard_events  # noqa: PLC0415 - needs a configured Django
    from littlebro.testing.isolation import isolated  # noqa: PLC0415 - as above

    stack = config.stash[_run] = ExitStack()
    stack.enter_context(isolated())
    if not config.getini("littlebro_delivery"):
        stack.enter_context(discard_events())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Isolate the run before the first test of a ready Django, and so before the fixtures of any scope."""
    if _in_use():
        _isolate_run(item.config)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the run's settings and its journals away (pytest-xdist's workers never unconfigure)."""
    if _run in session.config.stash:
        session.config.stash[_run].close()


@pytest.fixture(autouse=True)
def _littlebro(request: pytest.FixtureRequest) -> Iterator[list[Event] | None]:
    """Catch what the test tracks, unless it asks for delivery."""
    if not _in_use():
        yield None
        return
    _isolate_run(request.config)  # a fixture may have configured Django
    if request.config.getini("littlebro_delivery"):
        yield None
        return
    from littlebro.testing.capture import capture_events, deliver_events  # noqa: PLC0415 - needs a configured Django
    from littlebro.testing.isolation import isolated  # noqa: PLC0415 - as above

    if request.node.get_closest_marker("littlebro_delivery") is None:
        with isolated(), capture_events() as events:  # a fixture may have put journals into the settings
            yield events
        return
    with isolated(request.getfixturevalue("tmp_path")), deliver_events():
        yield None


@pytest.fixture
def tracked_events(_littlebro: list[Event] | None) -> Iterator[list[Event]]:
    """Give the list of the events that the test tracks, which grows; none of them is delivered."""
    if _littlebro is not None:
        yield _littlebro
        return
    if not _in_use():
        pytest.fail(
            'tracked_events needs a configured Django with "littlebro" in INSTALLED_APPS.', pytrace=False
        )
    from littlebro.testing.capture import capture_events  # noqa: PLC0415 - needs a configured Django

    with capture_events() as events:
        yield events


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each test of a contract what it proves; notes travel with the reports, from other processes too."""
    for item in items:
        owner: Any = getattr(item, "cls", None)
        if owner is not None and getattr(owner, "littlebro_contract", False):
            from littlebro.testing.contracts.report import size  # noqa: PLC0415 - loaded already, by the contract

            proves = getattr(getattr(item, "function", None), "littlebro_proves", "")
            item.user_properties.append(("littlebro_contract", f"{owner.__module__}.{owner.__qualname__}"))
            item.user_properties.append(("littlebro_proves", proves))
            item.user_properties.append(("littlebro_size", size(owner)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of each contract what was proved and what was not."""
    if "littlebro.testing.contracts" not in sys.modules and not _has_contracts(terminalreporter):
        return
    from littlebro.testing.contracts.report import summary  # noqa: PLC0415 - only where there is a contract

    lines = summary(terminalreporter.stats)
    if lines:
        terminalreporter.section("littlebro contracts")
        for line in lines:
            terminalreporter.line(line)


def _has_contracts(reporter: pytest.TerminalReporter) -> bool:
    """Return whether a report of another process (pytest-xdist) is of a contract's test."""
    return any(
        key == "littlebro_contract"
        for reports in reporter.stats.values()
        for report in reports
        for key, _ in getattr(report, "user_properties", ())
    )
