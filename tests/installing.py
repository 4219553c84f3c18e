"""Packages that are installed for one test: real folders on the path, with the metadata that pip would write.

And two ways of looking at what the hook manager made of them.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from littlebro.plugins.manager import Hooks

BROKEN = Path(__file__).parent / "plugins_broken"

# The type of pytest-django's `settings`, which bears another name in each of its releases.
Settings = Any

ENRICHER = """
    from littlebro import hookimpl

    @hookimpl
    def littlebro_enrich_event(alias, event, request):
        return {__name__: alias}
"""

EntryPoints = Mapping[str, Mapping[str, str]]


class Site:
    """A folder on the path into which a test installs packages, and from which it removes them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(folder)

    def module(self, name: str, source: str) -> None:
        """Write a module, without any package to it."""
        file = self.folder / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(source))

    def install(
        self,
        name: str,
        entry_points: EntryPoints | str,
        modules: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        metadata: str = "",
    ) -> Path:
        """Install a package; return the folder of its metadata, which is all that makes it one."""
        for module, source in (modules or {}).items():
            self.module(module, source)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(header + dedent(metadata).lstrip("\n"))
        if not isinstance(entry_points, str):
            entry_points = "\n".join(
                f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in points.items())
                for group, points in entry_points.items()
            )
        (info / "entry_points.txt").write_text(dedent(entry_points))
        return info

    def install_broken(self) -> list[str]:
        """Install `plugins_broken` as its own pyproject.toml describes it; return the names of its plugins."""
        project = tomllib.loads((BROKEN / "pyproject.toml").read_text())["project"]
        self._monkeypatch.syspath_prepend(BROKEN)
        extras = project["optional-dependencies"]
        metadata = "".join(
            f"Provides-Extra: {extra}\n"
            + "".join(f"Requires-Dist: {name}; extra == '{extra}'\n" for name in names)
            for extra, names in extras.items()
        )
        self.install(project["name"], project["entry-points"], version=project["version"], metadata=metadata)
        return list(project["entry-points"]["littlebro.plugins"])


@contextmanager
def new_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a `Site`; afterwards the modules that came from it are not loaded any more."""
    before = set(sys.modules)
    yield Site(folder, monkeypatch)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith((str(folder.parent), str(BROKEN))):
            del sys.modules[name]


def enrich(found: Hooks) -> list[Any]:
    """Call every enricher as the pipeline does: with all arguments of the hook."""
    return [impl.function(alias="default", event=None, request=None) for impl in found.enrich_event]


def reasons(found: Hooks) -> dict[str, str]:
    """Return why each plugin that failed did."""
    return {failure.plugin: failure.reason for failure in found.failures}
