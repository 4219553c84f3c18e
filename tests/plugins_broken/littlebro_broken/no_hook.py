"""Implements nothing: the entry point leads to the wrong module."""
# mypy: ignore-errors

VERSION = "1.0"
