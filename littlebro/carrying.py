"""The ambient context, carried from a request into the project's own Celery tasks.

Where a task is sent, request id and bound values (the user's and the anonymous id only if `LITTLEBRO_CELERY_USER`
is on) go into a header of its message; around the task they are ambient again, so that an event tracked inside
knows the request that started it. Imports celery; importing this module connects it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from celery import signals

from littlebro import privacy
from littlebro.conf import setting
from littlebro.events.context import EMPTY, Ambient, carried, current
from littlebro.events.validator import Validator
from littlebro.exceptions import InvalidEvent

__all__ = ["HEADER", "pack"]

logger = logging.getLogger("littlebro")

HEADER: Final = "littlebro"
# Bytes. A header travels with every message and must fit into one frame of AMQP, others beside it.
_MOST: Final = 16 * 1024
_MANAGER: Final = "_littlebro_carried"


class _Load(msgspec.Struct, omit_defaults=True):
    values: dict[str, Any] = {}
    user_id: str | None = None
    anonymous_id: str | None = None


def pack(ambient: Ambient) -> str | None:
    """Return the text of the header for what is ambient, or None where there is nothing to carry.

    Nothing is carried out of the request of somebody who asked not to be tracked.
    """
    request = ambient.request
    if ambient is EMPTY or ambient.delivering or (request is not None and privacy.opted_out(request)):
        return None
    values = dict(ambient.values)
    named = None if request is None else privacy.request_id(request)
    if named is not None:
        values.setdefault("request_id", named)
    load = _Load(_fit(values))
    if setting("LITTLEBRO_CELERY_USER"):
        load.user_id, load.anonymous_id = ambient.user_id, ambient.anonymous_id
        if request is not None:
            load.user_id = load.user_id or privacy.loaded_user_id(request)
            load.anonymous_id = load.anonymous_id or privacy.anonymous_id(request)
    text = msgspec.json.encode(load)
    if len(text) > _MOST:
        logger.warning("littlebro: %d bytes of context are too many to go with a task.", len(text))
        return None
    return None if text == b"{}" else text.decode()


def _fit(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the values that an event's context may hold, redacted as there; leave out the others."""
    validator = Validator()
    fit: dict[str, Any] = {}
    for key, value in values.items():
        try:
            found = validator.snapshot({key: value}, "context")
            validator.find_unfit(found, "context")
        except InvalidEvent:
            logger.debug("littlebro: the bound value %r cannot go with a task.", key)
        else:
            fit.update(found)
    return fit


@signals.before_task_publish.connect(weak=False, dispatch_uid="littlebro.carrying")
def _load(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and HEADER not in headers and (text := pack(current())) is not None:
        headers[HEADER] = text


@signals.task_prerun.connect(weak=False, dispatch_uid="littlebro.carrying")
def _unload(task: Any, **_: Any) -> None:
    # A message's headers are the request's attributes; those of a direct call with headers=… lie one deeper.
    text = getattr(task.request, HEADER, None) or (task.request.headers or {}).get(HEADER)
    if not text:
        return
    try:
        load = msgspec.json.decode(text, type=_Load)
    except (msgspec.MsgspecError, TypeError):
        logger.debug("littlebro: a task came with a header that is none of ours.")
        return
    manager = carried(load.values, load.user_id, load.anonymous_id)
    manager.__enter__()
    setattr(task.request, _MANAGER, manager)


@signals.task_postrun.connect(weak=False, dispatch_uid="littlebro.carrying")
def _leave(task: Any, **_: Any) -> None:
    manager = getattr(task.request, _MANAGER, None)
    if manager is not None:
        setattr(task.request, _MANAGER, None)
        manager.__exit__(None, None, None)
