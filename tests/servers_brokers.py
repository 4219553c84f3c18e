"""The brokers that the suite runs against: Redis and RabbitMQ, each private to the run, with a password of its own."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import ClassVar

from tests.ports import free_port
from tests.servers import Service

__all__ = ["RabbitMQ", "Redis"]


class Redis(Service):
    """Debian's `redis-server`, or any other's; it keeps nothing unless `options` say so."""

    name = "redis"
    packages = ("redis-server",)
    account = "redis"
    programs: ClassVar = {"serve": ("redis-server", "valkey-server")}
    stop_signal = signal.SIGTERM
    options: ClassVar[dict[str, str]] = {"save": "", "appendonly": "no"}

    def prepare(self) -> None:
        """Need nothing: the first start makes an empty store."""

    def command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "requirepass": self.password,
            "daemonize": "no",
            **self.options,
        }
        return [
            self.paths["serve"],
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]

    def ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as link:
            link.settimeout(1)
            link.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            return (
                link.makefile("rb").readline() == b"+OK\r\n"
            )  # not -LOADING, which an old store says at first
        return False

    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


class RabbitMQ(Service):
    """Debian's `rabbitmq-server`, with a name, ports and an Erlang port mapper that no other node knows."""

    name = "rabbitmq"
    packages = ("rabbitmq-server",)
    account = "rabbitmq"
    programs: ClassVar = {"serve": ("rabbitmq-server",), "control": ("rabbitmqctl",), "epmd": ("epmd",)}
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__()
        self.mapper: subprocess.Popen[bytes] | None = None
        self.mapper_port = 0
        self.distribution_port = 0

    def folders(self) -> Iterator[str]:
        yield "/usr/lib/rabbitmq/bin"  # Debian's own script of that name wants to change the account
        yield from super().folders()

    def environment(self) -> dict[str, str]:
        """Return what makes the node, and `rabbitmqctl` for it, private."""
        return {
            "HOME": str(self.folder),  # of the Erlang cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_NODENAME": f"littlebro{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server: one process to stop, by its id
        }

    def prepare(self) -> None:
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"default_user = littlebro\ndefault_pass = {self.password}\n"
            "log.console.level = warning\ndisk_free_limit.absolute = 50MB\n"
        )

    def command(self) -> list[str]:
        return [self.paths["serve"]]

    def launch(self) -> None:
        """Start the node, and before it, at the first start, the port mapper."""
        self.port = self.port or free_port()
        self.distribution_port = self.distribution_port or free_port()
        if self.mapper is None:  # one that the node starts would outlive it
            self.mapper_port = free_port()
            address = ["-address", "127.0.0.1", "-port", str(self.mapper_port)]
            self.mapper = self.spawn([self.paths["epmd"], *address], "log-epmd")
        self.process = self.spawn(self.command(), **self.environment())

    def control(self, *arguments: str) -> None:
        """Run `rabbitmqctl`; raises `UnavailableError` where that fails."""
        self.call(self.paths["control"], *arguments, **self.environment())

    def ready(self) -> bool:
        """Say hello: the port is opened last, when accounts are known."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as link:
            link.settimeout(2)
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return link.recv(1) == b"\x01"  # a method's frame: connection.start
        return False

    def stop(self) -> None:
        self.end(self.process)
        self.end(self.mapper)
        super().stop()

    def url(self) -> str:
        return f"amqp://littlebro:{self.password}@127.0.0.1:{self.port}//"
