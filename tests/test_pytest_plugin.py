"""The pytest plugin, in projects of its own: pytest runs in a child, with and without Django, alone and with xdist."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

SETTINGS = """
    import os
    from pathlib import Path
    SECRET_KEY = "a key for this project alone"
    USE_TZ = True
    INSTALLED_APPS = ["littlebro"]
    # A file: Django never closes a connection to a database in memory, and the background thread opens one.
    DATABASES = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db", "TEST": {"NAME": f"test_{os.getpid()}"}},
    }
    LITTLEBRO = {"default": {"TRACKER": "thread", "TRACKER_OPTIONS": {"JOURNAL": Path(__file__).parent / "journal"}}}
"""
TESTS = """
    import threading
    import pytest
    from littlebro import tracker, trackers
    from littlebro.exceptions import InvalidEvent
    from littlebro.testing import assert_tracked, capture_events

    @pytest.mark.parametrize("n", range(4))
    def test_fixture(tracked_events, n):
        tracker.track_event("one", {"n": n})
        thread = threading.Thread(target=tracker.track_event, args=("two",))
        thread.start()
        thread.join()
        assert [event.name for event in tracked_events] == ["one", "two"]
        assert_tracked(tracked_events, "one", {"n": n})

    @pytest.mark.django_db
    def test_under_atomic(tracked_events):
        tracker.track_event("one")
        assert len(tracked_events) == 1

    def test_without_a_database_and_without_the_fixture():
        assert tracker.track_event("one") is not None

    def test_strict():
        with pytest.raises(InvalidEvent):
            tracker.track_event("")

    def test_nested(tracked_events):
        with capture_events() as inner:
            tracker.track_event("one")
        assert tracked_events == inner != []

    @pytest.mark.django_db
    def test_what_lies_in_the_real_journal_stays_there():
        assert tracker.flush(5) is True
        assert tracker.upkeep()["delivered"] == 0

    @pytest.mark.littlebro_delivery
    @pytest.mark.django_db(transaction=True)
    def test_delivery():
        from littlebro.models import StoredEvent
        tracker.track_event("one")
        assert tracker.flush(10)
        assert [event.name for event in StoredEvent.objects.all()] == ["one"]
"""
AROUND = """
    import pytest
    from django.test import TestCase, override_settings
    from littlebro import tracker
    from littlebro.exceptions import InvalidEvent
    from littlebro.models import StoredEvent
    from littlebro.testing import TrackedEventsMixin
    from site_settings import LITTLEBRO

    def track_around(name):
        assert tracker.track_event(name) is not None
        assert tracker.flush(5)
        assert tracker.upkeep()["delivered"] == 0
        with pytest.raises(InvalidEvent):
            tracker.track_event("")

    @pytest.fixture(scope="session", autouse=True)
    def _session(django_db_setup, django_db_blocker):
        with django_db_blocker.unblock():
            track_around("session")
            yield
            track_around("session")

    @pytest.fixture(scope="module", autouse=True)
    def _module(django_db_blocker):
        with django_db_blocker.unblock():
            track_around("module")

    @pytest.mark.littlebro_delivery
    @pytest.mark.django_db(transaction=True)
    def test_delivery():
        tracker.track_event("one")
        assert tracker.flush(10)
        assert [event.name for event in StoredEvent.objects.all()] == ["one"]

    @pytest.mark.django_db
    def test_the_list_is_of_the_test_alone(tracked_events):
        tracker.track_event("one")
        assert [event.name for event in tracked_events] == ["one"]
        assert not StoredEvent.objects.exists()

    class TestSetUpClass(TestCase):
        @classmethod
        def setUpTestData(cls):
            track_around("data")

        def test_nothing_is_stored(self):
            assert not StoredEvent.objects.exists()

    class TestMixin(TrackedEventsMixin, TestCase):
        @classmethod
        def setUpTestData(cls):
            track_around("data")

        def test_the_list_is_of_the_test_alone(self):
            tracker.track_event("one")
            assert [event.name for event in self.tracked_events] == ["one"]

    @pytest.fixture(scope="class")
    def _settings_again():
        with override_settings(LITTLEBRO=LITTLEBRO):
            yield

    @pytest.mark.usefixtures("_settings_again")
    class TestSettings:
        @pytest.mark.django_db
        def test_the_real_journal_may_be_in_them_again(self):
            track_around("test")
