"""The dashboard's place in the admin: one registered model, whose addresses are the dashboard's own."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import URLPattern

from littlebro.admin.base import ReadOnlyAdmin
from littlebro.dashboard.access import VIEW
from littlebro.dashboard.urls import urls

__all__ = ["DashboardAdmin"]


class DashboardAdmin(ReadOnlyAdmin):
    """Shows the dashboard in place of a list of rows."""

    def get_urls(self) -> list[URLPattern]:
        """Return the dashboard's addresses alone: there are no rows to list, add, change or delete."""
        return urls(self.admin_site)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Return whether the user has the permission `littlebro.view_dashboard`."""
        return bool(request.user.has_perm(VIEW))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the admin's index shows the dashboard."""
        return self.has_view_permission(request)
