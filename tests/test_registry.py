"""From a name to a class: what is installed is found at once, and a wrong name says what would be right."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from stevedore.extension import ExtensionManager

from littlebro.plugins import discovery, manager, registry
from littlebro.storage import BaseBackend
from littlebro_backends.memory import Backend as Memory
from littlebro_trackers.dummy import Tracker as Dummy
from tests.extras import installed
from tests.installing import Site, new_site

BACKEND = "from littlebro_backends.memory import Backend as Base\n\n\nclass Backend(Base):\n    pass\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with new_site(tmp_path / "site", monkeypatch) as made:
        manager.reset()
        yield made
    manager.reset()


def refusal(kind: discovery.Kind, name: str, alias: str = "default") -> str:
    """Return what the registry says to a wrong name."""
    with pytest.raises(ImproperlyConfigured) as caught:
        registry.find(kind, name, alias)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["memory", "littlebro_backends.memory.Backend", "littlebro_backends.memory:Backend"]
)
def test_a_name_and_a_path_lead_to_the_same_class(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A part is named by its entry point, or by a dotted path in either spelling; neither is worth a log line."""
    assert registry.find("backends", name, "default") is Memory
    assert caplog.records == []


def test_our_own_parts_are_found_as_a_strangers() -> None:
    """Every kind has our parts, each with the package it comes from, and none is broken."""
    assert registry.find("trackers", "dummy", "default") is Dummy
    parts = {part.name: part for kind in ("trackers", "backends") for part in registry.installed(kind)}
    assert {"dummy", "thread", "log", "memory", "simple"} <= set(parts)
    assert {parts[name].package for name in ("dummy", "simple")} == {"django-littlebro"}
    broken = {name for name, part in parts.items() if part.error}
    assert broken == {
        name for name, library in {"celery": "celery", "mongo": "pymongo"}.items() if not installed(library)
    }


def test_a_package_is_found_at_once_and_gone_at_once(site: Site) -> None:
    """Installing and removing a package is seen by the very next look, in the same process."""
    assert "is not installed" in refusal("backends", "acme")
    info = site.install(
        "acme-store", {"littlebro.backends": {"acme": "acme_store:Backend"}}, {"acme_store": BACKEND}
    )
    assert issubclass(registry.find("backends", "acme", "default"), BaseBackend)
    part = next(part for part in registry.installed("backends") if part.name == "acme")
    assert part[:6] == ("backends", "acme", "acme_store:Backend", "acme-store", "1.0", None)
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    assert "is not installed" in refusal("backends", "acme")
    assert "acme" not in [part.name for part in registry.installed("backends")]


def test_stevedores_cache_is_passed_by(site: Site) -> None:
    """What stevedore remembers of entry points is neither used nor filled."""
    registry.find("backends", "memory", "default")
    assert "littlebro.backends" not in ExtensionManager.ENTRY_POINT_CACHE


def test_an_unknown_name_says_what_would_be_right() -> None:
    """The message starts with the alias, names the nearest part and lists all, with their packages."""
    message = refusal("trackers", "tread", "audit")
    assert message.startswith("LITTLEBRO['audit']: TRACKER 'tread' is not installed. Did you mean 'thread'?")
    assert "dummy (django-littlebro " in message
    assert "dotted path" in message
    assert "Did you mean 'memory'?" in refusal("backends", "MEMORY")
    assert "Did you mean" not in refusal("backends", "qqqqqq")


