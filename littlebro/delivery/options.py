"""What the options of trackers with a journal must be.

In: TRACKER_OPTIONS, defaults filled in. Out: nothing, or the complaint. Knows shapes, and no journal.
"""

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlebro.conf import AliasConfig
from littlebro.conf.defaults import JOURNAL_OPTIONS

__all__ = ["check_journal_options"]


def check_journal_options(config: AliasConfig, options: Mapping[str, Any], *, journal_required: bool) -> None:
    """Refuse values of the wrong shape: raises `ImproperlyConfigured`, naming the alias and the option."""
    folder = options["JOURNAL"]
    if folder is None and journal_required:
        raise config.error(
            f"the tracker {config.tracker!r} needs TRACKER_OPTIONS['JOURNAL'], a folder on a local disk for this "
            "project alone, for instance BASE_DIR / 'journal'."
        )
    if folder is not None and (not isinstance(folder, str | Path) or not Path(folder).is_absolute()):
        raise config.error(f"TRACKER_OPTIONS['JOURNAL'] must be an absolute path, not {folder!r}.")
    if options["FSYNC"] not in ("never", "batch", "event"):
        raise config.error(
            f"TRACKER_OPTIONS['FSYNC'] is 'never', 'batch' or 'event', not {options['FSYNC']!r}."
        )
    for name, option in JOURNAL_OPTIONS.items():
        value = options[name]
        if isinstance(option.default, int | float):
            kinds = (int,) if isinstance(option.default, int) else (int, float)
            most = math.inf if isinstance(option.default, int) else threading.TIMEOUT_MAX
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < most:
                raise config.error(f"TRACKER_OPTIONS[{name!r}] must be a number above zero, not {value!r}.")
