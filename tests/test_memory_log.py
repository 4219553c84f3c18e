"""What is particular to the backends `memory` and `log`."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from littlebro.events.event import decode
from littlebro.events.query import EventQuery
from littlebro.exceptions import UnsupportedOperation
from littlebro.testing.contracts import make_event as make
from littlebro_backends import log, memory


class TestMemoryStore:
    """What is particular to memory."""

    def test_aliases_share_a_store_by_name(self) -> None:
        """LOCATION names the store, as Django's locmem cache has it."""
        one, same, other = (memory.Backend(alias, name, {"MAX_EVENTS": None}) for alias, name in
                            [("a", "x"), ("b", "x"), ("c", "y")])  # fmt: skip
        one.save_many([make()])
        assert (same.count(EventQuery()), other.count(EventQuery())) == (1, 0)
        one.clear()

    def test_a_full_store_says_so_and_takes_nothing(self) -> None:
        """Above MAX_EVENTS a batch is refused as a whole, to be tried again."""
        backend = memory.Backend("default", "full", {"MAX_EVENTS": 2})
        kept = make()
        backend.save_many([kept])
        with pytest.raises(memory.Full, match=r"^LITTLEBRO\['default'\]: .*MAX_EVENTS is 2"):
            backend.save_many([make(), make()])
        assert backend.save_many([kept, make()]).stored == 1
        backend.clear()

    @pytest.mark.parametrize("limit", [0, -1, True, "5", 1.5])
    def test_a_wrong_limit_is_an_error(self, limit: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['default'\]: MAX_EVENTS must be"):
            memory.Backend("default", None, {"MAX_EVENTS": limit})

    def test_threads_store_each_event_once(self) -> None:
        backend = memory.Backend("default", "threads", {"MAX_EVENTS": None})
        events = [make() for _ in range(300)]
        threads = [threading.Thread(target=backend.save_many, args=(events,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert backend.count(EventQuery()) == 300
        backend.clear()


class TestLog:
    """The backend that appends to a file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "events.jsonl"

    @pytest.fixture
    def backend(self, path: Path) -> Iterator[log.Backend]:
        backend = log.Backend("archive", str(path), {})
        yield backend
        backend.close()

    def test_each_event_is_a_line(self, backend: log.Backend, path: Path) -> None:
        """A batch is appended as lines of JSON that hold the whole event; the file is its owner's alone."""
        events = [make(params={"t": "a\nb 😀"}), make()]
        result = backend.save_many(events)
        backend.save_many(events[:1])
        assert (result.stored, result.duplicates) == (2, None)
        assert [decode(line) for line in path.read_bytes().splitlines()] == [*events, events[0]]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not backend.idempotent

    def test_a_rotated_file_is_made_anew(self, backend: log.Backend, path: Path) -> None:
        """After logrotate moved or removed the file, the next batch goes to the name."""
        backend.save_many([make()])
        path.rename(path.with_suffix(".1"))
        backend.save_many([make(id="second")])
        path.unlink()
        backend.save_many([make(id="third")])
        assert [decode(line).id for line in path.read_bytes().splitlines()] == ["third"]

    def test_a_failed_batch_leaves_no_torn_line(
        self, backend: log.Backend, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that fills up in the middle of a batch is an error, and the file ends where it ended."""
        backend.save_many([make()])
        before = path.read_bytes()
        write, calls = os.write, []

        def short(descriptor: int, data: bytes) -> int:
            calls.append(len(data))
            if len(calls) == 1:
                return write(descriptor, data[:50])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space left"):
            backend.save_many([make(), make()])
        monkeypatch.undo()
        assert path.read_bytes() == before
        backend.save_many([make()])
        assert len(path.read_bytes().splitlines()) == 2

    @pytest.mark.parametrize("mode", [0o600, 0o200])
    def test_a_killed_writer_spoils_no_line_of_others(
        self, backend: log.Backend, path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line without its end stays alone; a file that may not be read is appended to as it is."""
        path.write_bytes(b'{"id": "cut sh')
        if mode == 0o200:  # root may read whatever it likes
            monkeypatch.setattr(os, "access", lambda _, how: how != os.R_OK)
        events = [make(), make()]
        backend.save_many(events)
        backend.save_many([make()])
        torn, *lines = path.read_bytes().splitlines()
        if mode == 0o600:
            assert torn == b'{"id": "cut sh'
            assert [decode(line) for line in lines[:2]] == events
            assert len(lines) == 3
        else:
            assert torn.startswith(b'{"id": "cut sh{"')
            assert len(lines) == 2

    def test_a_forked_child_opens_the_file_itself(self, backend: log.Backend, path: Path) -> None:
        """Parent and child both write, and share no lock."""
        backend.save_many([make()])
        child = os.fork()
        if not child:
            try:
                backend.save_many([make(), make()])
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        backend.save_many([make()])
        assert len([decode(line) for line in path.read_bytes().splitlines()]) == 4

    def test_a_pipe_will_do(self, tmp_path: Path) -> None:
        """What is no regular file, such as /dev/stdout, is written to as it is."""
        fifo = tmp_path / "pipe"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        backend = log.Backend("archive", str(fifo), {})
        event = make()
        backend.save_many([event])
        assert decode(os.read(reader, 10_000).rstrip()) == event
        backend.close()
        os.close(reader)

    @pytest.mark.parametrize("operation", ["scan", "delete_many", "count"])
    def test_reading_is_refused_by_name(self, backend: log.Backend, operation: str) -> None:
        """The message names the alias, the backend and the operation."""
        with pytest.raises(
            UnsupportedOperation,
            match=rf"^LITTLEBRO\['archive'\]: .*littlebro_backends\.log\.Backend .*{operation}",
        ):
            getattr(backend, operation)(EventQuery())
        with pytest.raises(UnsupportedOperation, match="scan_stored"):
            backend.scan_stored()

    @pytest.mark.parametrize("location", [None, "", "events.jsonl", "./x"])
    def test_it_needs_an_absolute_path(self, location: str | None) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^LITTLEBRO\['archive'\]: .*absolute path"):
            log.Backend("archive", location, {})

    def test_a_missing_folder_is_told(self, tmp_path: Path) -> None:
        backend = log.Backend("archive", str(tmp_path / "no" / "events.jsonl"), {})
        assert "no folder" in backend.check()[0]
        with pytest.raises(FileNotFoundError, match=r"there is no such folder.*/no'$"):
            backend.save_many([make()])

    def test_it_is_there(self, backend: log.Backend, path: Path) -> None:
        assert backend.check() == []
        backend.ping()
        assert path.exists()
        assert backend.check() == []
