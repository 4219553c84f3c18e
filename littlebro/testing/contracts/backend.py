"""The contract of backends: inherit `BackendContract`, say how yours is made, run pytest."""

from littlebro.testing.contracts.capabilities import OptionalPromises
from littlebro.testing.contracts.lifecycle import LifePromises
from littlebro.testing.contracts.reading import ReadingPromises
from littlebro.testing.contracts.writing import WritingPromises

__all__ = ["BackendContract"]


class BackendContract(WritingPromises, ReadingPromises, OptionalPromises, LifePromises):
    """Every promise that a backend makes, a test each; the test's docstring states the promise.

    Inherit it in a test module and write `make_backend`::

        class TestBackend(BackendContract):
            def make_backend(self):
                return Backend("default", str(self.folder / "events.db"), dict(Backend.option_defaults))

    A test of something that the backend does not declare, or that no hook lets the contract bring about, is
    skipped with the reason; the summary after the run says what was proved. `Hooks` has what else may be
    overridden; so has the docs' page of contracts.
    """
