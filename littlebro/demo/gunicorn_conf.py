"""How gunicorn serves the demo shop: two processes of a few threads, everything it writes in the demo's folder.

Read by gunicorn itself, as `--config python:littlebro.demo.gunicorn_conf`.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from littlebro.demo.children import when_orphaned

wsgi_app = "littlebro.demo.wsgi:application"
workers = 2
worker_class = "gthread"
threads = 4
worker_tmp_dir = os.environ.get("LITTLEBRO_DEMO_FOLDER")
control_socket_disable = True
graceful_timeout = 15
loglevel = "warning"
proc_name = "littlebro-demo"


def post_worker_init(worker: Any) -> None:
    """End the server, by one of its workers, when the demo that started it has died."""
    server = worker.ppid

    def end() -> None:
        if os.getppid() == server:
            os.kill(server, signal.SIGTERM)

    when_orphaned(end)
