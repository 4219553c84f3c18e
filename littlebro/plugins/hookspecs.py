"""The hooks: what a plugin may implement, each with what it gets, what it returns and what becomes of that.

Hooks return facts, the core merges them. Events handed to a hook are copies: changing one changes nothing.
Arguments are only ever added to a hook, never renamed or taken away, and a plugin may declare as few of them as
it needs; the page of hooks in the docs is made from the docstrings below. Knows data only, and calls nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import msgspec
import pluggy

if TYPE_CHECKING:
    from django.http import HttpRequest

    from littlebro.events.event import Event

__all__ = ["API", "PREFIX", "PROJECT", "REMOVE", "Panel", "Remove", "hookimpl"]

PROJECT: Final = "littlebro"
PREFIX: Final = "littlebro_"

# What a plugin, tracker or backend states as `littlebro_api`. It grows only when something is taken away.
API: Final = 1

hookimpl: Final = pluggy.HookimplMarker(PROJECT)
_hookspec: Final = pluggy.HookspecMarker(PROJECT)

_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@final
class Remove:
    """The type of `REMOVE`, of which there is one instance in a process, pickled and copied as itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "littlebro.plugins.REMOVE"

    def __reduce__(self) -> str:
        # A string tells pickle and copy to take the global of that name.
        return "REMOVE"


REMOVE: Final = Remove()
"""Returned by `littlebro_redact_event` in place of a value: the key goes, and not only what it holds."""


