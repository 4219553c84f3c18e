"""A generator: calling it runs nothing."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl
def littlebro_enrich_event(alias, event):
    yield {"yields": True}
