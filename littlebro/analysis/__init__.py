"""The reading side: reports on the events of any backend. DuckDB is loaded by the first question, not by an import.

A report is a function that takes an `EventQuery` and returns a frozen struct; each lives in a file of
`littlebro.analysis.reports`, whose docstring holds its rules, and has a twin for event loops (``atrend``).
"""

from littlebro.analysis.calendar import Bucket
from littlebro.analysis.question import Path, Person, Step
from littlebro.analysis.reports.breakdown import Breakdown, Row, abreakdown, breakdown
from littlebro.analysis.reports.funnel import (
    Exclusion,
    Funnel,
    FunnelGroup,
    FunnelStep,
    afunnel,
    afunnel_people,
    funnel,
    funnel_people,
)
from littlebro.analysis.reports.live import Live, alive, live
from littlebro.analysis.reports.paths import PathLink, PathNode, Paths, apaths, paths
from littlebro.analysis.reports.people import People, PersonRow, apeople, people
from littlebro.analysis.reports.person import IdLink, NameCount, PersonReport, aperson, person
from littlebro.analysis.reports.retention import Cell, Cohort, Retention, aretention, retention
from littlebro.analysis.reports.trend import Series, Trend, atrend, trend
from littlebro.analysis.result import Key, Result, Table

__all__ = [
    "Breakdown",
    "Bucket",
    "Cell",
    "Cohort",
    "Exclusion",
    "Funnel",
    "FunnelGroup",
    "FunnelStep",
    "IdLink",
    "Key",
    "Live",
    "NameCount",
    "Path",
    "PathLink",
    "PathNode",
    "Paths",
    "People",
    "Person",
    "PersonReport",
    "PersonRow",
    "Result",
    "Retention",
    "Row",
    "Series",
    "Step",
    "Table",
    "Trend",
    "abreakdown",
    "afunnel",
    "afunnel_people",
    "alive",
    "apaths",
    "apeople",
    "aperson",
    "aretention",
    "atrend",
    "breakdown",
    "funnel",
    "funnel_people",
    "live",
    "paths",
    "people",
    "person",
    "retention",
    "trend",
]
