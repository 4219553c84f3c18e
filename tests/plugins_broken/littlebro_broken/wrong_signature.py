"""An argument that the hook does not give."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl
def littlebro_enrich_event(alias, event, reqest):
    return {"path": reqest.path}
