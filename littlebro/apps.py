"""The app's wiring into Django: checks, the receiver of changed settings, and no work besides."""

import sys

from django.apps import AppConfig
from django.core.signals import setting_changed

__all__ = ["LittlebroConfig"]


class LittlebroConfig(AppConfig):
    """What ``"littlebro"`` in INSTALLED_APPS means."""

    name = "littlebro"
    verbose_name = "Little Brother"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and rebuild trackers whenever a test overrides a setting."""
        from littlebro import checks  # noqa: F401, PLC0415 - registered by being imported
        from littlebro.delivery.handler import on_setting_changed  # noqa: PLC0415 - apps are ready only now

        setting_changed.connect(on_setting_changed, dispatch_uid="littlebro")
        if "celery" in sys.modules:  # the project has an app: its tasks shall know which request started them
            from littlebro import carrying  # noqa: F401, PLC0415 - connected by being imported; needs celery
