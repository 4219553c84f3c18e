"""Who may see what: the dashboard's own permissions, asked for in every view.

The admin lets in whoever is staff; that alone shows nothing here. Persons, exports and what is kept for others
take a permission each.
"""

from __future__ import annotations

from typing import Final

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from littlebro.dashboard.questions import Question

__all__ = ["ERASE", "EXPORT", "MANAGE", "PERSONS", "VIEW", "Access", "access_of", "needs_persons"]

VIEW: Final = "littlebro.view_dashboard"
PERSONS: Final = "littlebro.view_person"
EXPORT: Final = "littlebro.export_dashboard"
MANAGE: Final = "littlebro.manage_dashboard"
ERASE: Final = "littlebro.erase_person"

_IDS: Final = frozenset({("user_id",), ("anonymous_id",)})


class Access(msgspec.Struct, frozen=True):
    """What one user may do in the dashboard, besides seeing it."""

    persons: bool
    export: bool
    manage: bool
    erase: bool


def access_of(request: HttpRequest, *needed: str) -> Access:
    """Return what the user may do; raises `PermissionDenied` without `VIEW` or a permission in `needed`."""
    user = request.user
    if not all(user.has_perm(permission) for permission in (VIEW, *needed)):
        raise PermissionDenied
    return Access(user.has_perm(PERSONS), user.has_perm(EXPORT), user.has_perm(MANAGE), user.has_perm(ERASE))


def needs_persons(question: Question) -> bool:
    """Return whether the answer would tell about single persons: a filter on one, or a list of their ids."""
    return question.person is not None or tuple(question.text("by").strip().split(".")) in _IDS
