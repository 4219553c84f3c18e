"""A port that was given out is nobody else's, however late its server listens."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import ports

ROOT = Path(__file__).parent.parent
ASK = """
import sys
from tests import ports

ports._PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + 4)
print(ports.free_port(), flush=True)
sys.stdin.read()
"""


def test_each_is_given_once_whichever_process_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ports, one of them with a listener: three for us and the children, then none; an ended child's is free."""
    first = _four_free()
    monkeypatch.setattr(ports, "_PORTS", range(first, first + 4))
    with ExitStack() as stack:
        stack.callback(_give_back, len(ports._claims))
        taken = stack.enter_context(socket.create_server(("127.0.0.1", first + 2)))
        ours = ports.free_port()
        command = [sys.executable, "-c", ASK, str(first)]
        children = []
        for _ in range(2):
            child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            children.append(stack.enter_context(child))
        theirs = [int(child.stdout.readline()) for child in children if child.stdout]
        assert sorted([ours, *theirs, taken.getsockname()[1]]) == list(range(first, first + 4))
        with pytest.raises(OSError, match=f"1000 ports tried from {first} to {first + 3}, and none is free"):
            ports.free_port()
        children[0].communicate()
        assert ports.free_port() == theirs[0]


def test_none_is_one_that_the_kernel_gives_away() -> None:
    """A connection of anybody's gets a port above ours."""
    kernel = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not kernel.exists():
        pytest.skip("this kernel does not say which ports it gives away")
    assert ports._PORTS.stop <= int(kernel.read_text().split()[0])


def _four_free() -> int:
    """Return the first of four free ports in a row, below those that other tests of this moment are given."""
    for first in range(10000, 15000, 4):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 4):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    pytest.fail("not four free ports in a row")


def _give_back(kept: int) -> None:
    while len(ports._claims) > kept:
        ports._claims.pop().close()
