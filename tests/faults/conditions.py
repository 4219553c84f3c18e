"""Odd circumstances that a process of a trial puts itself into, before it does its work."""

import ctypes
import os
import time
from typing import Any

__all__ = ["respect_modes", "shift_clock"]


def shift_clock(seconds: float) -> None:
    """Let this process live `seconds` in the future, or in the past."""
    import random
    from datetime import datetime, timedelta, tzinfo
    from uuid import UUID

    from littlebro.delivery import batch, losses, pipeline, segment
    from littlebro.events import event

    now = time.time

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    def uuid7() -> UUID:
        moment = int((now() + seconds) * 1000)
        return UUID(
            int=moment << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
        )

    time.time = lambda: now() + seconds
    for module in (batch, losses, pipeline):
        vars(module)["datetime"] = Datetime
    for other in (segment, event):
        vars(other)["uuid7"] = uuid7


def respect_modes() -> None:
    """Give up root's right to pass over file modes, so that a read-only folder is one."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
        data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
        if libc.capget(header, data):
            raise OSError(ctypes.get_errno(), "capget")
        data[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.capset(header, data):
            raise OSError(ctypes.get_errno(), "capset")
