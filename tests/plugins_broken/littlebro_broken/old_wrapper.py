"""A wrapper of pluggy's old kind."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl(hookwrapper=True)
def littlebro_enrich_event(alias, event):
    yield
