"""Plugins that are broken on purpose, one kind a module, beside a good one. Each says what is wrong with it."""
# mypy: ignore-errors
