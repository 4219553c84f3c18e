"""A class that cannot be made into an object."""
# mypy: ignore-errors

from littlebro import hookimpl


class Plugin:
    def __init__(self):
        raise LookupError("no licence found")

    @hookimpl
    def littlebro_enrich_event(self, alias, event):
        return {"class": True}
