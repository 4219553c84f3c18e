"""Django looks for commands under this name."""
