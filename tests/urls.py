"""The URLs of the suite's site: the admin alone. A test of views brings its own by `pytest.mark.urls`."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