class Panel(msgspec.Struct, frozen=True):
    """A page that a plugin adds to the dashboard.

    `slug` is its place in the URL (lower-case letters, digits, hyphens), `title` its heading. `permission` is what
    a user must have to see it, as ``"app_label.codename"``. `template` is the name of a Django template, rendered
    with what `get_context(request)` returns, a mapping of names to values, and what the context processors add. It has
    no other variables, so that any name will do.
    """

    slug: str
    title: str
    permission: str
    template: str
    get_context: Callable[[HttpRequest], Mapping[str, Any]]

    def __post_init__(self) -> None:
        """Refuse, with a `ValueError`, a panel that the dashboard could not show."""
        if not isinstance(self.slug, str) or not _SLUG.fullmatch(self.slug):
            message = f"A panel's slug is lower-case letters, digits and single hyphens, not {self.slug!r}."
            raise ValueError(message)
        if not isinstance(self.permission, str) or "." not in self.permission:
            message = f"Panel {self.slug!r}: permission is 'app_label.codename', not {self.permission!r}."
            raise ValueError(message)
        for name in ("title", "template"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                message = f"Panel {self.slug!r}: {name} must be a text that is not empty."
                raise ValueError(message)
        if not callable(self.get_context):
            message = f"Panel {self.slug!r}: get_context must be callable with the request."
            raise ValueError(message)  # noqa: TRY004 - one kind of error for a panel


@_hookspec
def littlebro_drop_event(alias: str, event: Event, request: HttpRequest | None) -> str | None:
    """Return a reason to drop the event, or None to let it pass.

    For consent, bots, health checks. Called in the caller of ``track_event``, before the other hooks, once for
    each event: be quick, and do not touch a database, a broker or the network.

    :param alias: the alias the event is tracked through, for instance ``"default"``.
    :param event: a copy of the event with the ambient context, its sensitive keys redacted already.
    :param request: the Django request it belongs to, or None outside of one.
    :returns: a short, fixed reason (``"bot"``, ``"no-consent"``), under which the loss is counted; never text made
        from the event. None, or an empty text, lets the event pass.

    The first plugin that gives a reason ends the matter; those after it are not asked. An implementation that
    raises, or returns anything but a text or None, is counted under its plugin's name, and the event passes.
    """


@_hookspec
def littlebro_enrich_event(alias: str, event: Event, request: HttpRequest | None) -> Mapping[str, Any] | None:
    """Return facts to add to the event's context, or None.

    Called in the caller of ``track_event``, after no plugin has dropped the event and before redaction, so that what
    is added is redacted and validated as well. Be quick: what needs a lookup belongs in
    ``littlebro_enrich_stored``.

    :param alias: the alias the event is tracked through.
    :param event: a copy of the event, without what other plugins add.
    :param request: the Django request it belongs to, or None outside of one.
    :returns: a mapping of text keys to JSON values, merged into ``event.context``. None adds nothing.

    A key that is in the context already, or that an earlier plugin gave, is kept as it is, and the conflict is
    counted: the first plugin wins. An implementation that raises, or returns anything else, adds nothing and is
    counted; the event goes on without it (a failing enricher fails open).
    """


@_hookspec
def littlebro_redact_event(alias: str, event: Event) -> Mapping[tuple[str | int, ...], Any] | None:
    """Return what is to be replaced in, or removed from, the event.

    Called after enrichment, in the caller of ``track_event``, and once more where events are delivered if a plugin
    implements ``littlebro_enrich_stored``. So it sees its own work: what is redacted must be left as it is.

    :param alias: the alias the event travels through.
    :param event: a copy of the event, enriched, its sensitive keys (``LITTLEBRO_SENSITIVE_KEYS``) redacted.
    :returns: a mapping of paths to new values. A path is a tuple that starts with ``"params"`` or ``"context"``
        and goes on with keys (text) and places in lists (whole numbers): ``("params", "items", 0, "email")``. The
        value is any JSON value, or ``littlebro.plugins.REMOVE`` to take the key away (a place in a list becomes
        None, so that the others keep theirs). A key that is not there is passed over. None changes nothing.

    A plugin sees what those before it left. Where two name the same path, the first plugin wins and the conflict is
    counted. An implementation that raises, or returns what is no such mapping, fails closed: the event is dropped
    and counted under the plugin's name, and kept nowhere, since it may hold what should have been taken out.
    """


@_hookspec
def littlebro_enrich_stored(alias: str, event: Event) -> Mapping[str, Any] | None:
    """Return facts to add to the event's context, found at leisure.

    Called where events are delivered (the background thread, the worker), just before they are stored, so that a
    lookup in a database or a file delays no request. It may be called again for the same event, whenever a batch is
    tried again: return the same facts for the same event.

    :param alias: the alias the event travels through.
    :param event: a copy of the event as it was accepted. There is no request here.
    :returns: a mapping of text keys to JSON values, merged into ``event.context``. None adds nothing.

    Conflicts are settled as in ``littlebro_enrich_event``: the first plugin wins. An implementation that raises, or
    returns anything else, adds nothing and is counted. What was added is redacted and validated before it is stored.
    """


@_hookspec
def littlebro_events_stored(alias: str, events: Sequence[Event]) -> None:
    """Take note of events that the backend now holds.

    Called where events are delivered, once for each batch, after the backend of the alias has confirmed it. A batch
    that is tried again (its process died in between, a broker sent it twice) is told again: act by the event's id.

    :param alias: the alias whose backend stored them.
    :param events: copies of the stored events, duplicates among them where the backend cannot tell.
    :returns: nothing; a result is ignored.

    An implementation that raises is counted; the events are stored all the same, and other plugins are told.
    """


@_hookspec
def littlebro_events_failed(alias: str, events: Sequence[Event], reason: str) -> None:
    """Take note of a batch that could not be stored.

    Called where events are delivered, after each attempt that failed as a whole. The batch is kept and tried again
    for as long as it takes, so that a plugin hears of the same events until they are stored.

    :param alias: the alias whose backend failed.
    :param events: copies of the batch's events.
    :param reason: why, in the words of the backend's error.
    :returns: nothing; a result is ignored.

    An implementation that raises is counted, and other plugins are told all the same.
    """


@_hookspec
def littlebro_dashboard_panels() -> Sequence[Panel] | None:
    """Return the pages to add to the dashboard.

    Called when the dashboard's addresses are built, once a process, and never while events are tracked.

    :returns: a list of ``littlebro.plugins.Panel(slug, title, permission, template, get_context)``; None adds none.

    Where two plugins use the same slug, the first plugin wins and the conflict is shown by ``check``. An
    implementation that raises, or returns anything else, adds no panel and is shown there as well.
    """
