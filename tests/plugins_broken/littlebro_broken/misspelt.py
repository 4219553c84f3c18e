"""A misspelt hook beside a good one: the plugin is refused as a whole."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl
def littlebro_enrich_evnt(alias, event, request):
    return {"misspelt": True}


@hookimpl
def littlebro_enrich_event(alias, event, request):
    return {"half-registered": True}
