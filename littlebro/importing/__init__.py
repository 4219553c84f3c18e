"""The door for files: access logs, JSON lines and CSV become events, once each however often they are imported.

`open_source` gives lines, a format makes records of them, `Importer` builds events through the same pipeline as
`track_event` and delivers them in batches. Knows trackers by alias alone; prints nothing.
"""

from littlebro.importing.records import BadLine, Record
from littlebro.importing.run import ACCESS_LOGS, FORMATS, Importer, Summary
from littlebro.importing.source import Source, SourceError, open_source

__all__ = [
    "ACCESS_LOGS",
    "FORMATS",
    "BadLine",
    "Importer",
    "Record",
    "Source",
    "SourceError",
    "Summary",
    "open_source",
]
