"""Deliver events from a pool of threads: nothing on disk, and the caller does not wait.

Not durable: what waits when the process is killed is gone, and what the backend does not take is counted.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from django.db import connections

from littlebro.delivery import BaseTracker, losses


class Tracker(BaseTracker):
    option_defaults = {"THREADS": 2, "MOST_WAITING": 10_000}

    def __init__(self, config):
        super().__init__(config)
        self.start_anew()

    def start_anew(self):
        """Begin without a pool: threads, and locks that they may hold, do not come along into a forked child."""
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.pool = None
        self.waiting = set()

    def send(self, event, line):
        if self.pid != os.getpid():
            self.start_anew()
        if len(self.waiting) >= self.options["MOST_WAITING"]:
            losses.count(self.alias, "not-stored")
            return False
        with self.lock:
            if self.pool is None:
                self.pool = ThreadPoolExecutor(self.options["THREADS"], thread_name_prefix="littlebro")
            future = self.pool.submit(self.take, event)
            self.waiting.add(future)
        future.add_done_callback(self.waiting.discard)
        return True

    def take(self, event):
        try:
            self.deliver([event])
        except Exception:
            losses.count(self.alias, "not-stored")
        finally:
            connections.close_all()  # this thread's own: Django closes those of requests alone

    def flush(self, timeout=5.0):
        return not wait(set(self.waiting), timeout).not_done

    def close(self):
        with self.lock:
            pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown()
