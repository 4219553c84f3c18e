"""Every option of littlebro, its default, and one line on it.

This page is the single list: the reader (`littlebro.conf`), the system checks and the settings page of the
docs are all made from it. Sizes are in bytes, times in seconds, unless the line says otherwise.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["ALIAS_OPTIONS", "DEFAULT_ALIASES", "GLOBAL_SETTINGS", "JOURNAL_OPTIONS", "Option"]


class Option(NamedTuple):
    """One option: its name, its default, and one line of help."""

    name: str
    default: Any
    help: str


def _table(*options: Option) -> Mapping[str, Option]:
    return {option.name: option for option in options}


DEFAULT_ALIASES: Final[Mapping[str, Mapping[str, Any]]] = {"default": {}}

ALIAS_OPTIONS: Final = _table(
    Option("TRACKER", "dummy", "How events travel: an entry-point name or a dotted path."),
    Option("BACKEND", "simple", "Where events end up: an entry-point name or a dotted path."),
    Option(
        "LOCATION", None, "Where the backend keeps them: a database alias, a file or a URL, as it defines."
    ),
    Option("OPTIONS", {}, "The backend's own options."),
    Option("TRACKER_OPTIONS", {}, "The tracker's own options, the journal's among them."),
    Option("SINKS", (), "Aliases whose backends get each batch as well."),
    Option("COLLECTION", "littlebro", "The named stream for events that name none."),
    Option(
        "ON_COMMIT", True, "Hold events until the open transaction commits: True, False, or a database alias."
    ),
    Option("RETENTION_DAYS", None, "Days after which `littlebro purge` deletes events; None keeps them."),
)

JOURNAL_OPTIONS: Final = _table(
    Option("JOURNAL", None, "Folder of the journal, on a local disk, for this project alone."),
    Option("SEAL_EVENTS", 500, "Events after which a segment is sealed; a segment is a batch."),
    Option("SEAL_BYTES", 1024 * 1024, "Bytes after which a segment is sealed."),
    Option("SEAL_SECONDS", 1.0, "Seconds after which a segment is sealed while delivery works."),
    Option(
        "MAX_BYTES", 1024**3, "Total size of the journal; above it the newest events are refused, counted."
    ),
    Option(
        "SINK_MAX_BYTES",
        256 * 1024**2,
        "Total size of what one sink may owe; above it batches skip that sink.",
    ),
    Option(
        "FSYNC", "never", "When to force events to the disk itself: 'never', 'batch' (each seal) or 'event'."
    ),
    Option("POLL_SECONDS", 5.0, "Seconds between looks at the folder for what other processes left behind."),
    Option("EXIT_SECONDS", 5.0, "Seconds that a normal exit may spend on delivery; the rest waits on disk."),
)

GLOBAL_SETTINGS: Final = _table(
    Option("LITTLEBRO", DEFAULT_ALIASES, "The aliases, as CACHES has them."),
    Option(
        "LITTLEBRO_STRICT", None, "Raise InvalidEvent on bad input instead of counting it; None means DEBUG."
    ),
    Option("LITTLEBRO_PLUGINS", (), "Dotted paths of plugins, called first and in this order."),
    Option(
        "LITTLEBRO_PLUGINS_AUTOLOAD", True, "Load installed plugins: True, False, or a list of their names."
    ),
    Option("LITTLEBRO_IP", "truncated", "Addresses of visitors: 'off', 'truncated' (/24, /48) or 'full'."),
    Option("LITTLEBRO_TRUSTED_PROXIES", 0, "Proxies in front: their number, or a list of address prefixes."),
    Option(
        "LITTLEBRO_SENSITIVE_KEYS",
        (
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "pwd",
            "secret",
            "token",
            "access_token",
            "auth_token",
            "refresh_token",
            "csrfmiddlewaretoken",
            "jwt",
            "bearer",
            "api_key",
            "access_key",
            "private_key",
            "authorization",
            "credentials",
            "cookie",
            "session_id",
            "sessionid",
            "session_key",
            "csrf",
            "xsrf",
            "otp",
            "pin",
            "credit_card",
            "card_number",
            "cvv",
            "cvc",
            "iban",
            "ssn",
            "social_security",
        ),
        "Keys whose values are replaced by '[redacted]', whatever their case, at any depth.",
    ),
    Option(
        "LITTLEBRO_RESPECT",
        ("DNT", "Sec-GPC"),
        "Request headers, by name, that drop the event where they are 1; () for none.",
    ),
    Option(
        "LITTLEBRO_ANONYMOUS_COOKIE",
        None,
        "Name of a first-party cookie with an anonymous id; None sets none.",
    ),
    Option("LITTLEBRO_ANONYMOUS_COOKIE_AGE", 31_536_000, "Age of that cookie in seconds, at most 400 days."),
    Option(
        "LITTLEBRO_MIDDLEWARE_IGNORE",
        (),
        "Beginnings of paths that the middleware does not record, each with its slash.",
    ),
    Option("LITTLEBRO_MAX_EVENT_BYTES", 32 * 1024, "Size of one encoded event."),
    Option("LITTLEBRO_MAX_DEPTH", 20, "Levels of nesting in params."),
    Option("LITTLEBRO_MAX_KEYS", 1000, "Keys of one event's params, nested ones included."),
    Option("LITTLEBRO_MAX_KEY_LENGTH", 256, "Characters of one key."),
    Option("LITTLEBRO_MAX_NAME_LENGTH", 200, "Characters of an event's name, at most 200."),
    Option(
        "LITTLEBRO_CELERY_USER",
        False,
        "Carry the user's and the anonymous id into your own Celery tasks, beside request id and bound values.",
    ),
    Option(
        "LITTLEBRO_FORGET_KEY", None, "Key that hashes the ids of forgotten people; None means SECRET_KEY."
    ),
    Option(
        "LITTLEBRO_LAKE",
        None,
        "Folder of the columnar copy that reports read, as an absolute path on a local disk; None reads the store.",
    ),
    Option(
        "LITTLEBRO_ANALYSIS_MEMORY",
        "512MB",
        "Memory that reports of one process may use together, as a size, or a share of the machine's such as '50%'.",
    ),
    Option("LITTLEBRO_ANALYSIS_SECONDS", 30.0, "Seconds that one report may take."),
    Option(
        "LITTLEBRO_ANALYSIS_THREADS",
        None,
        "Threads that reports of one process use; None means a thread a core.",
    ),
    Option(
        "LITTLEBRO_ANALYSIS_TAIL_EVENTS",
        50_000,
        "Events that reports read from the store itself; above it the lake is brought up to date first.",
    ),
)
