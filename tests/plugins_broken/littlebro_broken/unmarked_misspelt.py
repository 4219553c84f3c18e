"""A misspelt hook without its mark."""
# mypy: ignore-errors


def littlebro_redact_evnt(alias, event):
    return {("params", "email"): None}
