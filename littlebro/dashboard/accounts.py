# ruff: noqa: SLF001 - a model's `_meta` is documented, and there is no other way to it
"""The site's own accounts behind the user ids of events: what they are called, and where the admin shows them.

In: ids, as events hold them. Out: names and addresses, for those alone who may see accounts in the admin anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.urls import reverse

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

__all__ = ["Account", "Accounts"]

_FOUND: Final = 20


class Account(msgspec.Struct, frozen=True):
    """An account: its id as events have it, its name, the address of its page in the admin."""

    user_id: str
    name: str
    url: str

    @property
    def key(self) -> str:
        """Return the person as the reports write them."""
        return f"u:{self.user_id}"


class Accounts:
    """Looks accounts up for one request; finds none for those who may not see them."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site = site
        self._model: Any = get_user_model()
        self._rows: Any = None  # those that the admin shows to who asks, None where it shows none
        if site.is_registered(self._model):
            shown = site.get_model_admin(self._model)
            self._rows = shown.get_queryset(request) if shown.has_view_permission(request) else None

    def look_up(self, ids: Iterable[str]) -> dict[str, Account]:
        """Return the accounts with these ids, by id."""
        if self._rows is None:
            return {}
        keys = {}
        for text in ids:
            try:
                key = self._model._meta.pk.to_python(text)
            except (ValidationError, ValueError, OverflowError):
                continue
            if str(key) == text and not (isinstance(key, int) and abs(key) >= 2**63):
                keys[key] = text
        found = self._rows.filter(pk__in=list(keys))
        return {str(user.pk): self._account(user) for user in found}

    def search(self, text: str) -> list[Account]:
        """Return accounts whose user name or address contains `text`."""
        if self._rows is None or not text or "\0" in text:
            return []
        names = {self._model.USERNAME_FIELD, self._model.get_email_field_name()}
        known = {field.name for field in self._model._meta.get_fields()}
        test = Q()
        for name in sorted(names & known):
            test |= Q(**{f"{name}__icontains": text})
        return [self._account(user) for user in self._rows.filter(test).order_by("pk")[:_FOUND]]

    def _account(self, user: Any) -> Account:
        meta = self._model._meta
        name = f"{self._site.name}:{meta.app_label}_{meta.model_name}_change"
        return Account(str(user.pk), str(user), reverse(name, args=[quote(user.pk)]))
