"""One command: `littlebro`."""
