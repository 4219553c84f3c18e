"""How gunicorn serves the demo shop: two processes of a few threads, everything it writes in the demo's folder.

Read by gunicorn itself, as `--config python:littlebro.demo.gunicorn_conf`.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

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
    """End the server when the demo that started it has died: its end of our standard input is then closed."""
    threading.Thread(target=_follow_into_death, args=(worker.ppid,), name="demo-watch", daemon=True).start()


def _follow_into_death(server: int) -> None:
    while os.read(0, 1):
        pass
    if os.getppid() == server:
        os.kill(server, signal.SIGTERM)
