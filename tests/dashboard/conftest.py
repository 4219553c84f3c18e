"""Each test of the dashboard begins without what a process remembers of a store."""

from collections.abc import Iterator

import pytest

from littlebro.dashboard.known import forget_known


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_known()
    yield
    forget_known()
