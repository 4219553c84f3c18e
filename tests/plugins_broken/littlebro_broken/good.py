"""The good one: whatever the others do, it is called."""
# mypy: ignore-errors

from littlebro import hookimpl

littlebro_api = 1


@hookimpl
def littlebro_enrich_event(alias, event):
    return {"good": alias}
