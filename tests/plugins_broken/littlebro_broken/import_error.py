"""The import fails."""
# mypy: ignore-errors

raise RuntimeError("the settings of this plugin are wrong")
