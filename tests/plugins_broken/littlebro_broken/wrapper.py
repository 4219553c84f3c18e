"""A wrapper: it would see, and could change, what other plugins return."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl(wrapper=True)
def littlebro_enrich_event(alias, event):
    return (yield)
