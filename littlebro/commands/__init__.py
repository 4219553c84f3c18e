"""The subcommands of ``manage.py littlebro``, a module each. They read and report; the work is done by the rooms."""

from collections.abc import Mapping
from typing import Final, cast

from littlebro.commands import (
    deadletters,
    export_events,
    flush,
    forget,
    import_file,
    lake,
    person,
    plugins,
    purge,
    setup,
    status,
    sync,
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
    "sync": cast(Subcommand, sync),
    "lake": cast(Subcommand, lake),
    "purge": cast(Subcommand, purge),
    "forget": cast(Subcommand, forget),
    "person": cast(Subcommand, person),
    "import": cast(Subcommand, import_file),
    "export": cast(Subcommand, export_events),
}
