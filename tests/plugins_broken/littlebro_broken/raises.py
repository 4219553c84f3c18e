"""Loads well and raises whenever it is called."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl
def littlebro_drop_event(alias, event):
    raise ConnectionError("the list of bots is away")


@hookimpl
def littlebro_enrich_event(alias, event):
    return 1 / 0


@hookimpl
def littlebro_enrich_stored(alias, event):
    raise KeyError("country")


@hookimpl
def littlebro_events_stored(alias, events):
    raise OSError("the warehouse is away")


@hookimpl
def littlebro_events_failed(alias, events, reason):
    raise OSError("the pager is away")
