"""The subcommands of ``manage.py littlebro``, a module each. They read and report; the work is done by the rooms."""

from collections.abc import Mapping
from typing import Final, cast

from littlebro.commands import (
    breakdown,
    deadletters,
    export_events,
    flush,
    forget,
    funnel,
    import_file,
    lake,
    live,
    paths,
    person,
    plugins,
    purge,
    retention,
    setup,
    status,
    sync,
    trend,
    upkeep,
)
from littlebro.commands.base import Subcommand, Terminal, UsageError

__all__ = ["SUBCOMMANDS", "Subcommand", "Terminal", "UsageError"]

SUBCOMMANDS: Final[Mapping[str, Subcommand]] = {
    "status": cast(Subcommand, status),
    "plugins": cast(Subcommand, plugins),
    "setup": cast(Subcommand, setup),
    "flush": cast(Subcommand, flush),
    "upkeep": cast(Subcommand, upkeep),
    "deadletters": cast(Subcommand, deadletters),
    "trend": cast(Subcommand, trend),
    "breakdown": cast(Subcommand, breakdown),
    "funnel": cast(Subcommand, funnel),
    "retention": cast(Subcommand, retention),
    "paths": cast(Subcommand, paths),
    "live": cast(Subcommand, live),
    "sync": cast(Subcommand, sync),
    "lake": cast(Subcommand, lake),
    "purge": cast(Subcommand, purge),
    "forget": cast(Subcommand, forget),
    "person": cast(Subcommand, person),
    "import": cast(Subcommand, import_file),
    "export": cast(Subcommand, export_events),
}
