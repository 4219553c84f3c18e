"""Where events rest: the contract of backends, reading through it, and the handler of aliases."""

from littlebro.storage.base import BaseBackend, SaveResult
from littlebro.storage.handler import backends
from littlebro.storage.reading import MAX_LIMIT, count, iterate, read_page

__all__ = ["MAX_LIMIT", "BaseBackend", "SaveResult", "backends", "count", "iterate", "read_page"]