@pytest.mark.parametrize(
    "path, reason",
    [
        ("no_such_package.Backend", "No module named 'no_such_package'"),
        ("littlebro_backends.memery.Backend", "No module named 'littlebro_backends.memery'"),
        ("littlebro_backends.memory.Bakend", "has no 'Bakend' (did you mean 'Backend'?)"),
        ("littlebro_backends.memory:Bakend", "has no 'Bakend' (did you mean 'Backend'?)"),
        ("littlebro_backends.memory:", "is no dotted path"),
        ("memory/backend.py", "is no dotted path"),
        ("json.dumps", "is a function, and a class is needed: a subclass of littlebro.storage.BaseBackend"),
        ("littlebro.storage", "is a module, and a class is needed"),
        ("collections.OrderedDict", "has no save_many(), scan(),"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path: str, reason: str) -> None:
    """What a path does not lead to is named, and where it does not end at a usable class, what one needs."""
    message = refusal("backends", path)
    assert message.startswith(f"LITTLEBRO['default']: BACKEND {path!r} ")
    assert reason in message


def test_two_packages_with_one_name_are_both_named(site: Site) -> None:
    """The core does not choose between packages, and imports neither; a path decides."""
    for name in ("acme-store", "other-store"):
        module = name.replace("-", "_")
        site.install(name, {"littlebro.backends": {"fast": f"{module}:Backend"}}, {module: BACKEND})
    message = refusal("backends", "fast")
    assert "acme-store 1.0 (acme_store:Backend) and other-store 1.0 (other_store:Backend)" in message
    assert "acme_store" not in sys.modules
    parts = [part for part in registry.installed("backends") if part.name == "fast"]
    assert [part.package for part in parts] == ["acme-store", "other-store"]
    assert all("is given by acme-store 1.0" in str(part.error) for part in parts)
    assert registry.find("backends", "other_store.Backend", "default").__module__ == "other_store"


def test_one_package_twice_on_the_path_is_no_conflict(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install beside its source is one package: the first on the path."""
    points = {"littlebro.backends": {"fast": "acme_store:Backend"}}
    site.install("Acme.Store", points, {"acme_store": BACKEND}, version="1.0")
    Site(tmp_path / "second", monkeypatch).install(
        "acme-store", points, {"acme_store": BACKEND}, version="2.0"
    )
    assert issubclass(registry.find("backends", "fast", "default"), BaseBackend)
    assert [part.version for part in registry.installed("backends") if part.name == "fast"] == ["2.0"]


MISSING = """
    Provides-Extra: fast
    Provides-Extra: slow
    Requires-Dist: a-missing-library[c]>=2,<4; python_version > "3" and extra == "fast"
    Requires-Dist: other-library; extra == 'slow'
"""


@pytest.mark.parametrize(
    "name, library, advice",
    [
        ("acme", "a_missing_library", 'pip install "acme-store[fast]"'),
        ("acme", "a_missing_library.deep.inside", 'pip install "acme-store[fast]"'),
        ("slow", "imported_by_another_name", 'pip install "acme-store[slow]"'),
        ("acme", "unheard_of", "ModuleNotFoundError: No module named 'unheard_of'"),
    ],
)
@pytest.mark.parametrize("by_path", [False, True])
def test_a_missing_library_names_the_extra(
    site: Site, name: str, library: str, advice: str, by_path: bool
) -> None:
    """A part whose library is not installed says what to install, by name and by path."""
    modules = {"acme_store": f"import {library}\n"}
    site.install(
        "acme-store", {"littlebro.backends": {name: "acme_store:Backend"}}, modules, metadata=MISSING
    )
    message = refusal("backends", "acme_store.Backend" if by_path else name)
    assert advice in message
    part = next(part for part in registry.installed("backends") if part.name == name)
    assert advice in str(part.error)
    assert (part.needs or "") in advice
    assert (part.needs is None) == (library == "unheard_of")


def test_a_package_without_its_own_module_is_offered_no_extra(site: Site) -> None:
    """No extra mends a package whose own module is gone."""
    site.install("acme-store", {"littlebro.backends": {"slow": "acme_store:Backend"}}, metadata=MISSING)
    assert "pip install" not in refusal("backends", "slow")


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('no')", "raise SystemExit(3)", "assert False", "import sys; sys.exit()", "def",
        "class Panic(BaseException): ...\nraise Panic",
        "class Mute(Exception):\n    def __str__(self): return self.missing\nraise Mute",
    ],
)  # fmt: skip
def test_a_part_that_fails_to_import_hides_no_other(site: Site, source: str) -> None:
    """Whatever an import raises becomes a configuration error, and a line in the list of parts."""
    site.install("acme-store", {"littlebro.backends": {"acme": "acme_store:Backend"}}, {"acme_store": source})
    assert "of acme-store 1.0 cannot be imported: " in refusal("backends", "acme")
    assert "cannot be imported: " in refusal("backends", "acme_store.Backend")
    parts = {part.name: part for part in registry.installed("backends")}
    assert parts["acme"].error
    assert parts["memory"].error is None


@pytest.mark.parametrize(
    "entry_points, metadata",
    [
        ("[littlebro.backends]\nno equals sign here\n", ""),
        ("littlebro.backends without a section", ""),
        ("\x00\n[littlebro.backends\nx = y", "\nno header"),
        (b"[littlebro.backends]\nna\xefve = naive:Backend", ""),
    ],
)
def test_broken_metadata_hides_no_other_package(site: Site, entry_points: str | bytes, metadata: str) -> None:
    """A package with a file that cannot be read takes nobody with it."""
    info = site.install("broken", "", metadata=metadata)
    content = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
    (info / "entry_points.txt").write_bytes(content)
    site.install(
        "acme-store", {"littlebro.backends": {"acme": "acme_store:Backend"}}, {"acme_store": BACKEND}
    )
    assert registry.find("backends", "memory", "default") is Memory
    assert "acme" in [part.name for part in registry.installed("backends")]


def test_a_part_without_package_metadata_still_has_its_name(site: Site) -> None:
    """Metadata that is gone costs the package's name, not the part."""
    info = site.install(
        "acme-store", {"littlebro.backends": {"acme": "acme_store:Backend"}}, {"acme_store": BACKEND}
    )
    (info / "METADATA").unlink()
    assert issubclass(registry.find("backends", "acme", "default"), BaseBackend)
    assert "acme" in [part.name for part in registry.installed("backends")]


CLASSES = """
    from abc import ABC, abstractmethod

    from littlebro_backends.memory import Backend as Base


    class Abstract(Base, ABC):
        @abstractmethod
        def save_many(self, events): ...


    class Newer(Base):
        littlebro_api = 99


    class Odd(Base):
        littlebro_api = "1"


    class Duck:
        save_many = scan = delete_many = count = scan_stored = setup = check = ping = close = lambda self: None


    class Outer:
        class Inner(Base):
            pass
"""


@pytest.mark.parametrize(
    "name, reason",
    [
        ("Abstract", "does not implement save_many()"),
        (
            "Newer",
            "it states littlebro_api = 99, and this littlebro knows version 1: upgrade django-littlebro",
        ),
        ("Odd", "littlebro_api must be a whole number from 1 on, not '1'"),
    ],
)
def test_a_class_that_cannot_serve_says_why(site: Site, name: str, reason: str) -> None:
    """An abstract class, and one for a newer littlebro, are refused before they are made."""
    site.module("classes", CLASSES)
    assert reason in refusal("backends", f"classes.{name}")


@pytest.mark.parametrize("path", ["classes.Duck", "classes:Outer.Inner"])
def test_a_class_with_the_methods_will_do(site: Site, path: str) -> None:
    """The methods count, not the base; a class inside a class is reached by a colon."""
    site.module("classes", CLASSES)
    assert registry.find("backends", path, "default").__name__ == path.rpartition(".")[2]


def test_the_registry_loads_no_optional_library() -> None:
    """Importing the room of plugins loads no broker, no database driver and no model."""
    code = (
        "import sys, littlebro.plugins.registry;"
        "print([name for name in ('celery', 'kombu', 'pymongo', 'duckdb', 'django.db.models') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
