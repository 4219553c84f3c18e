"""The shop's server as a child process, started on a socket that is already bound.

Knows how gunicorn is run and nothing of what it serves.
"""

from __future__ import annotations

import socket
from pathlib import Path

from littlebro.demo.browser import Address
from littlebro.demo.children import Child

__all__ = ["Server", "listen"]


def listen(host: str, port: int) -> socket.socket:
    """Bind the shop's address now, so that a port in use is known before anything else is done (0: a free one)."""
    return socket.create_server((host, port))


class Server(Child):
    """One gunicorn."""

    def __init__(self, listening: socket.socket, folder: Path) -> None:
        """Start it.

        Args:
            listening: the bound socket; the server takes it over, and requests queue in it until it is up.
            folder: the demo's folder.
        """
        host, port = listening.getsockname()[:2]
        self.address = Address(host, port)
        descriptor = listening.fileno()
        config = "python:littlebro.demo.gunicorn_conf"
        super().__init__(
            "server",
            ["-m", "gunicorn", "--config", config, "--bind", f"fd://{descriptor}"],
            folder,
            # The user's own gunicorn settings are meant for another server.
            environment={"GUNICORN_CMD_ARGS": ""},
            keep=[descriptor],
        )
        listening.close()
