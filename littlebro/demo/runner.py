"""`python -m littlebro demo`: sets up the shop, serves it, lets visitors in, and tells what is stored.

Options go in; out come the addresses to look at, a live line, and a summary whose exit code says whether requests
made, events tracked and events stored agree.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from littlebro.demo.children import Child
from littlebro.demo.history import DAYS
from littlebro.demo.parts import BACKENDS, TRACKERS, Missing, Parts
from littlebro.demo.server import Server, listen
from littlebro.demo.stage import NotOurs, drop_events, open_folder, set_up, tell_history
from littlebro.demo.workers import start_workers, tidy_broker

__all__ = ["main"]

_HOST = "127.0.0.1"


class _PortTaken(Exception):
    """Somebody else listens there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo until it is stopped, or for as long as it was asked to.

    Returns 0 if requests, events tracked and events stored agree (also after Ctrl-C or SIGTERM), 1 if they do
    not, the server failed or nobody reads any more what it says, 2 if the demo could not start as it was asked to,
    130 if it was interrupted twice.
    """
    options = _options(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal cannot show is no reason to end
        sys.stdout.reconfigure(errors="replace")
    stop = threading.Event()
    parts = Parts(options.tracker, options.backend, options.broker, options.mongodb)
    try:
        parts.demand()
        with _signals(stop), _listening(options.port) as listening, open_folder(options.keep) as folder:
            return _run(options, stop, listening, folder, parts)
    except (NotOurs, Missing, _PortTaken) as error:
        print(f"littlebro demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads (`| head`) has enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(
    options: argparse.Namespace,
    stop: threading.Event,
    listening: socket.socket,
    folder: Path,
    parts: Parts,
) -> int:
    began = time.monotonic()
    print("Setting up the shop …", flush=True)
    password = set_up(folder, parts)
    told = tell_history(folder, password)
    if told:
        print(f"Imported {told:,} events of the {DAYS} days before.", flush=True)

    from littlebro.demo.show import Show  # noqa: PLC0415 - reads tables, so only after the setup

    children: list[Child] = []
    try:
        children += start_workers(parts, folder)
        children.append(server := Server(listening, folder))
        show = Show(
            parts,
            server,
            children[:-1],
            password,
            visitors=options.visitors,
            requests_a_second=options.rate,
            began=began,
        )
        return show.run(stop, options.seconds)
    finally:
        for child in reversed(children):
            child.stop()
        tidy_broker(parts, None if options.keep is None else folder)
        if options.keep is None:
            drop_events(parts)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m littlebro demo",
        description="A small Django shop with simulated visitors, and the events that they leave behind.",
    )
    add = parser.add_argument
    add(
        "--for",
        dest="seconds",
        type=_positive,
        metavar="SECONDS",
        help="end after so long (default: at Ctrl-C)",
    )
    add(
        "--port",
        type=_port,
        default=8000,
        metavar="N",
        help="where the shop listens, 0: a free one (%(default)s)",
    )
    add("--tracker", choices=TRACKERS, default=TRACKERS[0], help="how events travel (%(default)s)")
    add("--backend", choices=BACKENDS, default=BACKENDS[0], help="where they are stored (%(default)s)")
    for name, variable, use in (
        ("--broker", "LITTLEBRO_DEMO_BROKER", "RabbitMQ or Redis, with --tracker celery"),
        ("--mongodb", "LITTLEBRO_DEMO_MONGODB", "MongoDB, with --backend mongo"),
    ):
        default = os.environ.get(variable, "")
        add(name, default=default, metavar="URL", help=f"{use} (default: the variable {variable})")
    add("--visitors", type=_crowd, default=6, metavar="N", help="in the shop at once, up to 32 (%(default)s)")
    add(
        "--rate",
        type=_rate,
        default=5.0,
        metavar="N",
        help="requests a second, of all together (%(default)g)",
    )
    add("--keep", type=Path, metavar="DIR", help="put database and journal there, and leave them there")
    return parser.parse_args(argv)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and below 1,000,000, not {text}")
    return number


def _rate(text: str) -> float:
    number = float(text)
    if not 0.01 <= number < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number from 0.01 up, below 1,000,000, not {text}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return number


def _crowd(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 32:
        raise argparse.ArgumentTypeError(f"must be from 1 to 32, not {text}")
    return number


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Take the first Ctrl-C or SIGTERM as the wish to end in order, a second one as that to end at once.

    The end of the terminal (SIGHUP) is such a wish too, unless it is ignored, as below `nohup`.
    """
    asked = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked or stop.is_set():
            raise KeyboardInterrupt
        asked = True
        # Not here: what was interrupted may be waiting for the event at this moment, and hold its lock.
        threading.Thread(target=stop.set, name="demo-stop", daemon=True).start()

    wishes = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wishes.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in wishes}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listening = listen(_HOST, port)
    except OSError as error:
        raise _PortTaken(f"port {port}: {error.strerror}; --port 0 takes a free one") from error
    with listening:
        yield listening
