"""Written for a littlebro that does not exist yet."""
# mypy: ignore-errors

from littlebro import hookimpl

littlebro_api = 99


@hookimpl
def littlebro_enrich_event(alias, event):
    return {"newer": True}
