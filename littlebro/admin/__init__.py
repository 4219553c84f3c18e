"""The dashboard, stored events, dead letters and counts of losses in Django's admin, to be looked at.

No event is changed here; dead letters may be replayed or deleted by those who have the permissions for it.
Retention and erasure have their own commands, which count what they remove. A site of one's own registers the
classes that stand here.
"""

from __future__ import annotations

from django.contrib import admin

from littlebro.admin.dashboard import DashboardAdmin
from littlebro.admin.events import StoredEventAdmin
from littlebro.admin.letters import DeadLetterAdmin
from littlebro.admin.losses import LossCountAdmin
from littlebro.models import Dashboard, DeadLetter, LossCount, StoredEvent

__all__ = ["DashboardAdmin", "DeadLetterAdmin", "LossCountAdmin", "StoredEventAdmin"]

admin.site.register(Dashboard, DashboardAdmin)
admin.site.register(StoredEvent, StoredEventAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(LossCount, LossCountAdmin)
