"""What lies in the journal is delivered once, whoever finds it, and whatever happened to its bytes."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.conftest import Maker
from tests.faults.harness import World, logged

_POISONED = """CREATE TRIGGER poison BEFORE INSERT ON littlebro_storedevent WHEN NEW.name = 'poison'
BEGIN SELECT RAISE(ABORT, 'no poison in here'); END"""


def left_behind(world: World, n: int) -> list[Path]:
    """Let a process track `n` events and die; return the segments that it left, undelivered."""
    down(world)
    world.run("some", n, "os._exit")
    up(world)
    return sorted(
        path for path in (world.journal / "default").iterdir() if path.suffix in {".active", ".sealed"}
    )


def store(world: World) -> Path:
    return Path(str(world.aliases["default"]["LOCATION"]))


def down(world: World) -> None:
    Path(f"{store(world)}.down").touch()


def up(world: World) -> None:
    Path(f"{store(world)}.down").unlink()


@pytest.fixture
def fragile(make_world: Maker, tmp_path: Path) -> World:
    """Give a world whose store shows each delivery, in segments of twenty events."""
    backend = {"BACKEND": "tests.faults.site.stores.Fragile", "LOCATION": str(tmp_path / "events.log")}
    return make_world(backend=backend, options={"SEAL_EVENTS": 20, "SEAL_SECONDS": 30.0})


def test_two_adopters_at_once(fragile: World) -> None:
    """Two processes that adopt the same orphans deliver each of them once."""
    for _ in range(3):
        assert left_behind(fragile, 210)
    Path(f"{store(fragile)}.slow").touch()  # so that they meet
    rivals = [fragile.start("repeat_upkeep", 5) for _ in range(2)]
    for rival in rivals:
        fragile.hear(rival)
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("go\n")
        rival.stdin.flush()
    told = [fragile.result(rival) for rival in rivals]
    verdict = fragile.verdict(stored=logged(store(fragile)))
    assert (verdict.accepted, verdict.lost, verdict.duplicated) == (630, 0, 0), verdict
    assert sum(one["delivered"] for one in told) == 33


def test_one_folder_for_several_processes(fragile: World) -> None:
    """Processes that share a journal deliver their own and each other's segments, each once."""
    busy = [fragile.start("some", 1500) for _ in range(4)]
    for child in busy:
        fragile.result(child)
    done = fragile.upkeep()
    verdict = fragile.verdict(stored=logged(store(fragile)))
    assert (verdict.accepted, verdict.lost, verdict.duplicated, done["left"]) == (6000, 0, 0, 0), verdict


def test_delivered_three_times(make_world: Maker) -> None:
    """A segment that comes back after its delivery changes nothing: neither events nor counts."""
    world = make_world(options={"SEAL_SECONDS": 30.0})
    world.run("some", 50, "os._exit")
    (orphan,) = (world.journal / "default").glob("*.active")
    with orphan.open("rb+") as segment:
        content = segment.read().rstrip(b"\0")
        segment.seek(len(content))
        note = {
            "littlebro": "loss",
            "alias": "default",
            "day": str(datetime.now(UTC).date()),
            "counts": {"invalid": 7},
        }
        segment.write(json.dumps(note, separators=(",", ":")).encode() + b"\n")
    copy = world.folder / "copy"
    shutil.copyfile(orphan, copy)
    for _ in range(3):
        shutil.copyfile(copy, orphan.with_suffix(".sealed"))
        assert world.upkeep()["left"] == 0
    verdict = world.verdict()
    assert (verdict.stored, verdict.lost, verdict.duplicated) == (50, 0, 0), verdict
    assert world.losses() == {"invalid": 7}


def test_torn_last_line(make_world: Maker) -> None:
    """Half a line at the end was never accepted: it is neither an event nor a dead letter."""
    for torn in (
        b'{"id":"half',
        b'{"id":"half\0\0\0',
        b'\0\0f","name":"x"}\n',
        b'{"id":"\0\0\0","name":"x"}\n',
    ):
        world = make_world(options={"SEAL_SECONDS": 30.0})
        world.run("some", 10, "os._exit")
        (orphan,) = (world.journal / "default").glob("*.active")
        content = orphan.read_bytes().rstrip(b"\0")
        orphan.write_bytes(content + torn + bytes(100))
        assert world.upkeep()["left"] == 0
        verdict = world.verdict()
        assert (verdict.stored, verdict.lost, verdict.duplicated) == (10, 0, 0), verdict
        assert world.dead_letters() == []


def test_damaged_line_in_the_middle(make_world: Maker) -> None:
    """A line that was damaged on the disk becomes a dead letter with its bytes; the others are stored."""
    world = make_world(options={"SEAL_SECONDS": 30.0})
    world.run("some", 10, "os._exit")
    (orphan,) = (world.journal / "default").glob("*.active")
    lines = orphan.read_bytes().rstrip(b"\0").split(b"\n")
    damaged = [lines[2][:40] + b"#" * 20 + lines[2][60:], lines[5][:40] + bytes(20) + lines[5][60:]]
    lines[2], lines[5] = damaged
    orphan.write_bytes(b"\n".join(lines))
    assert world.upkeep()["left"] == 0
    assert world.verdict()[1:4] == (8, 2, 0)
    assert sorted(body for _, _, body, _ in world.dead_letters()) == sorted(damaged)


def test_newer_format_is_kept(fragile: World) -> None:
    """A segment of a newer littlebro waits as it is for one that can read it; others are delivered."""
    first, *others = left_behind(fragile, 100)
    newer = first.read_bytes().replace(b'"v":1', b'"v":2')
    assert newer != first.read_bytes()
    first.write_bytes(newer)
    done = fragile.upkeep()
    assert done["left"] == 1
    assert "NewerFormat" in done["reason"]
    assert len(logged(store(fragile))) == 20 * len(others)
    assert next((fragile.journal / "default").glob("*.sealed")).read_bytes() == newer


def test_poison_in_a_table(make_world: Maker) -> None:
    """One event of a thousand that a constraint refuses: 999 stored, one dead letter with reason and bytes."""
    world = make_world(options={"SEAL_EVENTS": 1000, "SEAL_SECONDS": 30.0})
    world.rows(_POISONED)
    world.run("poison", 1000)
    assert_poison_isolated(world, world.stored(), "no poison in here")


def test_poison_that_the_store_cannot_name(fragile: World) -> None:
    """The same where the store refuses the batch as a whole: it is halved until the guilty one is alone."""
    fragile.aliases["default"]["TRACKER_OPTIONS"]["SEAL_EVENTS"] = 1000
    fragile.rewrite()
    fragile.run("poison", 1000)
    assert_poison_isolated(fragile, logged(store(fragile)), "something in this batch is poison")


def assert_poison_isolated(world: World, stored: list[str], reason: str) -> None:
    (guilty,) = world.accepted("poison")
    verdict = world.verdict(stored=stored)
    assert (verdict.accepted, verdict.stored, verdict.duplicated) == (1000, 999, 0), verdict
    ((sink, event_id, body, why),) = world.dead_letters()
    assert (sink, event_id) == ("", guilty)
    assert guilty.encode() in body
    assert reason in why
    assert world.upkeep()["left"] == 0
    assert world.losses() == {"dead-letter": 1}
