"""The panels by their place in the address: each is fetched, shown and exported by itself."""

from collections.abc import Mapping
from typing import Final

from littlebro.dashboard.panels.base import Answer, Panel
from littlebro.dashboard.panels.cohorts import RETENTION
from littlebro.dashboard.panels.funnels import FUNNEL, FUNNEL_PEOPLE
from littlebro.dashboard.panels.lists import BREAKDOWN, LIST
from littlebro.dashboard.panels.live import LIVE
from littlebro.dashboard.panels.persons import PEOPLE, PERSON
from littlebro.dashboard.panels.trends import CHART, FIGURES
from littlebro.dashboard.panels.ways import PATHS

__all__ = ["PANELS", "Answer", "Panel"]

PANELS: Final[Mapping[str, Panel]] = {
    panel.slug: panel
    for panel in (
        FIGURES,
        CHART,
        LIST,
        BREAKDOWN,
        FUNNEL,
        FUNNEL_PEOPLE,
        RETENTION,
        PATHS,
        PEOPLE,
        PERSON,
        LIVE,
    )
}