"""


class Project:
    """A folder with tests, in which pytest is run as anybody would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(dedent(text))

    def pytest(self, *arguments: str) -> str:
        """Run pytest; return what it wrote, the exit code last."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "DJANGO", "COV"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-p", "no:asyncio", *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def site(project: Project) -> Project:
    project.write("site_settings.py", SETTINGS)
    project.write("pytest.ini", "[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\npythonpath = .\n")
    project.write("test_site.py", TESTS)
    # What a server of the same machine has left in the journal of the settings.
    real = project.folder / "journal" / "default"
    real.mkdir(parents=True)
    (real / "0000000000000000000-left.sealed").write_text("{}\n")
    return project


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_project_that_tracks(site: Project, arguments: tuple[str, ...]) -> None:
    """Events are caught, strict mode is on, nothing is delivered but where asked for; under pytest-xdist too."""
    if arguments and find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    said = site.pytest(*arguments)
    assert "10 passed" in said, said
    assert "exit 0" in said
    left = [file.name for file in (site.folder / "journal").rglob("*") if file.is_file()]
    assert left == ["0000000000000000000-left.sealed"]


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_is_around_tests_is_isolated_too(site: Project, arguments: tuple[str, ...]) -> None:
    """Fixtures of a session and a module, and the set-up of classes: strict, caught, and away from the real journal."""
    if arguments and find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    site.write("test_site.py", AROUND)
    said = site.pytest(*arguments)
    assert "5 passed" in said, said
    assert "exit 0" in said
    left = [file.name for file in (site.folder / "journal").rglob("*") if file.is_file()]
    assert left == ["0000000000000000000-left.sealed"]


def test_a_project_may_deliver_everywhere_and_be_lenient(site: Project) -> None:
    """`littlebro_delivery` in the configuration file lets all tests deliver; LITTLEBRO_STRICT = False is respected."""
    site.write("site_settings.py", SETTINGS + "    LITTLEBRO_STRICT = False\n")
    site.write(
        "pytest.ini",
        "[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\npythonpath = .\nlittlebro_delivery = true\n",
    )
    site.write(
        "test_site.py",
        """
        import pytest
        from littlebro import tracker
        from littlebro.models import StoredEvent

        @pytest.mark.django_db(transaction=True)
        def test_delivery():
            assert tracker.track_event("") is None
            tracker.track_event("one")
            assert tracker.flush(10)
            assert StoredEvent.objects.count() == 1

        def test_fixture(tracked_events):
            tracker.track_event("one")
            assert len(tracked_events) == 1
        """,
    )
    said = site.pytest()
    assert "2 passed" in said, said


def test_a_project_without_django(project: Project) -> None:
    """Where Django is not configured the plugin does nothing and loads nothing; its fixture says what it needs."""
    project.write(
        "test_plain.py",
        """
        import sys

        def test_plain():
            assert "littlebro.delivery" not in sys.modules
            assert "littlebro.testing.capture" not in sys.modules

        def test_fixture(tracked_events):
            pass
        """,
    )
    said = project.pytest("-p", "no:django")
    assert "1 passed, 1 error" in said, said
    assert 'tracked_events needs a configured Django with "littlebro" in INSTALLED_APPS.' in said


def test_a_project_whose_django_has_no_littlebro(site: Project) -> None:
    """Where littlebro is installed and not among the apps, the plugin does nothing."""
    site.write("site_settings.py", SETTINGS.replace('["littlebro"]', "[]"))
    site.write(
        "test_site.py",
        """
        from django.conf import settings

        def test_plain():
            assert not hasattr(settings, "LITTLEBRO_STRICT")
        """,
    )
    assert "1 passed" in site.pytest()


def test_the_summary_says_what_was_proved(site: Project) -> None:
    """After a run the capabilities of each contract are listed: proved, broken, not declared, not provable."""
    site.write(
        "test_site.py",
        """
        from msgspec.structs import replace
        from littlebro.storage import BaseBackend
        from littlebro.testing.contracts import BackendContract, not_proved, proves
        from littlebro_backends.memory import Backend

        class Wrong(Backend):
            supports_delete = False
            delete_many = BaseBackend.delete_many

            def count(self, query):
                return super().count(replace(query, where=()))

        class TestMemory(BackendContract):
            shared_by_processes = False
            many = 400

            def make_backend(self):
                return Wrong("default", str(self.folder), {"MAX_EVENTS": None})

            @proves("a promise of its own")
            def test_own(self, backend):
                not_proved("measure", "has no clock")
        """,
    )
    said = site.pytest("-q")
    for line in (
        "test_site.TestMemory",
        "proved: what every one promises, flat memory, idempotent, scan, scan_stored",
        "BROKEN: count",
        "delete: not declared: supports_delete is False",
        "a promise of its own: not proved: the backend has no clock; override measure() to prove this",
        "override break_backend() and heal_backend() to prove this",
    ):
        assert line in said, said
    assert "ONLY A PART RAN" not in said, said
    for words in (
        ("-k", "idempotent or order"),
        ("test_site.py::TestMemory::test_a_batch_given_three_times_is_stored_once",),
        ("-x",),
    ):
        assert re.search(r"ONLY A PART RAN: \d+ of \d\d+ tests", site.pytest("-q", *words)), words
