"""Free ports for servers that take their time to start, or go away for a while and come back to the same one."""

import secrets
import socket
from typing import Final

__all__ = ["free_port"]

# Below the ports that the kernel gives to whoever connects to something: 32768 and more on Linux, 49152 and more
# elsewhere (RFC 6335). One of those may be anybody's by the time the server listens.
_PORTS: Final = range(15000, 32768)
_TRIES: Final = 1000
_claims: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; no other caller is given it until this process ends.

    The claim is the same port of UDP, which none of the servers uses. Raises `OSError` where a thousand are taken.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_PORTS)
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do it
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port
    raise OSError(f"{_TRIES} ports tried from {_PORTS.start} to {_PORTS.stop - 1}, and none is free")
