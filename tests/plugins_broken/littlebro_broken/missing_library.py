"""A library that the package names in an extra is not installed."""
# mypy: ignore-errors

import a_library_that_is_not_there

from littlebro import hookimpl


@hookimpl
def littlebro_enrich_stored(alias, event):
    return {"country": a_library_that_is_not_there.country(event.context["ip"])}
