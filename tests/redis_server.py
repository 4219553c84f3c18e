"""A private Redis for the example backend: started on a free port, put away with its data, brought back, ended."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port

__all__ = ["RedisServer", "find"]

_START_SECONDS = 20.0


def find() -> str | None:
    """Return the path of the program, or None where it is not installed (Debian: redis-server)."""
    return shutil.which("redis-server")


class RedisServer:
    """One server process; what it held is there again after `stop` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        program = find()
        assert program is not None
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "3600 1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + _START_SECONDS
        client = self.client()
        while True:
            try:
                client.ping()
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                client.close()
                return

    def stop(self) -> None:
        """End the server; it writes its data down first."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(20)

    def client(self) -> Any:
        """Return a client."""
        import redis

        return redis.Redis.from_url(self.url)
