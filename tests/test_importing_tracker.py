"""`littlebro import --by-tracker`: imported events travel as calls do, by the journal."""

from pathlib import Path

import pytest

from littlebro.importing import run as importing
from tests.commanding import AWAY, LINE, journaled, kept, run
from tests.installing import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(settings: Settings, journal: Path, tmp_path: Path) -> Path:
    """Give a log of three lines; the alias has a journal, and a store in memory."""
    settings.LITTLEBRO = {"default": {**journaled(journal), "BACKEND": "memory", "LOCATION": str(tmp_path)}}
    path = tmp_path / "access.log"
    path.write_text(f"{LINE}\n" * 3)
    return path


def words(log: Path) -> tuple[str, ...]:
    return "import", "--format", "combined", "--by-tracker", str(log)


def test_events_travel_by_the_tracker(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there is not known here, and stored once all the same."""
    monkeypatch.setattr(importing, "_UNSENT", 1)
    for _ in range(2):
        code, out, err = run(*words(log))
        assert (code, err) == (0, "")
        assert out.startswith("read 3, handed on 3, refused 0; ")
        assert len(kept()) == 3


def test_a_tracker_that_is_stuck(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with the reason: nothing is lost, and the same command may be run again."""
    monkeypatch.setattr("littlebro.delivery.JournalTracker.send", lambda *_: True)
    monkeypatch.setattr("littlebro.delivery.JournalTracker.flush", lambda *_: False)
    code, out, err = run(*words(log))
    assert code == 1
    assert "handed on 3" in out
    assert "could not send on what it has within 60 s; it keeps it" in err


def test_a_tracker_that_takes_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full journal refuses; each line is named."""
    monkeypatch.setattr("littlebro.delivery.JournalTracker.send", lambda *_: False)
    code, out, err = run(*words(log))
    assert code == 1
    assert "handed on 0, refused 3" in out
    assert "3 x the tracker did not take it" in out
    assert err.count("the tracker did not take it") == 3
    assert err.endswith("3 events were refused by the tracker (the log says why).")


def test_the_tracker_without_a_journal(log: Path, settings: Settings, tmp_path: Path) -> None:
    """`dummy` delivers each event as it comes, to the sinks as well."""
    settings.LITTLEBRO = {
        "default": {"BACKEND": "memory", "LOCATION": str(tmp_path), "SINKS": ["copy"]},
        "copy": {"BACKEND": "memory", "LOCATION": f"{tmp_path} copy"},
    }
    code, out, err = run(*words(log))
    assert (code, err) == (0, "")
    assert out.startswith("read 3, handed on 3, refused 0; ")
    assert len(kept()) == len(kept("copy")) == 3


def test_a_store_that_is_away_behind_it(log: Path, settings: Settings) -> None:
    """Nothing is taken then, and no dead letters are promised."""
    settings.LITTLEBRO = {"default": {"BACKEND": AWAY}}
    code, out, err = run(*words(log))
    assert code == 1
    assert "handed on 0, refused 3" in out
    assert "deadletters" not in err


def test_who_was_forgotten_stays_so(log: Path, settings: Settings, tmp_path: Path) -> None:
    """Also where the lines say that they were received when they happened, as those of an export do."""
    settings.LITTLEBRO = {"default": {"BACKEND": "memory", "LOCATION": str(tmp_path)}}
    moment = '"timestamp":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:00Z"'
    log.write_text("".join(f'{{"id":"{n}","name":"n",{moment},"user_id":"{n}"}}\n' for n in (7, 8)))
    run("forget", "--user", "7", "--no-input")
    assert run("import", "--format", "jsonl", "--by-tracker", str(log))[0] == 0
    assert kept() == ["8"]
