"""A hook without its mark: pluggy would pass over it in silence."""
# mypy: ignore-errors


def littlebro_redact_event(alias, event):
    return {("params", "email"): None}
