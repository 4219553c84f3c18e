"""The app's wiring into Django: checks, the receivers of its signals, and no work besides."""

import sys

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db.models.signals import post_migrate

__all__ = ["LittlebroConfig"]


class LittlebroConfig(AppConfig):
    """What ``"littlebro"`` in INSTALLED_APPS means."""

    name = "littlebro"
    verbose_name = "Little Brother"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, see to the stores after migrate, rebuild trackers for changed settings."""
        from littlebro import checks  # noqa: F401, PLC0415 - registered by being imported
        from littlebro.delivery.handler import on_setting_changed  # noqa: PLC0415 - apps are ready only now
        from littlebro.storage.after_migrate import set_up_stores  # noqa: PLC0415 - likewise

        post_migrate.connect(set_up_stores, sender=self, dispatch_uid="littlebro")
        setting_changed.connect(on_setting_changed, dispatch_uid="littlebro")
        if "celery" in sys.modules:  # the project has an app: its tasks shall know which request started them
            from littlebro import carrying  # noqa: F401, PLC0415 - connected by being imported; needs celery
