"""What is installed: entry points with the package each comes from, read afresh each time.

In: the name of a kind ("trackers", "backends", "plugins"). Out: entry points, and the objects they name. Reads
`importlib.metadata` and imports what it is asked to import; knows nothing of settings, hooks or aliases.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import re
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, EntryPoint
from typing import Any, Final, Literal, NamedTuple

from littlebro.exceptions import PluginError

__all__ = [
    "Kind",
    "Package",
    "describe",
    "entry_points",
    "extra_for",
    "group",
    "home_of",
    "lacking",
    "load_path",
    "package_of",
    "refusing",
    "suggest",
    "target",
]

Kind = Literal["trackers", "backends", "plugins"]

KINDS: Final[tuple[Kind, ...]] = ("trackers", "backends", "plugins")

_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*;.*\bextra\s*==\s*['\"]([^'\"]+)['\"]")


class Package(NamedTuple):
    """An installed distribution by name and version; both are empty where there is none."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


def group(kind: Kind) -> str:
    """Return the entry-point group of a kind of part."""
    return f"littlebro.{kind}"


def entry_points(kind: Kind) -> list[EntryPoint]:
    """Return the entry points of a kind, sorted by name and package, each with its `dist`.

    A package that was installed a moment ago is found, and one whose metadata is broken hides no other.
    """
    return [point for point in _all_points() if point.group == group(kind)]


def _all_points() -> list[EntryPoint]:
    # importlib remembers folders by their modification time, which is coarser than an installation is quick.
    importlib.invalidate_caches()
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for dist in _distributions():
        points = _points(dist)
        name = _normal(_package(dist).name)
        # The same package twice on the path (an editable install beside its source): the first one is imported.
        if points and name not in seen:
            seen.update({name} if name else ())
            found.extend({(point.group, point.name, point.value): point for point in points}.values())
    return sorted(found, key=lambda point: (point.name, package_of(point)))


def _distributions() -> Iterator[Distribution]:
    """Yield the distributions that name any part of littlebro; most name none and are not parsed."""
    for dist in importlib.metadata.distributions():
        try:
            text = dist.read_text("entry_points.txt")
        except (OSError, UnicodeError):
            continue
        if text and "littlebro." in text:
            yield dist


def _points(dist: Distribution) -> list[EntryPoint]:
    groups = {group(kind) for kind in KINDS}
    try:
        return [point for point in dist.entry_points if point.group in groups]
    except Exception:  # noqa: BLE001 - a stranger's broken file raises what it likes (TypeError, for one)
        return []


def _package(dist: Distribution | None) -> Package:
    try:
        if dist is not None:
            return Package(str(dist.metadata["Name"] or ""), str(dist.version or ""))
    except Exception:  # noqa: BLE001, S110 - as above: without metadata a part still has its name
        pass
    return Package("", "")


def package_of(point: EntryPoint | None) -> Package:
    """Return the package that an entry point comes from."""
    return _package(None if point is None else point.dist)


def load_path(path: str) -> Any:
    """Import and return what a path names: "pkg.module", "pkg.module.Name" or "pkg.module:Name".

    Raises `ModuleNotFoundError` or `AttributeError` naming the part that is not there, and whatever the import
    of the module raises.
    """
    module_name, colon, attribute = path.partition(":")
    if not all(part.isidentifier() for part in path.replace(":", ".", 1).split(".")):
        message = f"{path!r} is no dotted path; write 'package.module.Name' or 'package.module:Name'"
        raise ImportError(message)
    if colon:
        return _attribute(importlib.import_module(module_name), attribute)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        parent, _, name = path.rpartition(".")
        # Only the last name may be an attribute; an import that fails inside the module keeps its own error.
        if not parent or error.name != path:
            raise
        return _attribute(importlib.import_module(parent), name)


def _attribute(module: Any, path: str) -> Any:
    found = module
    for name in path.split("."):
        if not hasattr(found, name):
            close = difflib.get_close_matches(name, dir(found), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            message = f"module {module.__name__!r} has no {path!r}{hint}"
            raise AttributeError(message)
        found = getattr(found, name)
    return found


def extra_for(missing: str, dist: Distribution | None, part: str = "") -> str | None:
    """Return the requirement to install for a library that an import missed, as "package[extra]", or None.

    `missing` is the name of the module not found, `dist` the package whose part wanted it. The library is looked
    for among the package's extras; where several bring it, or none (a library is not always imported by the name
    it is installed by), an extra that bears the name of the `part` is taken.
    """
    if dist is None:
        return None
    wanted = _normal(missing.partition(".")[0])
    try:
        requirements = [match for match in map(_REQUIREMENT.match, dist.requires or ()) if match]
        extras = set(dist.metadata.get_all("Provides-Extra") or ())
    except Exception:  # noqa: BLE001 - broken metadata of a stranger: no advice, but no second error either
        return None
    bringing = [match[2] for match in requirements if _normal(match[1]) == wanted]
    if part in extras and (not bringing or part in bringing):
        return f"{_package(dist).name}[{part}]"
    return f"{_package(dist).name}[{bringing[0]}]" if bringing else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@contextmanager
def refusing(say: Callable[[BaseException], str]) -> Iterator[None]:
    """Turn whatever a stranger's code raises into the `PluginError` that `say` words.

    A script exits, a library in Rust panics with a `BaseException` of its own. What was done to it passes: Ctrl-C, the
    end of a task or of a greenlet. It can be tried again.
    """
    try:
        yield
    except BaseException as error:
        home = type(error).__module__.partition(".")[0]
        if isinstance(error, KeyboardInterrupt | GeneratorExit | CancelledError) or home in {
            "gevent",
            "greenlet",
        }:
            raise
        raise PluginError(say(error)) from error


def describe(error: BaseException, point: EntryPoint | None = None) -> str:
    """Return in one line why something could not be imported, with the extra to install where that is why.

    `point` is the entry point that was being loaded, or one of the same package.
    """
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a stranger's exception, whose __str__ may fail as well
        said = ""
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    extra = lacking(error, point)
    if extra:
        text = f'it needs {getattr(error, "name", "")!r}, which is not installed: pip install "{extra}"'
    return " ".join(text.split()).rstrip(".")


def lacking(error: BaseException | None, point: EntryPoint | None) -> str | None:
    """Return the extra whose library the import of `point` missed, as `extra_for` does, or None."""
    if not isinstance(error, ModuleNotFoundError) or not error.name or point is None:
        return None
    # A package whose own module is gone is broken; no extra would mend it.
    own = error.name.partition(".")[0] == point.module.partition(".")[0]
    return None if own else extra_for(error.name, point.dist, point.name)


def home_of(path: str) -> EntryPoint | None:
    """Return the entry point that leads to a path, or else one into the same module: it tells the package."""
    points = _all_points()
    for point in points:
        if target(point.value) == target(path):
            return point
    return next((point for point in points if f"{target(path)}.".startswith(f"{point.module}.")), None)


def target(path: str) -> str:
    """Return a path in its one form, for comparing: dots only, no spaces, no extras."""
    return path.partition("[")[0].replace(":", ".").replace(" ", "")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of the `known` names, or nothing."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    close = close or [item for item in known if item.lower() == name.lower()]
    return f" Did you mean {close[0]!r}?" if close else ""
